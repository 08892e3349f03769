"""A review as tasks for Label Studio: what each shows, its preview, and the interface that they are judged in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from jobs.config import ConfigError
from jobs.outputs import put
from jobs.review import Review
from jobs.review_items import Items
from jobs.review_labels import exported
from jobs.run import Run
from pipeline.reasons import MediaError
from review import exchange
from review.desk import Shown
from review.exchange import Sight
from review.previews import held_picture
from review.projector import OpenStudio

PREVIEWS = "previews"
"""The run's own previews, beside its reviews."""


def write_tasks(run: Run, review: Review, file: Path, previews: Path | None) -> str:
    """Writes the tasks, the interface beside them and, where `previews` names a folder, what they show; a sentence.

    ConfigError: something cannot be written.
    """
    states, _ = review.states()
    items = Items(run, review.plan).shown()
    shown = {item.item_id: items[item.item_id] for item in review.plan.items if item.planted is None}
    sights = {name: _sight(one) for name, one in shown.items()}
    if previews is not None:
        sights = _filmed(run, review, shown, sights, previews)
    interface = file.with_suffix(".xml")
    put(interface, exchange.interface(review.plan.gate, previews is not None))
    put(file, exchange.to_label_studio(review.plan, states, sights))
    told = (
        f"{file}: {len(sights)} tasks, {exported(exchange.rows(review.plan, states))} of {review.folder.name}"
    )
    told += f"; {interface.name}: the labelling interface"
    if previews is None:
        return told
    missing = sum(not sight.video for sight in sights.values())
    told += f"; {previews}: {len(sights) - missing} previews"
    return told + (f", {missing} clips cannot be shown" if missing else "")


def _sight(one: Shown) -> Sight:
    caption = one.captions[0].caption if one.captions else None
    return Sight(str(one.order.footage.video["path"]), one.start_s, one.end_s, caption)


def _filmed(
    run: Run, review: Review, shown: Mapping[str, Shown], sights: Mapping[str, Sight], folder: Path
) -> dict[str, Sight]:
    """The sights with the addresses of their previews, which are written to the folder; empty where there is none."""
    cache = review.folder.parent / PREVIEWS
    found = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            studio = OpenStudio(cache, run.config.limits())(stack)
            for name, one in shown.items():
                try:
                    about = studio.preview(one.order)
                except MediaError:
                    found[name] = replace(sights[name], video="")
                    continue
                film = f"{name}.mp4"
                _write_film(cache / one.order.key / about.file, folder / film)
                address = exchange.local_file(folder.resolve().name, film)
                found[name] = replace(sights[name], video=address)
    except OSError as error:
        raise ConfigError(f"{folder}: no previews can be written: {error.strerror or error}") from None
    return found


def _write_film(preview: Path, film: Path) -> None:
    """A preview as a film of that name, whole or not at all."""
    scratch = film.with_name(f".tmp-{film.name}")
    try:
        if preview.suffix == film.suffix:
            shutil.copyfile(preview, scratch)
        else:
            held_picture(preview, scratch)
        os.replace(scratch, film)
    finally:
        scratch.unlink(missing_ok=True)
