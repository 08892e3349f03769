"""The verdicts of a review as a file, and a file's verdicts into a review."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from captioner import schema
from jobs.config import ConfigError, sentence
from jobs.labels import VERDICTS, rows_or_faults
from jobs.outputs import put
from jobs.review import Review
from pipeline.store import parquet_bytes
from review import exchange
from review.reasons import OTHER
from review.store import Event, ReviewError, ReviewStore

ACCOUNT = re.compile(r"(\d+)=(.+)")
Judgement = Mapping[str, Any] | exchange.Given | exchange.RowError | str
"""A row, a judgement, or why there is none."""


@dataclass(frozen=True)
class Exported:
    """What a file of labels holds."""

    verdicts: int
    """Good and bad ones."""
    others: int
    """Notes and corrections of somebody who has not called the clip good or bad."""

    def __str__(self) -> str:
        if not self.others:
            return f"{self.verdicts} verdicts"
        noun = "note or correction" if self.others == 1 else "notes or corrections"
        return f"{self.verdicts} verdicts and {self.others} {noun} without one"


def exported(found: Iterable[exchange.Row]) -> Exported:
    """How many rows of each kind there are."""
    verdicts = [row.verdict in VERDICTS for row in found]
    return Exported(sum(verdicts), len(verdicts) - sum(verdicts))


def write_labels(review: Review, file: Path) -> Exported:
    """Writes what people say in a review to a file, by its suffix. ConfigError: it has another suffix."""
    states, _ = review.states()
    found = list(exchange.rows(review.plan, states))
    if file.suffix == ".csv":
        data = exchange.to_csv(found)
    elif file.suffix == ".jsonl":
        data = exchange.to_jsonl(found)
    elif file.suffix == ".parquet":
        data = parquet_bytes(exchange.to_table(found))
    else:
        raise ConfigError(f"{file}: labels go to .csv, .jsonl, .parquet or, for Label Studio, .json")
    put(file, data)
    return exported(found)


@dataclass(frozen=True)
class Imported:
    """What became of the rows of a file."""

    taken: int
    known: int
    """Judgements that were there already."""
    refused: tuple[str, ...]
    """A sentence each."""


@dataclass(frozen=True)
class Names:
    """Whose the judgements are that name nobody."""

    everybody: str = ""
    accounts: Mapping[str, str] = field(default_factory=dict)
    """By number of Label Studio's account."""

    def named(self, one: exchange.Given) -> exchange.Given:
        """The judgement with its reviewer, as far as that is known. RowError: its account is nobody's."""
        if one.reviewer or not one.account:
            return replace(one, reviewer=one.reviewer or self.everybody)
        name = self.accounts.get(one.account, self.everybody)
        if not name and self.accounts:
            raise exchange.RowError(
                f"{one.where}: nobody was named for account {one.account}: --reviewer {one.account}=NAME"
            )
        return replace(one, reviewer=name or one.account)

    def check(self, found: Iterable[exchange.Given]) -> None:
        """ConfigError: one name would be that of several accounts."""
        alike = {one.account for one in found if not one.reviewer} - {"", *self.accounts}
        if self.everybody and len(alike) > 1:
            ways = " ".join(f"--reviewer {number}=NAME" for number in sorted(alike, key=int))
            raise ConfigError(
                f"{len(alike)} accounts of Label Studio judged, and {self.everybody!r} is one person:"
                f" say whose each is: {ways}"
            )


def names_of(said: Sequence[str]) -> Names:
    """What `--reviewer` says: NAME, for everybody, and NUMBER=NAME. ConfigError: two names for the same."""
    pairs = [ACCOUNT.fullmatch(one) for one in said]
    everybody = [one for one, pair in zip(said, pairs, strict=True) if pair is None]
    numbers = [pair[1] for pair in pairs if pair is not None]
    if len(everybody) > 1 or len(set(numbers)) < len(numbers):
        raise ConfigError(
            "--reviewer: one NAME for all that name nobody, or NUMBER=NAME for each account once"
        )
    return Names("".join(everybody), {pair[1]: pair[2] for pair in pairs if pair is not None})


def read_labels(review: Review, file: Path, names: Names, now: float) -> Imported:
    """Takes the judgements of a file into a review, each by itself. ConfigError: the file cannot be read."""
    taken = known = 0
    refused = []
    places = exchange.places(review.plan)
    judgements = _judgements(file, names)
    with review.open() as store:

        def last(item_id: str, who: str) -> int:
            return store.own(item_id, who).seq

        for where, row in judgements:
            try:
                one = names.named(_given(where, row))
                said = list(exchange.events(review.plan.gate, places, one, "", now, last))
                fresh = [event for event in map(_fitting, said) if not _stands(store, event)]
                if fresh:
                    _explained(store, fresh)
                    store.add(fresh)  # all of the row, or nothing
                taken += bool(fresh)
                known += not fresh
            except (exchange.RowError, ReviewError) as error:
                refused.append(f"{where}: {error}" if not str(error).startswith(where) else str(error))
    return Imported(taken, known, tuple(refused))


def _given(where: str, row: Judgement) -> exchange.Given:
    """The judgement in a row. RowError: there is none."""
    if isinstance(row, exchange.RowError):
        raise row
    if isinstance(row, str):
        raise exchange.RowError(f"{where}: {row}")
    return row if isinstance(row, exchange.Given) else exchange.given(where, row)


def _fitting(event: Event) -> Event:
    """The event with its caption as it is stored. RowError: the schema does not know it."""
    if event.kind != "edit":
        return event
    try:
        text = schema.dumps(schema.loads(json.dumps(event.fields["caption"])))
    except ValidationError as error:
        raise exchange.RowError(f"its caption does not fit: {sentence(error)}") from None
    return replace(event, fields={"caption": json.loads(text)})


def _judgements(file: Path, names: Names) -> Iterable[tuple[str, Judgement]]:
    if file.suffix != ".json":
        return rows_or_faults(file)
    try:
        found = list(exchange.from_label_studio(str(file), file.read_bytes()))
    except OSError as error:
        raise ConfigError(f"{file}: it cannot be read: {error.strerror or error}") from None
    except exchange.RowError as error:
        raise ConfigError(str(error)) from None
    names.check(one for one in found if isinstance(one, exchange.Given))
    return [(one.where if isinstance(one, exchange.Given) else str(file), one) for one in found]


def _explained(store: ReviewStore, fresh: Sequence[Event]) -> None:
    """RowError: one of these events calls something bad for another reason than those of the list, and no note says for
    which."""
    noted = any(event.kind == "note" for event in fresh)
    for event in fresh:
        if OTHER in event.reasons and not noted and not store.own(event.item_id, event.reviewer).note:
            raise exchange.RowError(f"the reason {OTHER!r} needs a note that says what is wrong")


def _stands(store: ReviewStore, event: Event) -> bool:
    """Whether what an event says is what its reviewer says already."""
    own = store.own(event.item_id, event.reviewer)
    if event.kind == "verdict":
        read = own.reading
        return read is not None and (read.verdict, read.reasons) == (event.verdict, event.reasons)
    if event.kind == "note":
        return bool(own.note == event.fields["note"])
    return bool(own.edit == event.fields["caption"])
