"""Reviewers' labels: a file of rows, one a judgement, read and checked.

CSV (with a header), JSON Lines or Parquet, by its suffix. Columns: `clip_id`; `verdict`, "good" or "bad"; and where
known `reason` (a word, or several with a semicolon between), `inclusion` (the chance in (0, 1] with which the clip was
drawn for review), `reviewer`. Other columns are not looked at, but for `side`: a row that says "picked" there is of no
sample, and is refused; and for `note` and `caption`: with one of them a row may do without a verdict, and is no label,
as one that says "skip" is none.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.config import ConfigError
from review.exchange import PICKED

VERDICTS = ("good", "bad")


@dataclass(frozen=True)
class Label:
    """What the reviewers say of one clip."""

    clip_id: str
    bad: bool
    """At least half of those who judged it say so."""
    inclusion: float
    reasons: tuple[str, ...] = ()
    """Of those who say that it is bad."""


@dataclass(frozen=True)
class Judgement:
    """One row."""

    where: str
    clip_id: str
    bad: bool
    inclusion: float
    reason: str
    reviewer: str


def read(path: Path) -> dict[str, Label]:
    """The labels by clip. ConfigError names the line of the first row that cannot be used."""
    judgements = [_judgement(where, row) for where, row in rows_of(path) if not _says_none(row)]
    if not judgements:
        raise ConfigError(f"{path}: there is no label in it")
    by_clip: dict[str, list[Judgement]] = {}
    for one in judgements:
        others = by_clip.setdefault(one.clip_id, [])
        _check_against(one, others)
        others.append(one)
    return {clip_id: _label(clip_id, ones) for clip_id, ones in by_clip.items()}


def rows_of(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The rows of a file, each with where it stands. ConfigError: it, or one of them, cannot be read."""
    for where, row in rows_or_faults(path):
        if isinstance(row, str):
            raise ConfigError(f"{where}: {row}")
        yield where, row


def rows_or_faults(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    """The rows of a file, each with where it stands; in place of one that cannot be read, what is wrong with it.
    ConfigError: the file cannot be read, or is of another form."""
    rows = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}.get(path.suffix.lower())
    if rows is None:
        raise ConfigError(f"{path}: labels are a .csv, .jsonl or .parquet file")
    try:
        yield from rows(path)
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be read: {error.strerror or error}") from None


def _check_against(one: Judgement, others: list[Judgement]) -> None:
    """ConfigError when a row cannot stand beside those of the same clip before it."""
    for other in others:
        if other.reviewer == one.reviewer:
            who = f"reviewer {one.reviewer}" if one.reviewer else "a row without a reviewer"
            raise ConfigError(f"{one.where}: {who} has judged clip {one.clip_id} before, at {other.where}")
        if other.inclusion != one.inclusion:
            raise ConfigError(
                f"{one.where}: inclusion is {one.inclusion:g}, and {other.inclusion:g} for the same clip"
                f" at {other.where}"
            )


def _label(clip_id: str, ones: list[Judgement]) -> Label:
    bad = [one for one in ones if one.bad]
    reasons = tuple(word.strip() for one in bad for word in one.reason.split(";") if word.strip())
    return Label(clip_id, 2 * len(bad) >= len(ones), ones[0].inclusion, reasons)


def _says_none(row: Mapping[str, Any]) -> bool:
    """Whether a row is no label by itself: a skip, or a note or correction without a verdict."""
    verdict = str(row.get("verdict") or "").strip().lower()
    return verdict == "skip" or (not verdict and bool(row.get("note") or row.get("caption")))


def _judgement(where: str, row: Mapping[str, Any]) -> Judgement:
    for name in ("clip_id", "verdict"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise ConfigError(f"{where}: there is no {name}")
    verdict = row["verdict"].strip().lower()
    if verdict not in VERDICTS:
        raise ConfigError(f"{where}: the verdict is {row['verdict']!r}, not good or bad")
    if row.get("side") == PICKED:
        raise ConfigError(f"{where}: this clip was picked, not drawn: no threshold follows from it")
    given = row.get("inclusion")
    try:
        inclusion = 1.0 if given in (None, "") else float(given)
    except (TypeError, ValueError):
        raise ConfigError(f"{where}: inclusion is {given!r}, not a number") from None
    if not 0 < inclusion <= 1:
        raise ConfigError(f"{where}: inclusion is {inclusion:g}, not a chance above 0 and at most 1")
    text = {name: str(row.get(name) or "").strip() for name in ("reason", "reviewer")}
    return Judgement(
        where, row["clip_id"].strip(), verdict == "bad", inclusion, text["reason"], text["reviewer"]
    )


def _csv(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            names = reader.fieldnames or ()
        except csv.Error as error:
            raise ConfigError(f"{path}: it is not CSV in UTF-8: {error}") from None
        if not all(map(_whole, names)):
            raise ConfigError(f"{path}: it is not CSV in UTF-8")
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield f"{path}, line {reader.reader.line_num}", f"it is not CSV: {error}"
                continue
            where = f"{path}, line {reader.line_num}"
            if None in row:
                yield where, "it has more fields than the header"
            elif not all(_whole(cell) for cell in row.values() if cell):
                yield where, "it is not CSV in UTF-8"
            else:
                yield where, row


def _whole(text: str) -> bool:
    """Whether every byte of it was UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _jsonl(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}, line {number}", _object(line)


def _object(line: str) -> Mapping[str, Any] | str:
    if not _whole(line):
        return "it is not UTF-8"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON: {error}"
    return row if isinstance(row, dict) else "it is not a JSON object"


def _parquet(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{path}: it is not Parquet: {error}") from None
    for number, row in enumerate(table.to_pylist(), 1):
        yield f"{path}, row {number}", row
