"""The verdicts of a review as a file, and a file's verdicts into a review."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.config import ConfigError
from jobs.labels import rows_of
from jobs.review import Review, caption_text
from pipeline.store import parquet_bytes
from review import exchange
from review.plan import PlanError
from review.store import Event, ReviewError, ReviewStore


def write_labels(review: Review, file: Path) -> int:
    """Writes the verdicts of a review to a file, by its suffix; how many. ConfigError: it has another suffix."""
    states, _ = review.states()
    found = list(exchange.rows(review.plan, states))
    if file.suffix == ".csv":
        data = exchange.to_csv(found)
    elif file.suffix == ".jsonl":
        data = exchange.to_jsonl(found)
    elif file.suffix == ".parquet":
        data = parquet_bytes(exchange.to_table(found))
    elif file.suffix == ".json":
        data = exchange.to_label_studio(review.plan, states)
    else:
        raise ConfigError(f"{file}: labels go to .csv, .jsonl, .parquet or, for Label Studio, .json")
    scratch = file.with_name(f".tmp-{file.name}")
    try:
        scratch.write_bytes(data)
        os.replace(scratch, file)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise ConfigError(f"{file}: it cannot be written: {error.strerror or error}") from None
    return len(found)


@dataclass(frozen=True)
class Imported:
    """What became of the rows of a file."""

    taken: int
    known: int
    """Judgements that were there already."""
    refused: tuple[str, ...]
    """A sentence each."""


def read_labels(review: Review, file: Path, reviewer: str, now: float) -> Imported:
    """Takes the judgements of a file into a review, each by itself. ConfigError: the file cannot be read."""
    taken = known = 0
    refused = []
    places = exchange.places(review.plan)
    with review.open() as store:
        for where, row in _judgements(file):
            try:
                one = row if isinstance(row, exchange.Given) else exchange.given(where, row)
                fresh = 0
                for event in exchange.events(review.plan.gate, places, one, reviewer, now):
                    if event.kind == "edit":
                        text = caption_text(event.fields["caption"], review.folder, event.item_id)
                        event = replace(event, fields={"caption": json.loads(text)})
                    if not _stands(store, event):
                        store.append(event)
                        fresh += 1
                taken += fresh > 0
                known += fresh == 0
            except (exchange.RowError, ReviewError, PlanError) as error:
                refused.append(f"{where}: {error}" if not str(error).startswith(where) else str(error))
    return Imported(taken, known, tuple(refused))


def _judgements(file: Path) -> Iterator[tuple[str, Mapping[str, Any] | exchange.Given]]:
    if file.suffix != ".json":
        yield from rows_of(file)
        return
    try:
        data = file.read_bytes()
        yield from ((one.where, one) for one in exchange.from_label_studio(str(file), data))
    except OSError as error:
        raise ConfigError(f"{file}: it cannot be read: {error.strerror or error}") from None
    except exchange.RowError as error:
        raise ConfigError(str(error)) from None


def _stands(store: ReviewStore, event: Event) -> bool:
    """Whether what an event says is what its reviewer says already."""
    state = store.item_state(event.item_id)
    if event.kind == "verdict":
        return any(
            (one.reviewer, one.verdict, one.reasons) == (event.reviewer, event.verdict, event.reasons)
            for one in state.readings
        )
    if event.kind == "note":
        return bool(state.notes.get(event.reviewer) == event.fields["note"])
    return (state.editor, state.edit) == (event.reviewer, event.fields["caption"])
