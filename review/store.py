"""The verdicts of a review: an append-only SQLite file, durable before a call returns, and the queue it leaves.

One row an event, never changed: undoing a verdict is an event too. What stands is folded from the events, so that a
server killed at any moment goes on where it was. Clocks are arguments: seconds since 1970.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pipeline.store import StorageError
from review.hold import held
from review.plan import Item, Plan
from review.reasons import REASONS
from review.tally import Part, Tally

Kind = Literal["verdict", "undo", "note", "edit"]
Verdict = Literal["good", "bad", "skip"]
LEASE_S = 600.0
"""How long an item that was handed to one reviewer is kept from others. Ours."""
MAX_FIELDS_CHARS = 1 << 21
LONGEST_S = 120.0
"""More than this between seeing an item and judging it is a pause, and no part of the time an item takes. Ours."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS plan (digest TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  client_id TEXT NOT NULL UNIQUE,
  item_id TEXT NOT NULL,
  reviewer TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('verdict', 'undo', 'note', 'edit')),
  verdict TEXT CHECK (verdict IN ('good', 'bad', 'skip')),
  reasons TEXT NOT NULL,
  fields TEXT NOT NULL,
  shown_at REAL,
  made_at REAL NOT NULL,
  CHECK ((kind = 'verdict') = (verdict IS NOT NULL))
) STRICT;
CREATE TRIGGER IF NOT EXISTS kept BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;
CREATE TRIGGER IF NOT EXISTS stay BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;
"""
COLUMNS = "client_id, item_id, reviewer, kind, verdict, reasons, fields, shown_at, made_at"


class ReviewError(Exception):
    """This event cannot be taken, or this file is not the review's; the sentence says why."""


class Taken(ReviewError):
    """As many people as the plan wants have judged this item already: go on to the next."""


@dataclass(frozen=True)
class Event:
    """What a reviewer did. `client_id` is made by the page, so that an event sent twice is one event."""

    client_id: str
    item_id: str
    reviewer: str
    kind: Kind
    made_at: float
    shown_at: float | None = None
    """When the item came on screen."""
    verdict: Verdict | None = None
    """Of kind verdict alone."""
    reasons: tuple[str, ...] = ()
    """Words of reasons.REASONS for this gate; of a bad verdict alone."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """note: {"note": TEXT}, "" takes it back. edit: {"caption": THE WHOLE CAPTION AS AN OBJECT}, {} takes it back."""
    seq: int = 0
    """Its place in the file, from 1; 0 while it is not in one."""


@dataclass(frozen=True)
class Reading:
    """What one reviewer says of one item, as it stands."""

    reviewer: str
    verdict: Verdict
    reasons: tuple[str, ...]
    seq: int
    shown_at: float | None
    made_at: float


@dataclass(frozen=True)
class ItemState:
    """All that stands of one item, by everybody: for the gate and for exports, never for a reviewer's page."""

    item_id: str
    readings: tuple[Reading, ...] = ()
    """At most one a reviewer, the earliest first."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """By reviewer."""
    edit: Mapping[str, Any] | None = None
    """The caption as last corrected."""
    editor: str | None = None
    edited_at: float | None = None


@dataclass(frozen=True)
class Own:
    """What one reviewer says of one item, as it stands."""

    reading: Reading | None = None
    note: str = ""
    edit: Mapping[str, Any] | None = None
    """The caption as they corrected it."""
    seq: int = 0
    """Of the last event of theirs about it; 0: there is none."""


@dataclass(frozen=True)
class OwnState:
    """What one reviewer has said so far, by item: all that their page may know."""

    verdicts: Mapping[str, Reading]
    notes: Mapping[str, str]
    edits: Mapping[str, Mapping[str, Any]]
    last: str | None
    """The item that an undo would bring back."""


@dataclass(frozen=True)
class Progress:
    """How far the review is."""

    items: int
    judged: int
    """Items that have at least one verdict."""
    settled: int
    """Items that have all the verdicts that the plan wants of them."""
    readings_left: int
    """Verdicts that are still wanted, as far as is known."""
    by_reviewer: Mapping[str, int]
    """Verdicts that stand, by reviewer."""
    seconds_an_item: float | None
    """Median time from sight to verdict; None before the first."""

    @property
    def seconds_left(self) -> float | None:
        """Reading time left for all reviewers together."""
        return None if self.seconds_an_item is None else self.readings_left * self.seconds_an_item


class ReviewStore:
    """The events of one plan. Safe to share between threads; several processes may have it open.

    ReviewError when the file belongs to another plan.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self._plan = plan
        self._items: dict[str, Item] = {item.item_id: item for item in plan.items}
        self._order = list(self._items)
        self._places = {item_id: place for place, item_id in enumerate(self._order)}
        self._begins: dict[str, int] = {}
        """By reviewer, a place before which nothing is open to them."""
        self._lock = threading.RLock()
        self._leases: dict[str, tuple[str, float]] = {}
        self._folded = _Folded()
        self._states: dict[str, ItemState] = {}
        """Of items of which nothing was said since they were asked for."""
        self._tally = Tally()
        self._tally.add((item_id, self._wanted(item_id)) for item_id in self._items)
        self._name = str(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(held(path.parent))
            self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
            stack.callback(self._db.close)
            self._open()
            self._stack = stack.pop_all()

    def _open(self) -> None:
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
            with self._writing():
                known = [row[0] for row in self._db.execute("SELECT digest FROM plan")]
                if not known:
                    self._db.execute("INSERT INTO plan VALUES (?)", (self._plan.digest,))
        except sqlite3.DatabaseError as error:
            raise ReviewError(f"the verdicts cannot be read: {error}") from error
        if known not in ([], [self._plan.digest]):
            raise ReviewError("these verdicts are about another plan than the one beside them")

    def _writing(self) -> _Transaction:
        return _Transaction(self._db, self._name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; what was acknowledged is in it."""
        with self._lock:
            self._stack.close()

    # --- writing

    def append(self, event: Event) -> int:
        """The event's seq, once it is durable; of an event that is there already, its seq.

        Taken: the item has its readers. ReviewError: the event makes no sense, or its client_id belongs to another.
        StorageError: it could not be written, and may be sent again.
        """
        return self.add((event,))[0]

    def add(self, events: Sequence[Event]) -> tuple[int, ...]:
        """Appends all of these events, or none: their seqs, as `append` gives them and raises.

        They are one reviewer's and of different kinds: none is checked against another.
        """
        with self._lock, self._writing():
            self._refresh()
            known = [self._known(event) for event in events]
            for event, before in zip(events, known, strict=True):
                if before is None:
                    self._check(event)
            return tuple(
                self._insert(event) if before is None else before.seq
                for event, before in zip(events, known, strict=True)
            )

    def _known(self, event: Event) -> Event | None:
        """The event of this client_id, if it is there. ReviewError: it is another one."""
        before = self._folded.by_client.get(event.client_id)
        if before is not None and (before.item_id, before.kind, before.reviewer) != (
            event.item_id,
            event.kind,
            event.reviewer,
        ):
            raise ReviewError("this client_id was used for another event")
        return before

    def _insert(self, event: Event) -> int:
        row = (
            event.client_id,
            event.item_id,
            event.reviewer,
            event.kind,
            event.verdict,
            json.dumps(event.reasons, ensure_ascii=False),
            json.dumps(dict(event.fields), ensure_ascii=False, allow_nan=False),
            event.shown_at,
            event.made_at,
        )
        try:
            cursor = self._db.execute(
                f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row
            )
        except sqlite3.IntegrityError as error:
            raise ReviewError(f"the verdicts do not take this event: {error}") from error
        seq = cursor.lastrowid
        assert seq is not None  # the insert was done
        return seq

    def undo(self, reviewer: str, client_id: str, made_at: float) -> str | None:
        """Takes back the reviewer's latest verdict that stands; the item that is open again, None if there was none."""
        with self._lock:
            self._refresh()
            before = self._folded.by_client.get(client_id)
            if before is not None:
                return before.item_id
            last = self.state(reviewer).last
            if last is not None:
                self.append(Event(client_id, last, reviewer, "undo", made_at))
            return last

    def _check(self, event: Event) -> None:
        """ReviewError, in one sentence, for an event that cannot stand."""
        if event.item_id not in self._items:
            raise ReviewError("the plan has no such item")
        if not event.client_id or not event.reviewer.strip():
            raise ReviewError("an event needs a client_id and a reviewer")
        times = [time for time in (event.made_at, event.shown_at) if time is not None]
        if not all(math.isfinite(time) and time >= 0 for time in times):
            raise ReviewError("an event's times are seconds since 1970")
        if (event.kind == "verdict") != (event.verdict is not None):
            raise ReviewError("a verdict is good, bad or skip, and only an event of that kind has one")
        if event.reasons and event.verdict != "bad":
            raise ReviewError("only a bad verdict has reasons")
        known = {"note": {"note"}, "edit": {"caption"}}.get(event.kind, set())
        if not set(event.fields) <= known:
            raise ReviewError(
                f"an event of kind {event.kind} has no field {sorted(set(event.fields) - known)[0]}"
            )
        unknown = sorted(set(event.reasons) - set(REASONS[self._plan.gate]))
        if unknown:
            raise ReviewError(f"{unknown[0][:40]!r} is no reason of this gate")
        if not isinstance(event.fields.get("note", ""), str) or not isinstance(
            event.fields.get("caption", {}), dict
        ):
            raise ReviewError("a note is text, and a caption an object")
        try:
            json.dumps([event.client_id, event.reviewer, dict(event.fields)], ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ReviewError("half of a character is no text") from None
        if len(json.dumps(dict(event.fields))) > MAX_FIELDS_CHARS:
            raise ReviewError(f"a note or caption has at most {MAX_FIELDS_CHARS} characters")
        own = self._folded.verdicts.get(event.item_id, {})
        if event.kind == "undo" and not own.get(event.reviewer):
            raise ReviewError("there is no verdict to take back")
        reads = event.kind == "verdict" and event.verdict != "skip" and not own.get(event.reviewer)
        most = max(2, self._wanted(event.item_id))
        if reads and self._read_by_others(event.item_id, event.reviewer) >= most:
            raise Taken("this item has its readers already")

    # --- reading

    def _refresh(self) -> None:
        """Folds in what this and other processes have written since."""
        rows = self._db.execute(
            f"SELECT seq, {COLUMNS} FROM events WHERE seq > ? ORDER BY seq", (self._folded.seq,)
        ).fetchall()
        for seq, client, item, who, kind, verdict, reasons, fields, shown_at, made_at in rows:
            event = Event(
                client,
                item,
                who,
                kind,
                made_at,
                shown_at,
                verdict,
                tuple(json.loads(reasons)),
                json.loads(fields),
                seq,
            )
            self._folded.take(event)
            self._states.pop(item, None)
            if event.kind in ("verdict", "undo"):
                self._recount(item)

    def _recount(self, item_id: str) -> None:
        """Counts an item anew whose verdicts have changed, and looks whether it is open again."""
        stacks = self._folded.verdicts.get(item_id, {}).values()
        standing = [stack[-1] for stack in stacks if stack]
        part = Part(
            read=sum(event.verdict != "skip" for event in standing),
            wanted=self._wanted(item_id),
            reviewers=tuple(event.reviewer for event in standing),
            seconds=tuple(
                event.made_at - event.shown_at
                for event in standing
                if event.shown_at is not None and 0 <= event.made_at - event.shown_at <= LONGEST_S
            ),
        )
        self._tally.change(item_id, part)
        place = self._places[item_id]
        for reviewer, begin in self._begins.items():
            if place < begin and not self._closed_to(item_id, reviewer):
                self._begins[reviewer] = place

    def events(self) -> tuple[Event, ...]:
        """Every event, in order."""
        with self._lock:
            self._refresh()
            return tuple(self._folded.by_client.values())

    def item_state(self, item_id: str) -> ItemState:
        """All that stands of one item. ReviewError: the plan has no such item."""
        with self._lock:
            self._refresh()
            if item_id not in self._items:
                raise ReviewError("the plan has no such item")
            return self._folded.item(item_id)

    def states(self) -> tuple[ItemState, ...]:
        """All that stands of every item, in the plan's order."""
        with self._lock:
            self._refresh()
            for item_id in self._items:
                if item_id not in self._states:
                    self._states[item_id] = self._folded.item(item_id)
            return tuple(map(self._states.__getitem__, self._items))

    def own(self, item_id: str, reviewer: str) -> Own:
        """What this reviewer says of one item."""
        with self._lock:
            self._refresh()
            return self._folded.own(item_id, reviewer)

    def state(self, reviewer: str) -> OwnState:
        """What this reviewer has said so far."""
        with self._lock:
            self._refresh()
            folded = self._folded
            verdicts = {
                item: _reading(stacks[reviewer][-1])
                for item, stacks in folded.verdicts.items()
                if stacks.get(reviewer)
            }
            notes = {item: said[reviewer] for item, said in folded.notes.items() if reviewer in said}
            edits = {
                item: said[reviewer].fields["caption"]
                for item, said in folded.edits.items()
                if reviewer in said
            }
            last = max(verdicts, key=lambda item: verdicts[item].seq, default=None)
            return OwnState(verdicts, notes, edits, last)

    def next_item(self, reviewer: str, n: int = 1, now: float = 0.0) -> tuple[str, ...]:
        """The next items for this reviewer, at most `n`, the one to show first: the same until it is judged.

        An item is handed to as many reviewers as its readings want, and kept for them for LEASE_S from `now`.
        """
        with self._lock:
            self._refresh()
            begin = self._begins.get(reviewer, 0)
            while begin < len(self._order) and self._closed_to(self._order[begin], reviewer):
                begin += 1
            self._begins[reviewer] = begin
            found: list[str] = []
            for item_id in islice(self._order, begin, None):
                if len(found) == n:
                    break
                if self._open_to(item_id, reviewer, now):
                    found.append(item_id)
                    holder = self._leases.get(item_id)
                    if holder is None or holder[0] == reviewer or holder[1] <= now:
                        self._leases[item_id] = (reviewer, now + LEASE_S)
            return tuple(found)

    def _closed_to(self, item_id: str, reviewer: str) -> bool:
        """Nothing is to be had of this reviewer here, whoever holds it, until its verdicts change."""
        judged = bool(self._folded.verdicts.get(item_id, {}).get(reviewer))
        return judged or self._read_by_others(item_id, reviewer) >= self._wanted(item_id)

    def _open_to(self, item_id: str, reviewer: str, now: float) -> bool:
        own = self._folded.verdicts.get(item_id, {})
        if own.get(reviewer):
            return False
        holder, until = self._leases.get(item_id, ("", 0.0))
        leased = holder not in ("", reviewer) and until > now and not own.get(holder)
        return self._read_by_others(item_id, reviewer) + leased < self._wanted(item_id)

    def _read_by_others(self, item_id: str, reviewer: str) -> int:
        """How many others have judged it; a skip is no judgement."""
        own = self._folded.verdicts.get(item_id, {})
        return sum(bool(s) and s[-1].verdict != "skip" for who, s in own.items() if who != reviewer)

    def _wanted(self, item_id: str) -> int:
        """How many readings the item wants: one; two when it is read twice, or called bad and two must say so; the
        plan's most when readers differ."""
        own = self._folded.verdicts.get(item_id, {})
        said = {stack[-1].verdict for stack in own.values() if stack}
        if {"good", "bad"} <= said:
            return self._plan.readers_at_most
        if self._items[item_id].double:
            return 2
        return self._plan.readers if "bad" in said else 1

    def progress(self) -> Progress:
        """How far the review is, all reviewers together."""
        with self._lock:
            self._refresh()
            tally = self._tally
            by_reviewer = dict(+tally.by_reviewer)
            return Progress(
                len(self._items), tally.judged, tally.settled, tally.left, by_reviewer, tally.pace
            )


class _Transaction:
    """Takes the write lock at once, so that what is read and checked inside holds until it is written.

    StorageError: the disk is full, or the file is locked for too long; nothing was written.
    """

    def __init__(self, db: sqlite3.Connection, name: str) -> None:
        self._db = db
        self._name = name

    def __enter__(self) -> None:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise self._fault(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._db.execute("COMMIT")
        except sqlite3.OperationalError as fault:
            raise self._fault(fault) from fault
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):
            raise self._fault(error) from error

    def _fault(self, error: sqlite3.OperationalError) -> StorageError:
        return StorageError(f"{self._name}: not saved: {error}")


class _Folded:
    """What the events come to."""

    def __init__(self) -> None:
        self.seq = 0
        self.by_client: dict[str, Event] = {}
        self.verdicts: dict[str, dict[str, list[Event]]] = {}
        """By item and reviewer: verdicts, the one that stands last; undo takes it off."""
        self.notes: dict[str, dict[str, str]] = {}
        self.edits: dict[str, dict[str, Event]] = {}
        self.last: dict[tuple[str, str], int] = {}
        """By item and reviewer, the seq of the last event."""

    def take(self, event: Event) -> None:
        """Folds in one event, in order of seq."""
        self.seq = event.seq
        self.by_client[event.client_id] = event
        self.last[event.item_id, event.reviewer] = event.seq
        if event.kind == "verdict":
            self.verdicts.setdefault(event.item_id, {}).setdefault(event.reviewer, []).append(event)
        elif event.kind == "undo":
            self.verdicts[event.item_id][event.reviewer].pop()
        elif event.kind == "note":
            said = self.notes.setdefault(event.item_id, {})
            said.pop(event.reviewer, None)
            if event.fields.get("note"):
                said[event.reviewer] = str(event.fields["note"])
        else:
            edits = self.edits.setdefault(event.item_id, {})
            edits.pop(event.reviewer, None)
            if event.fields:
                edits[event.reviewer] = event

    def own(self, item_id: str, reviewer: str) -> Own:
        """What stands of one item and reviewer."""
        stack = self.verdicts.get(item_id, {}).get(reviewer)
        edit = self.edits.get(item_id, {}).get(reviewer)
        return Own(
            _reading(stack[-1]) if stack else None,
            self.notes.get(item_id, {}).get(reviewer, ""),
            None if edit is None else edit.fields["caption"],
            self.last.get((item_id, reviewer), 0),
        )

    def item(self, item_id: str) -> ItemState:
        """What stands of one item."""
        standing = [stack[-1] for stack in self.verdicts.get(item_id, {}).values() if stack]
        readings = tuple(_reading(event) for event in sorted(standing, key=lambda event: event.seq))
        notes = dict(self.notes.get(item_id, {}))
        edit = max(self.edits.get(item_id, {}).values(), key=lambda event: event.seq, default=None)
        if edit is None:
            return ItemState(item_id, readings, notes)
        return ItemState(item_id, readings, notes, edit.fields["caption"], edit.reviewer, edit.made_at)


def _reading(event: Event) -> Reading:
    assert event.verdict is not None  # the table's own check
    return Reading(event.reviewer, event.verdict, event.reasons, event.seq, event.shown_at, event.made_at)
