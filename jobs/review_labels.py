"""The verdicts of a review as a file, and a file's verdicts into a review."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from captioner import schema
from jobs.config import ConfigError, sentence
from jobs.labels import rows_of
from jobs.review import Review
from pipeline.store import parquet_bytes
from review import exchange
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

        def last(item_id: str, who: str) -> int:
            return store.own(item_id, who).seq

        for where, row in _judgements(file):
            try:
                one = row if isinstance(row, exchange.Given) else exchange.given(where, row)
                said = list(exchange.events(review.plan.gate, places, one, reviewer, now, last))
                fresh = [event for event in map(_fitting, said) if not _stands(store, event)]
                if fresh:
                    store.add(fresh)  # all of the row, or nothing
                taken += bool(fresh)
                known += not fresh
            except (exchange.RowError, ReviewError) as error:
                refused.append(f"{where}: {error}" if not str(error).startswith(where) else str(error))
    return Imported(taken, known, tuple(refused))


def _fitting(event: Event) -> Event:
    """The event with its caption as it is stored. RowError: the schema does not know it."""
    if event.kind != "edit":
        return event
    try:
        text = schema.dumps(schema.loads(json.dumps(event.fields["caption"])))
    except ValidationError as error:
        raise exchange.RowError(f"its caption does not fit: {sentence(error)}") from None
    return replace(event, fields={"caption": json.loads(text)})


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
    own = store.own(event.item_id, event.reviewer)
    if event.kind == "verdict":
        read = own.reading
        return read is not None and (read.verdict, read.reasons) == (event.verdict, event.reasons)
    if event.kind == "note":
        return bool(own.note == event.fields["note"])
    return bool(own.edit == event.fields["caption"])
