"""Labels out of a review and into it: rows for CSV, JSON Lines and Parquet, and tasks for Label Studio.

A row is what one reviewer says of one clip, as `rushes tune` reads labels. Planted items are no labels and stay out. A
cell of CSV that a spreadsheet would take for a formula gets an apostrophe before it, which reading takes off again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pyarrow as pa

from review.plan import Plan
from review.reasons import REASONS, Gate
from review.store import Event, ItemState, Reading

FORMULA = "=+-@\t\r\n＝＋－＠"
"""First characters that make a formula of a cell, in one spreadsheet or another (OWASP, CSV injection)."""
SEPARATOR = ";"
PICKED = "picked"
VERDICTS = ("good", "bad", "skip")
AHEAD_S = 300.0
"""So far may a judgement's time be ahead of this machine's clock. Ours."""
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
    """What one reviewer says of one item, whole; the fields are the columns of COLUMNS."""

    clip_id: str
    verdict: str
    """good or bad; skip, or empty where there is none yet: a note or a correction alone."""
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
    made_at: float | None
    """Seconds since 1970; None of a note alone."""


def rows(plan: Plan, states: Sequence[ItemState]) -> Iterator[Row]:
    """Every good or bad verdict that stands, and every note and correction, in the plan's order; skips that say no more
    and planted items stay out."""
    for item, state in zip(plan.items, states, strict=True):
        for who, reading in _said(state) if item.planted is None else ():
            edited = state.edit if state.editor == who else None
            note = state.notes.get(who, "")
            if (reading is None or reading.verdict == "skip") and not note and edited is None:
                continue
            row = Row(
                clip_id=item.clip_id,
                verdict="",
                reason="",
                inclusion=item.inclusion if plan.strata else None,
                reviewer=who,
                item_id=item.item_id,
                gate=plan.gate,
                pool=plan.pool,
                side=item.side if plan.strata else PICKED,
                stratum=item.stratum,
                note=note,
                caption=None if edited is None else _text(edited),
                seconds=None,
                made_at=None if edited is None else state.edited_at,
            )
            yield row if reading is None else _judged(row, reading)


def _said(state: ItemState) -> Iterator[tuple[str, Reading | None]]:
    """Everybody who says something of an item, with their verdict, if any; who has one first."""
    for reading in state.readings:
        yield reading.reviewer, reading
    judges = {reading.reviewer for reading in state.readings}
    editors = [state.editor] if state.editor is not None else []
    yield from ((who, None) for who in dict.fromkeys([*state.notes, *editors]) if who not in judges)


def _judged(row: Row, reading: Reading) -> Row:
    """The row with its reviewer's verdict."""
    return replace(
        row,
        verdict=reading.verdict,
        reason=SEPARATOR.join(reading.reasons),
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


@dataclass(frozen=True)
class Sight:
    """What Label Studio shows of an item."""

    source: str
    """Path or address of the video."""
    start_s: float
    end_s: float
    caption: Mapping[str, Any] | None = None
    """The one that is judged; None: there is none, or this gate does not judge it."""
    video: str | None = None
    """Address of a preview; empty: the clip cannot be shown; None: none was asked for."""


def local_file(folder: str, name: str) -> str:
    """The address by which Label Studio serves a file of a local storage, from below its document root."""
    return f"/data/local-files/?d={quote(f'{folder}/{name}')}"


def to_label_studio(plan: Plan, states: Sequence[ItemState], sights: Mapping[str, Sight]) -> bytes:
    """Tasks for Label Studio's JSON import, one an item with what people say of it as annotations, planted items left
    out. `sights`: by item id, every other item."""
    tasks = []
    for item, state in zip(plan.items, states, strict=True):
        if item.planted is not None:
            continue
        sight = sights[item.item_id]
        caption = "" if sight.caption is None else json.dumps(sight.caption, ensure_ascii=False, indent=1)
        data = {
            "item_id": item.item_id,
            "clip_id": item.clip_id,
            "gate": plan.gate,
            "pool": plan.pool,
            "inclusion": item.inclusion if plan.strata else None,
            "source": sight.source,
            "start_s": sight.start_s,
            "end_s": sight.end_s,
            "span": f"{sight.start_s:.2f} s to {sight.end_s:.2f} s of {sight.source}",
            "caption": caption,
        }
        if sight.video is not None:
            data["video"] = sight.video
        annotations = [{"result": list(_results(state, who, reading))} for who, reading in _said(state)]
        tasks.append({"data": data, "annotations": annotations})
    return json.dumps(tasks, ensure_ascii=False, indent=1).encode() + b"\n"


def interface(gate: Gate, films: bool) -> bytes:
    """The labelling interface, in Label Studio's XML, that the tasks of this gate are judged in and come back from.

    `films`: the tasks have previews.
    """
    view = ElementTree.Element("View")

    def add(tag: str, inside: ElementTree.Element | None = None, **attributes: str) -> ElementTree.Element:
        return ElementTree.SubElement(view if inside is None else inside, tag, attributes)

    add("Style").text = ".htx-text { white-space: pre-wrap; }"
    add("Text", name="clip", value="$clip_id")
    if films:
        add("Video", name="film", value="$video")
    add("Text", name="where", value="$span")
    add("Text", name="said", value="$caption")
    verdicts = add("Choices", name="verdict", toName="clip", choice="single", showInline="true")
    for verdict in VERDICTS:
        add("Choice", verdicts, value=verdict)
    reasons = add("Choices", name="reason", toName="clip", choice="multiple")
    for reason, words in REASONS[gate].items():
        add("Choice", reasons, value=words, alias=reason)
    for name, words in (
        ("note", "Note"),
        ("caption", "The caption, corrected and whole, as JSON"),
        ("reviewer", "Your name"),
    ):
        add("Header", value=words)
        add("TextArea", name=name, toName="clip", maxSubmissions="1")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode").encode() + b"\n"


def _results(state: ItemState, who: str, reading: Reading | None) -> Iterator[dict[str, Any]]:
    if reading is not None:
        yield _result("verdict", "choices", [reading.verdict])
        if reading.reasons:
            yield _result("reason", "choices", list(reading.reasons))
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
    account: str = ""
    """Number of Label Studio's account that said it, which names nobody."""


class RowError(Exception):
    """This row cannot be taken; the sentence says why."""


NO_TIME = "no time in seconds since 1970 that has come: mend it, or leave it empty for the time of the import"


def given(where: str, row: Mapping[str, Any]) -> Given:
    """The judgement in a row of CSV, JSON Lines or Parquet; cells that `safe` made are taken back."""

    def text(name: str) -> str:
        value = row.get(name)
        return unsafe(value.strip()) if isinstance(value, str) else ""

    made = row.get("made_at")
    try:
        made_at = None if made in (None, "") else float(made)
    except (TypeError, ValueError, OverflowError):
        raise RowError(f"{where}: made_at is {repr(made)[:40]}, {NO_TIME}") from None
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


def from_label_studio(where: str, data: bytes) -> Iterator[Given | RowError]:
    """The judgements of Label Studio's JSON export; in place of one that cannot be read, why. RowError: it is another
    kind of file."""
    try:
        tasks = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{where}: it is not Label Studio's JSON: {error}") from error
    if not isinstance(tasks, list):
        raise RowError(f"{where}: it is not Label Studio's JSON: a list of tasks")
    for number, task in enumerate(tasks, 1):
        place = f"{where}, task {number}"
        try:
            annotations = list(task.get("annotations", ()))
        except (AttributeError, TypeError) as error:
            yield RowError(f"{place}: it is no task of Label Studio: {error}")
            continue
        for annotation in annotations:
            try:
                if not annotation.get("was_cancelled"):
                    yield _annotated(place, task["data"], annotation)
            except (KeyError, TypeError, AttributeError) as error:
                yield RowError(
                    f"{place}: it is no annotation of Label Studio: {type(error).__name__}: {error}"
                )


def _annotated(where: str, data: Mapping[str, Any], annotation: Mapping[str, Any]) -> Given:
    said: dict[str, list[str]] = {}
    for result in annotation["result"]:
        values = result["value"]
        said[result["from_name"]] = [str(v) for v in values.get("choices") or values.get("text") or ()]

    def first(name: str) -> str:
        return (said.get(name) or [""])[0].strip()

    by = annotation.get("completed_by")
    about = by if isinstance(by, dict) else {"id": by}
    return Given(
        where,
        str(data.get("item_id", "")),
        str(data.get("clip_id", "")),
        first("verdict").lower(),
        tuple(said.get("reason", ())),
        first("reviewer") or str(about.get("email") or ""),
        first("note"),
        first("caption"),
        None,
        str(about.get("id") or ""),
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
    if one.verdict not in VERDICTS and not (one.verdict == "" and (one.note or one.caption)):
        raise RowError(f"{one.where}: the verdict is {one.verdict!r}, not good, bad or skip")
    unknown = [word for word in one.reasons if word not in REASONS[gate]]
    if unknown:
        raise RowError(f"{one.where}: {unknown[0]!r} is no reason of the {gate} gate")
    item = known.get(one.item_id or one.clip_id)
    if item is None:
        raise RowError(f"{one.where}: the plan has no item of clip {one.clip_id or one.item_id!r}")
    made_at = now if one.made_at is None else one.made_at
    if not (math.isfinite(made_at) and 0 <= made_at <= now + AHEAD_S):
        raise RowError(f"{one.where}: made_at is {made_at:.16g}, {NO_TIME}")
    about = (item, who, str(last(item, who)))
    reasons = one.reasons if one.verdict == "bad" else ()
    verdict: Any = one.verdict
    if verdict:
        yield Event(_id(*about, verdict, *reasons), item, who, "verdict", made_at, None, verdict, reasons)
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
