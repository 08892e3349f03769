"""The verdicts: durable, once each, undone by an event, and the queue that they leave to each reviewer."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from pipeline.store import StorageError
from review.hold import held
from review.plan import Item, Plan, Stratum
from review.store import LEASE_S, Event, ReviewError, ReviewStore, Taken

ROOT = Path(__file__).parents[2]
PLAN = Plan(
    gate="pretrain",
    pool="540p",
    limit=0.15,
    confidence=0.95,
    power=0.9,
    expected=0.05,
    readers=2,
    seed=0,
    snapshot={},
    strata=(Stratum("all", 60, 6),),
    items=tuple(Item(f"i{number}", f"c{number}", "all", 0.1, double=number == 2) for number in range(6)),
)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with ReviewStore(tmp_path / "verdicts.sqlite", PLAN) as made:
        yield made


def said(item: str, who: str = "ann", verdict: Any = "good", client: str = "", **more: Any) -> Event:
    at = more.pop("made_at", 100.0)
    return Event(client or f"{who}-{item}-{verdict}", item, who, "verdict", at, verdict=verdict, **more)


def test_an_event_sent_twice_is_one_event(store: ReviewStore) -> None:
    assert store.append(said("i0")) == 1
    assert store.append(said("i0")) == 1
    assert len(store.events()) == 1
    with pytest.raises(ReviewError, match="another event"):
        store.append(said("i1", client="ann-i0-good"))


def test_events_are_never_changed_or_removed(store: ReviewStore, tmp_path: Path) -> None:
    store.append(said("i0"))
    other = sqlite3.connect(tmp_path / "verdicts.sqlite")
    for line in ("UPDATE events SET verdict = 'bad'", "DELETE FROM events", "UPDATE events SET seq = 9"):
        with pytest.raises(sqlite3.IntegrityError, match="events are never"):
            other.execute(line)
    with pytest.raises(sqlite3.IntegrityError):
        other.execute(
            "INSERT INTO events (client_id, item_id, reviewer, kind, reasons, fields, made_at)"
            " VALUES ('x', 'i0', 'ann', 'verdict', '[]', '{}', 1.0)"  # a verdict without one
        )
    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()


def test_what_the_table_refuses_is_a_review_error(store: ReviewStore) -> None:
    store._db.execute(
        "CREATE TRIGGER never BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'not today'); END"
    )
    with pytest.raises(ReviewError, match="not today"):
        store.append(said("i0"))
    assert store.events() == ()


def test_the_file_is_written_through_to_the_disk(store: ReviewStore) -> None:
    assert store._db.execute("PRAGMA synchronous").fetchone() == (
        2,
    )  # FULL: fsync of the log at every commit


def test_verdicts_of_another_plan_are_refused(store: ReviewStore, tmp_path: Path) -> None:
    store.append(said("i0"))
    with pytest.raises(ReviewError, match="another plan"):
        ReviewStore(tmp_path / "verdicts.sqlite", replace(PLAN, limit=0.2))
    (tmp_path / "text").write_text("this is no database, and it is long enough to be looked at as one" * 40)
    with pytest.raises(ReviewError, match="cannot be read"):
        ReviewStore(tmp_path / "text", PLAN)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (said("i9"), "no such item"),
        (said("i0", made_at=float("nan")), "times are seconds since 1970"),
        (said("i0", made_at=float("inf")), "times are seconds since 1970"),
        (said("i0", shown_at=-1.0), "times are seconds since 1970"),
        (said("i0", who=" "), "a client_id and a reviewer"),
        (Event("c", "i0", "ann", "verdict", 1.0), "only an event of that kind"),
        (Event("c", "i0", "ann", "note", 1.0, verdict="good"), "only an event of that kind"),
        (said("i0", reasons=("logo",)), "only a bad verdict has reasons"),
        (said("i0", verdict="bad", reasons=("sneezed",)), "no reason of this gate"),
        (said("i0", verdict="bad", reasons=("shaky",)), "no reason of this gate"),  # that is post-training's
        (said("i0", fields={"note": "x"}), "has no field note"),
        (Event("c", "i0", "ann", "note", 1.0, fields={"caption": {}}), "has no field caption"),
        (Event("c", "i0", "ann", "note", 1.0, fields={"note": 3}), "a note is text"),
        (Event("c", "i0", "ann", "note", 1.0, fields={"note": "x" * (1 << 21)}), "at most"),
        (Event("c", "i0", "ann", "note", 1.0, fields={"note": "\ud83d"}), "half of a character"),
        (Event("c", "i0", "ann", "undo", 1.0), "no verdict to take back"),
    ],
)
def test_an_event_that_cannot_stand_is_refused(store: ReviewStore, event: Event, why: str) -> None:
    with pytest.raises(ReviewError, match=why):
        store.append(event)
    assert store.events() == ()


def test_undo_is_an_event_and_brings_the_item_back(store: ReviewStore) -> None:
    assert store.undo("ann", "u0", 100.0) is None
    for item in ("i0", "i1"):
        store.append(said(item))
    assert store.next_item("ann") == ("i2",)
    assert store.undo("ann", "u1", 101.0) == "i1"
    assert store.undo("ann", "u1", 101.0) == "i1"  # the same key press again
    assert store.next_item("ann") == ("i1",)
    assert store.state("ann").last == "i0"
    assert store.undo("bob", "u2", 102.0) is None
    assert [event.kind for event in store.events()] == ["verdict", "verdict", "undo"]
    assert store.item_state("i1").readings == ()


def test_undoing_a_second_thought_leaves_the_first(store: ReviewStore) -> None:
    store.append(said("i0"))
    store.append(said("i0", verdict="bad", reasons=("logo",)))
    assert [(r.verdict, r.reasons) for r in store.item_state("i0").readings] == [("bad", ("logo",))]
    assert store.undo("ann", "u", 1.0) == "i0"
    assert [reading.verdict for reading in store.item_state("i0").readings] == ["good"]


def test_a_reviewer_sees_the_next_item_until_it_is_judged(store: ReviewStore) -> None:
    assert store.next_item("ann", 3, now=0.0) == ("i0", "i1", "i2")
    assert store.next_item("ann", 1, now=1.0) == ("i0",)
    store.append(said("i0"))
    assert store.next_item("ann", 2, now=2.0) == ("i1", "i2")


def test_two_reviewers_get_different_items_but_for_those_read_twice(store: ReviewStore) -> None:
    assert store.next_item("ann", 3, now=0.0) == ("i0", "i1", "i2")
    assert store.next_item("bob", 3, now=0.0) == ("i2", "i3", "i4")
    assert store.next_item("cem", 3, now=0.0) == ("i2", "i5") or store.next_item("cem", 3, now=0.0) == ("i5",)
    # What a reviewer left open goes to another after a while.
    assert store.next_item("bob", 3, now=LEASE_S + 1) == ("i0", "i1", "i2")


def test_what_is_called_bad_goes_to_a_second_reader_and_to_no_third(store: ReviewStore) -> None:
    store.append(said("i0", verdict="bad", reasons=("logo",)))
    assert store.next_item("bob", 1) == ("i0",)
    store.append(said("i0", "bob", "bad", reasons=("logo",)))
    assert "i0" not in store.next_item("cem", 9)
    with pytest.raises(Taken):
        store.append(said("i0", "cem"))
    store.append(said("i0", "ann"))  # a second thought of one who has read it is welcome
    store.append(said("i0", "cem", "skip"))


def test_readers_who_differ_are_followed_by_a_third_and_no_fourth(store: ReviewStore) -> None:
    store.append(said("i0", verdict="bad", reasons=("logo",)))
    store.append(said("i0", "bob"))
    assert store.next_item("cem", 1) == ("i0",)
    store.append(said("i0", "cem"))
    assert "i0" not in store.next_item("dan", 9)
    with pytest.raises(Taken):
        store.append(said("i0", "dan"))


def test_a_skip_is_no_reading_and_is_not_shown_again(store: ReviewStore) -> None:
    store.append(said("i0", verdict="skip"))
    assert store.next_item("ann") == ("i1",)
    assert store.next_item("bob") == ("i0",)
    assert store.progress().judged == 0


def test_with_one_reader_bad_is_not_read_again(tmp_path: Path) -> None:
    with ReviewStore(tmp_path / "v", replace(PLAN, readers=1)) as store:
        store.append(said("i0", verdict="bad", reasons=("logo",)))
        assert store.next_item("bob") == ("i1",)
        store.append(said("i2"))
        assert store.next_item("bob", 2) == ("i1", "i2")  # i2 is read twice whatever was said


def test_a_reviewer_s_own_state_tells_nothing_of_others(store: ReviewStore) -> None:
    store.append(said("i0", verdict="bad", reasons=("logo",)))
    store.append(Event("n1", "i0", "ann", "note", 1.0, fields={"note": "top left"}))
    store.append(Event("e1", "i0", "ann", "edit", 1.0, fields={"caption": {"lighting": "Dark."}}))
    own = store.state("bob")
    assert (dict(own.verdicts), dict(own.notes), dict(own.edits), own.last) == ({}, {}, {}, None)
    mine = store.state("ann")
    assert (mine.verdicts["i0"].verdict, mine.notes["i0"]) == ("bad", "top left")
    assert mine.edits["i0"] == {"lighting": "Dark."}


def test_the_last_edit_stands_and_an_empty_one_takes_it_back(store: ReviewStore) -> None:
    def edit(client: str, who: str, fields: dict[str, Any], at: float) -> None:
        store.append(Event(client, "i0", who, "edit", at, fields=fields))

    edit("e1", "ann", {"caption": {"lighting": "Dark."}}, 1.0)
    edit("e2", "bob", {"caption": {"lighting": "Dim."}}, 2.0)
    state = store.item_state("i0")
    assert (state.edit, state.editor, state.edited_at) == ({"lighting": "Dim."}, "bob", 2.0)
    edit("e3", "bob", {}, 3.0)
    assert store.item_state("i0").editor == "ann"
    edit("e4", "ann", {}, 4.0)
    assert store.item_state("i0").edit is None
    store.append(Event("n1", "i0", "ann", "note", 1.0, fields={"note": "x"}))
    store.append(Event("n2", "i0", "ann", "note", 2.0, fields={"note": ""}))
    assert store.item_state("i0").notes == {}


def test_progress_counts_what_is_left_to_read(store: ReviewStore) -> None:
    before = store.progress()
    assert (before.items, before.judged, before.settled, before.readings_left) == (
        6,
        0,
        0,
        7,
    )  # i2 is read twice
    assert before.seconds_left is None
    store.append(said("i0", made_at=110.0, shown_at=100.0))
    store.append(said("i1", verdict="bad", reasons=("logo",), made_at=130.0, shown_at=110.0))
    store.append(said("i2", made_at=900.0, shown_at=130.0))  # went for a walk
    after = store.progress()
    assert (after.judged, after.settled, after.readings_left) == (3, 1, 5)
    assert after.by_reviewer == {"ann": 3}
    assert after.seconds_an_item == 15.0
    assert after.seconds_left == 75.0


def test_events_that_belong_together_are_taken_together_or_not_at_all(store: ReviewStore) -> None:
    note = Event("n", "i0", "ann", "note", 1.0, fields={"note": "top left"})
    with pytest.raises(ReviewError, match="no reason of this gate"):
        store.add((note, said("i0", verdict="bad", reasons=("sneezed",))))
    assert store.events() == ()
    assert store.add((said("i0"), note)) == (1, 2)
    assert store.add((said("i0"), note)) == (1, 2)
    own = store.own("i0", "ann")
    assert own.reading is not None
    assert (own.reading.verdict, own.note, own.edit, own.seq) == ("good", "top left", None, 2)
    assert store.own("i0", "bob").seq == store.own("i1", "ann").seq == 0


def test_an_open_review_s_folder_is_nobody_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    with (
        ReviewStore(folder / "v", PLAN),
        ReviewStore(folder / "v", PLAN),
        pytest.raises(BlockingIOError),
        held(folder, alone=True),
    ):
        pass
    with held(folder, alone=True):
        folder.rename(tmp_path / "moved")


def plainly(store: ReviewStore, plan: Plan) -> tuple[int, int, int, dict[str, int], float | None]:
    """What Progress says, counted from the states."""
    judged = settled = left = 0
    by_reviewer: dict[str, int] = {}
    seconds = []
    for item, state in zip(plan.items, store.states(), strict=True):
        said = [reading.verdict for reading in state.readings if reading.verdict != "skip"]
        wanted = store._wanted(item.item_id)
        judged += bool(said)
        settled += len(said) >= wanted
        left += max(0, wanted - len(said))
        for one in state.readings:
            by_reviewer[one.reviewer] = by_reviewer.get(one.reviewer, 0) + 1
            seconds += [one.made_at - one.shown_at] if one.shown_at is not None else []
    return judged, settled, left, by_reviewer, median(seconds) if seconds else None


def test_queue_and_progress_are_those_of_a_plain_count_whatever_is_said_and_undone(tmp_path: Path) -> None:
    dice = random.Random(6)
    items = tuple(
        Item(f"i{number}", f"c{number}", "all", 0.1, double=number % 5 == 0) for number in range(24)
    )
    plan = replace(PLAN, items=items)
    with ReviewStore(tmp_path / "v", plan) as store, ReviewStore(tmp_path / "v", plan) as other:
        for step in range(120):
            now, who = 1000.0 * step, dice.choice(("ann", "bob", "cem"))  # leases have ended by the next step
            queue = store.next_item(who, 3, now)
            assert list(queue) == [item for item in store._items if store._open_to(item, who, now)][:3]
            writer = dice.choice((store, other))
            if dice.random() < 0.2 or not queue:
                writer.undo(who, f"u{step}", now)
            else:
                verdict: Any = dice.choice(("good", "good", "bad", "skip"))
                reasons = ("logo",) if verdict == "bad" else ()
                seen = dice.choice((None, now - 50 * dice.random()))
                item = dice.choice(queue)
                writer.append(Event(f"v{step}", item, who, "verdict", now, seen, verdict, reasons))
            found = store.progress()
            *counts, pace = plainly(store, plan)
            assert [found.judged, found.settled, found.readings_left, found.by_reviewer] == counts
            assert found.seconds_an_item == pytest.approx(pace)


def test_another_process_and_another_thread_see_the_same(tmp_path: Path) -> None:
    with ReviewStore(tmp_path / "v", PLAN) as one, ReviewStore(tmp_path / "v", PLAN) as other:
        one.append(said("i0"))
        assert other.next_item("ann") == ("i1",)
        assert other.append(said("i0")) == 1

        def read(number: int) -> None:
            for item in ("i1", "i3", "i4", "i5"):
                (one if number % 2 else other).append(said(item, f"r{number}", "skip"))

        threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(one.events()) == len(other.events()) == 25
        assert [event.seq for event in one.events()] == list(range(1, 26))


def test_a_full_disk_loses_nothing_that_was_acknowledged_and_goes_on_with_space(tmp_path: Path) -> None:
    with ReviewStore(tmp_path / "v", PLAN) as store:
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count={pages + 1}")

        def note(number: int) -> Event:
            return Event(f"n{number}", "i0", "ann", "note", 1.0, fields={"note": "x" * 1000})

        def fill() -> None:
            for number in range(100):
                store.append(note(number))

        with pytest.raises(StorageError, match="not saved"):
            fill()
        kept = len(store.events())
        assert 0 < kept < 100
        store._db.execute(f"PRAGMA max_page_count={pages + 100}")
        assert store.append(note(kept)) == kept + 1


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {here!r}]
from plan_of import PLAN
from review.store import Event, ReviewStore
store = ReviewStore(Path({file!r}), PLAN)
for number in range(100_000):
    verdict = "good" if number % 2 else "bad"
    store.append(Event(f"w{{number}}", "i0", "ann", "verdict", 1.0, verdict=verdict))
    print(number, flush=True)
"""


@pytest.mark.slow
def test_killed_between_two_verdicts_it_has_every_one_that_was_acknowledged(tmp_path: Path) -> None:
    text = f"from review.plan import Item, Plan, Stratum\nPLAN = {PLAN!r}\n"
    (tmp_path / "plan_of.py").write_text(text)
    for kill_after in (1, 7, 30):
        file = tmp_path / f"v{kill_after}"
        code = WRITER.format(root=str(ROOT), here=str(tmp_path), file=str(file))
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(kill_after)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        with ReviewStore(file, PLAN) as store:
            kept = [event.client_id for event in store.events()]
        assert kept[: len(acknowledged)] == [f"w{number}" for number in acknowledged]
        assert len(kept) - len(acknowledged) <= 1  # written, and killed before it could say so
