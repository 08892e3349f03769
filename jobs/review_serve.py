"""The review's page for one run: what each item of a plan shows, from the run's tables, and the server of it."""

from __future__ import annotations

import bisect
import json
import webbrowser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from captioner import schema
from jobs.config import ConfigError, sentence
from jobs.pools import Pools
from jobs.review_twins import Near, twin_of
from jobs.run import Run
from jobs.tables import measurements
from pipeline.clip import SHOTS
from review import gate
from review.desk import Banner, Desk, Said, Shown, Twin
from review.footage import Footage, Order
from review.paced import Paced
from review.plan import Item, Plan
from review.projector import OpenStudio, Projector
from review.reasons import Gate
from review.serve import Seats, hosts, listen, read_seats, serve, write_private, write_seats
from review.store import ReviewStore

CAPTION_GATES: tuple[Gate, ...] = ("pretrain", "posttrain")
"""Gates whose reviewers judge the caption too."""
CAPTIONS = (("caption", "caption_engine"), ("vlm_caption", "vlm_engine"))
"""Columns of a clip's captions and of who wrote them: the one that is judged, and a model's own before the experts."""
PREVIEWS = "previews"
MAX_NAME = 64
VOCABULARY: Mapping[str, Sequence[str]] = {
    "shot_type": get_args(schema.ShotTypeValue),
    "shot_angle": get_args(schema.ShotAngleValue),
    "shot_position": get_args(schema.ShotPositionValue),
}


@dataclass(frozen=True)
class Items:
    """What the items of a plan show, read from the run once."""

    run: Run
    plan: Plan

    def shown(self) -> dict[str, Shown]:
        """By item id. KeyError: the plan names a clip that the run does not have."""
        near = self._near()
        clips = self._clips(near)
        footage = {row["clip_id"]: self._footage(row, shots) for row, shots in self._with_shots(clips)}
        return {item.item_id: self._item(item, clips, footage, near) for item in self.plan.items}

    def _near(self) -> dict[str, str]:
        """By clip id, why the plan's pool just rejects it: clips to compare with. None where nothing was sampled: what
        a plan of picked clips calls its pool is no pool of the run."""
        if not self.plan.pool or not self.plan.strata:
            return {}
        pools = Pools(self.run)
        return Near(pools, pools.recipe(self.plan.pool)).clips({item.clip_id for item in self.plan.items})

    def _item(
        self,
        item: Item,
        clips: Mapping[str, Mapping[str, Any]],
        footage: Mapping[str, Footage],
        near: Mapping[str, str],
    ) -> Shown:
        row = clips[item.clip_id]
        donor = item.planted.donor if item.planted is not None else None
        order = Order(footage[item.clip_id], item.planted, None if donor is None else footage[donor])
        captions = captions_of(item, row, None if donor is None else clips[donor])
        source = str(self.run.used[row["video_id"]]["path"]).rsplit("/", 1)[-1]
        other = twin_of(item.item_id, near)
        twin = None if other is None else Twin(Order(footage[other]), near[other])
        return Shown(item.item_id, order, source, row["start_s"], row["end_s"], captions, twin)

    def _clips(self, near: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The rows of the plan's clips, their donors and those near, with captions where this gate judges them."""
        donors = (item.planted.donor for item in self.plan.items if item.planted is not None)
        wanted = {item.clip_id for item in self.plan.items} | {donor for donor in donors if donor is not None}
        wanted.update(near)
        known = {name for planned in self.run.planned for name in planned.stage.columns.names}
        judged = self.plan.gate in CAPTION_GATES
        columns = [name for pair in CAPTIONS for name in pair if judged and name in known]
        ids = pa.array(sorted(wanted), pa.string())
        rows: dict[str, dict[str, Any]] = {}
        for batch in measurements(self.run, columns):
            for row in batch.filter(pc.is_in(batch.column("clip_id"), value_set=ids)).to_pylist():
                rows[row["clip_id"]] = row
        return rows

    def _with_shots(
        self, clips: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[Mapping[str, Any], list[dict[str, Any]]]]:
        """Each clip with the shots of its video, in order."""
        for group in self.run.groups:
            mine = {video["video_id"] for video in group.videos} & {row["video_id"] for row in clips.values()}
            entry = self.run.found(self.run.shots_step, group.name) if mine else None
            if entry is None:
                continue
            outputs = [output for output in entry.outputs if output.path.startswith("shots@")]
            shots: dict[str, list[dict[str, Any]]] = {video: [] for video in mine}
            ours = pc.field("video_id").isin(list(mine))
            for shot in self.run.store.tables(outputs, SHOTS).filter(ours).sort_by("start_frame").to_pylist():
                shots[shot["video_id"]].append(shot)
            yield from ((row, shots[row["video_id"]]) for row in clips.values() if row["video_id"] in mine)

    def _footage(self, row: Mapping[str, Any], shots: Sequence[Mapping[str, Any]]) -> Footage:
        starts = [shot["start_frame"] for shot in shots]
        place = bisect.bisect_right(starts, row["start_frame"]) - 1

        def middle(number: int) -> int | None:
            if not 0 <= number < len(shots):
                return None
            return (int(shots[number]["start_frame"]) + int(shots[number]["end_frame"]) - 1) // 2

        return Footage(
            video=self.run.used[row["video_id"]],
            start_frame=row["start_frame"],
            end_frame=row["end_frame"],
            before=middle(place - 1),
            after=middle(place + 1),
        )


def captions_of(item: Item, row: Mapping[str, Any], donor: Mapping[str, Any] | None) -> tuple[Said, ...]:
    """What is said of an item: its clip's captions, or the donor's where a wrong one is planted; no caption twice.

    The engines are the clip's own all the same, or they would tell of captions that are not.
    """
    wrong = item.planted is not None and item.planted.kind == "wrong_caption"
    source = donor if wrong and donor is not None else row
    texts = {source[column]: engine for column, engine in reversed(CAPTIONS) if source.get(column)}
    said = {text: row.get(engine) or source.get(engine) or "" for text, engine in texts.items()}
    return tuple(Said(engine, json.loads(text)) for text, engine in reversed(said.items()))


def corrected(text: str) -> Mapping[str, Any]:
    """A corrected caption as it is stored. ValueError, in one sentence: it does not fit the schema."""
    try:
        found: dict[str, Any] = json.loads(schema.dumps(schema.loads(text)))
    except ValidationError as error:
        raise ValueError(sentence(error)) from error
    return found


def live(plan: Plan, store: ReviewStore) -> Banner | None:
    """What the verdicts come to so far, in words that tell nobody which items were planted; None: there is no gate."""
    if not plan.strata:
        return None
    found = gate.banner(plan, store.states())
    if found.sampled == "pass":
        return Banner("pass", f"enough good ones for the limit of {100 * plan.limit:g} % bad")
    if found.sampled == "fail":
        return Banner("fail", f"more than {100 * plan.limit:g} % are bad")
    evidence = f"evidence to pass {found.for_pass:.2g}, to fail {found.for_fail:.2g}"
    return Banner("open", f"not enough yet: {evidence}; {found.enough:g} settles it")


def make_desk(run: Run, plan: Plan, store: ReviewStore) -> Desk:
    """All that the page of this review shows and takes."""
    return Desk(
        run=run.store.root.rstrip("/").rsplit("/", 1)[-1],
        plan=plan,
        store=store,
        items=Items(run, plan).shown(),
        vocabulary=VOCABULARY,
        corrected=corrected,
        banner=Paced(partial(live, plan, store)),
    )


def sit(
    run: Run,
    plan: Plan,
    store: ReviewStore,
    folder: Path,
    reviewers: Sequence[str],
    port: int = 0,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serves the page until it is stopped. `folder`: where this plan lies; the previews are kept beside it.

    ServeError: the port is taken; ConfigError: a name is none. A link, one a reviewer, works again after a restart.
    """
    from review.app import make_app

    names = list(dict.fromkeys(name.strip() for name in reviewers))
    if not all(0 < len(name) <= MAX_NAME and name.isprintable() for name in names):
        raise ConfigError(f"--reviewer takes a name of 1 to {MAX_NAME} printable characters")
    kept = read_seats(folder).of(names)
    desk = make_desk(run, plan, store)
    projector = Projector(folder.parent / PREVIEWS, OpenStudio(folder.parent / PREVIEWS, run.config.limits()))
    sock = listen(port, kept.port)
    found: int = sock.getsockname()[1]
    write_seats(folder, Seats(kept.seats, found))
    links = [f"http://127.0.0.1:{found}{seat.start}" for seat in kept.seats]
    for seat, link in zip(kept.seats, links, strict=True):
        say(f"{seat.reviewer} reviews at {link}")
    say("stop with Ctrl-C: every verdict is kept, and the same command goes on")

    def began() -> None:
        if browser and links:
            open_browser(folder, links[0])

    try:
        serve(make_app(desk, projector, kept.seats, hosts(found)), sock, began)
    finally:
        projector.close()


def open_browser(
    folder: Path, link: str, find: Callable[[], webbrowser.BaseBrowser] = webbrowser.get
) -> None:
    """Opens the link in a browser with windows, if there is one, by way of a file that only this user can read: the
    command line of a program, which has the address in it, can be read by all users of the machine."""
    try:
        found = find()
    except webbrowser.Error:
        return
    if type(found) is webbrowser.GenericBrowser:
        return  # one that would take over this terminal
    page = folder / "open.html"
    write_private(page, f'<!DOCTYPE html><meta http-equiv="refresh" content="0; url={escape(link)}">')
    found.open(page.as_uri())
