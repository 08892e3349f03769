"""Labels out and in again: nothing lost, no formula, no planted item, the same file twice changes nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from review import exchange
from review.exchange import RowError, events, from_label_studio, given, places, rows, safe, unsafe
from review.plan import Item, Plan, Plant, Stratum
from review.store import Event, ReviewStore

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
    strata=(Stratum("all", 40, 4),),
    items=(
        Item("i0", "c0", "all", 0.1),
        Item("i1", "c1", "all", 0.1, double=True),
        Item("i2", "c2", "", 0.25, "rejected"),
        Item("p0", "c3", "", 1.0, planted=Plant("logo")),
    ),
)
CAPTION = {"lighting": "=HYPERLINK(1)", "subjects": []}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReviewStore]:
    """A review in which ann and bob have said a few things."""
    with ReviewStore(tmp_path / "verdicts.sqlite", PLAN) as made:
        for client, item, who, verdict, reasons in (
            ("a", "i0", "ann", "bad", ("logo", "text")),
            ("b", "i0", "=bob", "good", ()),
            ("c", "i1", "ann", "good", ()),
            ("d", "i1", "=bob", "skip", ()),
            ("e", "i2", "ann", "bad", ("other",)),
            ("f", "p0", "ann", "bad", ("logo",)),
        ):
            verdict_of: Any = verdict
            made.append(Event(client, item, who, "verdict", 20.0, 12.5, verdict_of, reasons))
        made.append(Event("n", "i2", "ann", "note", 21.0, fields={"note": "=1+1\n'twas <b>"}))
        made.append(Event("m", "i1", "ann", "edit", 22.0, fields={"caption": CAPTION}))
        yield made


def test_rows_are_the_good_and_bad_verdicts_of_what_was_not_planted(store: ReviewStore) -> None:
    found = list(rows(PLAN, store.states()))
    assert [(row.clip_id, row.verdict, row.reason, row.reviewer) for row in found] == [
        ("c0", "bad", "logo;text", "ann"),
        ("c0", "good", "", "=bob"),
        ("c1", "good", "", "ann"),
        ("c2", "bad", "other", "ann"),
    ]
    assert [row.inclusion for row in found] == [0.1, 0.1, 0.1, 0.25]
    assert found[0].seconds == 7.5
    assert [row.caption is not None for row in found] == [False, False, True, False]


def test_what_was_picked_was_drawn_with_no_chance(store: ReviewStore) -> None:
    picked = replace(PLAN, strata=())
    found = list(rows(picked, store.states()))
    assert {(row.inclusion, row.side) for row in found} == {(None, "picked")}
    assert exchange.to_table(found).column("inclusion").null_count == len(found)
    tasks = json.loads(exchange.to_label_studio(picked, store.states()))
    assert {task["data"]["inclusion"] for task in tasks} == {None}


def test_an_id_is_of_what_was_said_and_of_what_was_said_before() -> None:
    one = given("row 1", {"clip_id": "c0", "verdict": "good", "reviewer": "ann"})

    def name(seq: int) -> str:
        (event,) = events(PLAN.gate, places(PLAN), one, "", 5.0, lambda item, who: seq)
        return event.client_id

    assert name(0) == name(0)
    assert name(0) != name(3)


def test_no_cell_of_the_csv_is_a_formula(store: ReviewStore) -> None:
    data = exchange.to_csv(rows(PLAN, store.states()))
    cells = [cell for row in csv.reader(io.StringIO(data.decode(), newline="")) for cell in row]
    assert "'=bob" in cells
    assert not [cell for cell in cells if cell[:1] in tuple(exchange.FORMULA)]


@pytest.mark.parametrize(
    "cell", ["", "plain", "=1", "+1", "-1", "@x", "\t=1", "\r", "\n=1", "'=1", "'twas", "''", "＝1", "a=1"]
)
def test_a_guarded_cell_is_read_as_it_was(cell: str) -> None:
    assert unsafe(safe(cell)) == cell
    assert safe(cell)[:1] not in tuple(exchange.FORMULA)


def test_an_apostrophe_of_a_foreign_file_stays() -> None:
    assert unsafe("'twas") == "'twas"


def nothing(item_id: str, reviewer: str) -> int:
    """The seq of a last event where there was none."""
    return 0


def test_a_caption_is_confirmed_where_everybody_calls_its_clip_good_and_nobody_corrects_it(
    store: ReviewStore,
) -> None:
    assert exchange.confirmed(PLAN, store.states()) == {}  # c0 is in dispute, c1 corrected, c2 bad
    store.append(Event("b2", "i0", "ann", "verdict", 30.0, 29.0, "good"))
    store.append(Event("f2", "p0", "ann", "verdict", 30.0, 29.0, "good"))
    store.append(Event("m2", "i1", "ann", "edit", 30.0, fields={}))
    assert exchange.confirmed(PLAN, store.states()) == {"c0": ("=bob", "ann"), "c1": ("ann",)}


def again(found: list[exchange.Given], tmp_path: Path, reviewer: str = "") -> ReviewStore:
    """A new review of the same plan that has taken these judgements, twice."""
    fresh = ReviewStore(tmp_path / "fresh.sqlite", PLAN)
    for _ in range(2):
        for one in found:
            for event in events(PLAN.gate, places(PLAN), one, reviewer, 5.0, nothing):
                fresh.append(event)
    return fresh


def stands(store: ReviewStore) -> list[Any]:
    """What stands of the items that were not planted, times and skips apart."""
    found = []
    for item, state in zip(PLAN.items, store.states(), strict=True):
        if item.planted is None:
            readings = {(r.reviewer, r.verdict, r.reasons) for r in state.readings if r.verdict != "skip"}
            found.append((item.item_id, readings, dict(state.notes), state.edit, state.editor))
    return found


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "json"])
def test_what_goes_out_comes_in_again(store: ReviewStore, tmp_path: Path, form: str) -> None:
    labels = list(rows(PLAN, store.states()))
    if form == "csv":
        text = exchange.to_csv(labels).decode()
        found = [given("here", row) for row in csv.DictReader(io.StringIO(text, newline=""))]
    elif form == "jsonl":
        found = [given("here", json.loads(line)) for line in exchange.to_jsonl(labels).splitlines()]
    elif form == "parquet":
        found = [given("here", row) for row in exchange.to_table(labels).to_pylist()]
    else:
        found = list(from_label_studio("here", exchange.to_label_studio(PLAN, store.states())))
    with again(found, tmp_path) as fresh:
        assert stands(fresh) == stands(store)


def test_label_studio_gets_every_item_but_the_planted(store: ReviewStore) -> None:
    tasks = json.loads(exchange.to_label_studio(PLAN, store.states()))
    assert [task["data"]["item_id"] for task in tasks] == ["i0", "i1", "i2"]
    first = tasks[0]["annotations"][0]["result"]
    assert first[0] == {
        "from_name": "verdict",
        "to_name": "clip",
        "type": "choices",
        "value": {"choices": ["bad"]},
    }
    assert first[1]["value"] == {"choices": ["logo", "text"]}


def test_label_studio_s_own_export_is_read() -> None:
    result = [{"from_name": "verdict", "to_name": "clip", "type": "choices", "value": {"choices": ["Bad"]}}]
    tasks = [
        {
            "id": 7,
            "data": {"clip_id": "c0"},
            "annotations": [
                {"completed_by": {"id": 1, "email": "ann@example.org"}, "result": result},
                {"completed_by": 3, "result": result},
                {"completed_by": 4, "was_cancelled": True, "result": []},
            ],
        }
    ]
    found = list(from_label_studio("here", json.dumps(tasks).encode()))
    assert [(one.reviewer, one.verdict, one.clip_id) for one in found] == [
        ("ann@example.org", "bad", "c0"),
        ("3", "bad", "c0"),
    ]
    for broken in (b"{", b"[1]", b'[{"annotations": [{"result": [{}]}], "data": {}}]', b"[" * 100_000):
        with pytest.raises(RowError, match="it is not Label Studio's JSON"):
            list(from_label_studio("here", broken))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"clip_id": "c0", "verdict": "bad"}, "it names no reviewer"),
        ({"clip_id": "c0", "verdict": "maybe", "reviewer": "ann"}, "not good, bad or skip"),
        ({"clip_id": "c9", "verdict": "bad", "reviewer": "ann"}, "no item of clip 'c9'"),
        ({"clip_id": "c3", "verdict": "bad", "reviewer": "ann"}, "no item of clip 'c3'"),  # it was planted
        ({"item_id": "p0", "verdict": "bad", "reviewer": "ann"}, "no item of clip 'p0'"),
        ({"clip_id": "c0", "verdict": "bad", "reviewer": "ann", "reason": "x"}, "'x' is no reason"),
        ({"clip_id": "c0", "verdict": "good", "reviewer": "ann", "made_at": "noon"}, "not seconds"),
        ({"clip_id": "c0", "verdict": "good", "reviewer": "ann", "caption": "{"}, "its caption is not JSON"),
        ({"clip_id": "c0", "verdict": "good", "reviewer": "ann", "caption": "[]"}, "not a JSON object"),
    ],
)
def test_a_row_that_cannot_be_taken_says_why(row: dict[str, str], why: str) -> None:
    with pytest.raises(RowError, match=why):
        list(events(PLAN.gate, places(PLAN), given("row 4", row), "", 1.0, nothing))


def test_rows_that_name_nobody_are_the_given_reviewer_s(tmp_path: Path) -> None:
    one = given("row 1", {"clip_id": "c0", "verdict": "good"})
    with again([one], tmp_path, "cem") as fresh:
        assert [event.reviewer for event in fresh.events()] == ["cem"]
