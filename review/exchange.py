"""Labels out of a review and into it: rows for CSV, JSON Lines and Parquet, and tasks for Label Studio.

A row is one reviewer's verdict on one clip, as `rushes tune` reads labels. Planted items are no labels and stay out. A
cell of CSV that a spreadsheet would take for a formula gets an apostrophe before it, which reading takes off again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

from review.plan import Plan
from review.reasons import REASONS, Gate
from review.store import Event, ItemState

FORMULA = "=+-@\t\r\n＝＋－＠"
"""First characters that make a formula of a cell, in one spreadsheet or another (OWASP, CSV injection)."""
SEPARATOR = ";"
PICKED = "picked"
COLUMNS = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("verdict", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("inclusion", pa.float64()),
        pa.field("reviewer", pa.string()),
        pa.field("item_id", pa.string()),
        pa.field("gate", pa.string()),
        pa.field("pool", pa.string()),
        pa.field("side", pa.string()),
        pa.field("stratum", pa.string()),
        pa.field("note", pa.string()),
        pa.field("caption", pa.string()),
        pa.field("seconds", pa.float64()),
        pa.field("made_at", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Row:
    """One verdict, whole; the fields are the columns of COLUMNS."""

    clip_id: str
    verdict: str
    reason: str
    """Words of reasons.REASONS, joined by a semicolon."""
    inclusion: float | None
    """The chance with which the clip was drawn; None: somebody picked it."""
    reviewer: str
    item_id: str
    gate: str
    pool: str
    side: str
    """kept or rejected by the rules; PICKED: it is of no sample."""
    stratum: str
    note: str
    caption: str | None
    """Canonical JSON of the caption as this item's last editor left it, in the row of that editor."""
    seconds: float | None
    """From sight to verdict."""
    made_at: float
    """Seconds since 1970."""


def rows(plan: Plan, states: Sequence[ItemState]) -> Iterator[Row]:
    """Every good or bad verdict that stands, in the plan's order; skips and planted items are no labels."""
    for item, state in zip(plan.items, states, strict=True):
        for reading in state.readings if item.planted is None else ():
            if reading.verdict == "skip":
                continue
            edited = state.edit if state.editor == reading.reviewer else None
            yield Row(
                clip_id=item.clip_id,
                verdict=reading.verdict,
                reason=SEPARATOR.join(reading.reasons),
                inclusion=item.inclusion if plan.strata else None,
                reviewer=reading.reviewer,
                item_id=item.item_id,
                gate=plan.gate,
                pool=plan.pool,
                side=item.side if plan.strata else PICKED,
                stratum=item.stratum,
                note=state.notes.get(reading.reviewer, ""),
                caption=None if edited is None else _text(edited),
                seconds=None if reading.shown_at is None else round(reading.made_at - reading.shown_at, 3),
                made_at=reading.made_at,
            )


def confirmed(plan: Plan, states: Sequence[ItemState]) -> dict[str, tuple[str, ...]]:
    """By clip, the reviewers who call it good, where all who judged it do and nobody corrected its caption.

    At a gate that shows captions that says too that the caption is true. Planted items are left out.
    """
    found = {}
    for item, state in zip(plan.items, states, strict=True):
        judged = [reading for reading in state.readings if reading.verdict != "skip"]
        good = bool(judged) and all(reading.verdict == "good" for reading in judged)
        if good and item.planted is None and state.edit is None:
            found[item.clip_id] = tuple(reading.reviewer for reading in judged)
    return found


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- out


def to_csv(found: Iterable[Row]) -> bytes:
    """CSV in UTF-8 with a header; no cell is a formula."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n")
    names = [field.name for field in fields(Row)]
    writer.writerow(names)
    for row in found:
        values = (getattr(row, name) for name in names)
        writer.writerow([safe(value) if isinstance(value, str) else value for value in values])
    return sink.getvalue().encode()


def safe(cell: str) -> str:
    """The cell with an apostrophe before it where a spreadsheet would calculate it."""
    return f"'{cell}" if cell[:1] and cell[0] in FORMULA + "'" else cell


def unsafe(cell: str) -> str:
    """The cell as it was before `safe`; one that `safe` would not have made is left as it is."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] and cell[1] in FORMULA + "'" else cell


def to_jsonl(found: Iterable[Row]) -> bytes:
    """One JSON object a line."""
    return b"".join(_text(asdict(row)).encode() + b"\n" for row in found)


def to_table(found: Iterable[Row]) -> pa.Table:
    """The rows as COLUMNS."""
    return pa.Table.from_pylist([asdict(row) for row in found], schema=COLUMNS)


def to_label_studio(plan: Plan, states: Sequence[ItemState]) -> bytes:
    """Tasks for Label Studio's JSON import, one an item with its verdicts as annotations, planted items left out."""
    tasks = []
    for item, state in zip(plan.items, states, strict=True):
        if item.planted is not None:
            continue
        data = {"item_id": item.item_id, "clip_id": item.clip_id, "gate": plan.gate, "pool": plan.pool}
        annotations = [
            {"result": list(_results(state, reading.reviewer, reading.verdict, reading.reasons))}
            for reading in state.readings
        ]
        inclusion = item.inclusion if plan.strata else None
        tasks.append({"data": data | {"inclusion": inclusion}, "annotations": annotations})
    return json.dumps(tasks, ensure_ascii=False, indent=1).encode() + b"\n"


def _results(state: ItemState, who: str, verdict: str, reasons: Sequence[str]) -> Iterator[dict[str, Any]]:
    yield _result("verdict", "choices", [verdict])
    if reasons:
        yield _result("reason", "choices", list(reasons))
    yield _result("reviewer", "text", [who], "textarea")
    if who in state.notes:
        yield _result("note", "text", [state.notes[who]], "textarea")
    if state.edit is not None and state.editor == who:
        yield _result("caption", "text", [_text(state.edit)], "textarea")


def _result(name: str, key: str, values: list[str], kind: str = "choices") -> dict[str, Any]:
    return {"from_name": name, "to_name": "clip", "type": kind, "value": {key: values}}


# --- in


@dataclass(frozen=True)
class Given:
    """One judgement of a file."""

    where: str
    item_id: str
    clip_id: str
    verdict: str
    reasons: tuple[str, ...]
    reviewer: str
    note: str
    caption: str
    made_at: float | None


class RowError(Exception):
    """This row cannot be taken; the sentence says why."""


def given(where: str, row: Mapping[str, Any]) -> Given:
    """The judgement in a row of CSV, JSON Lines or Parquet; cells that `safe` made are taken back."""

    def text(name: str) -> str:
        value = row.get(name)
        return unsafe(value.strip()) if isinstance(value, str) else ""

    made = row.get("made_at")
    try:
        made_at = None if made in (None, "") else float(made)
    except (TypeError, ValueError):
        raise RowError(f"{where}: made_at is {made!r}, not seconds since 1970") from None
    reasons = tuple(word.strip() for word in text("reason").split(SEPARATOR) if word.strip())
    return Given(
        where,
        text("item_id"),
        text("clip_id"),
        text("verdict").lower(),
        reasons,
        text("reviewer"),
        text("note"),
        text("caption"),
        made_at,
    )


def from_label_studio(where: str, data: bytes) -> Iterator[Given]:
    """The judgements of Label Studio's JSON export. RowError: it is another kind of file."""
    try:
        tasks = json.loads(data)
        for number, task in enumerate(tasks, 1):
            for annotation in task.get("annotations", ()):
                if not annotation.get("was_cancelled"):
                    yield _annotated(f"{where}, task {number}", task["data"], annotation)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RowError(f"{where}: it is not Label Studio's JSON: {type(error).__name__}: {error}") from error


def _annotated(where: str, data: Mapping[str, Any], annotation: Mapping[str, Any]) -> Given:
    said: dict[str, list[str]] = {}
    for result in annotation["result"]:
        values = result["value"]
        said[result["from_name"]] = [str(v) for v in values.get("choices") or values.get("text") or ()]

    def first(name: str) -> str:
        return (said.get(name) or [""])[0]

    by = annotation.get("completed_by")
    who = first("reviewer") or (str(by.get("email", "")) if isinstance(by, dict) else str(by or ""))
    return Given(
        where,
        str(data.get("item_id", "")),
        str(data.get("clip_id", "")),
        first("verdict").lower(),
        tuple(said.get("reason", ())),
        who,
        first("note"),
        first("caption"),
        None,
    )


def places(plan: Plan) -> dict[str, str]:
    """By item id and by clip id, the item that a row of a file is about; planted items are not to be had."""
    found: dict[str, str] = {}
    for item in plan.items:
        if item.planted is None:
            found[item.item_id] = found[item.clip_id] = item.item_id
    return found


def events(
    gate: Gate,
    known: Mapping[str, str],
    one: Given,
    reviewer: str,
    now: float,
    last: Callable[[str, str], int],
) -> Iterator[Event]:
    """The events of one judgement, with ids that follow from it and from what its reviewer said last of the item: sent
    twice at once it is one, and said again after something else it is another.

    `known` is what `places` gives, `last` the seq of an item's and reviewer's last event. `reviewer` is for rows that
    name nobody, `now` for rows without a time. RowError: it cannot be taken.
    """
    who = one.reviewer or reviewer
    if not who:
        raise RowError(f"{one.where}: it names no reviewer")
    if one.verdict not in ("good", "bad", "skip"):
        raise RowError(f"{one.where}: the verdict is {one.verdict!r}, not good, bad or skip")
    unknown = [word for word in one.reasons if word not in REASONS[gate]]
    if unknown:
        raise RowError(f"{one.where}: {unknown[0]!r} is no reason of the {gate} gate")
    item = known.get(one.item_id or one.clip_id)
    if item is None:
        raise RowError(f"{one.where}: the plan has no item of clip {one.clip_id or one.item_id!r}")
    made_at = now if one.made_at is None else one.made_at
    about = (item, who, str(last(item, who)))
    reasons = one.reasons if one.verdict == "bad" else ()
    verdict: Any = one.verdict
    yield Event(_id(*about, one.verdict, *reasons), item, who, "verdict", made_at, None, verdict, reasons)
    if one.note:
        yield Event(_id(*about, "note", one.note), item, who, "note", made_at, fields={"note": one.note})
    if one.caption:
        try:
            caption = json.loads(one.caption)
        except (ValueError, RecursionError) as error:
            raise RowError(f"{one.where}: its caption is not JSON: {error}") from error
        if not isinstance(caption, dict):
            raise RowError(f"{one.where}: its caption is not a JSON object")
        identity = _id(*about, "caption", one.caption)
        yield Event(identity, item, who, "edit", made_at, fields={"caption": caption})


def _id(*parts: str) -> str:
    return "import-" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
