"""Labels out and in again: nothing lost, no formula, no planted item, the same file twice changes nothing."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from review import exchange
from review.exchange import (
    Given,
    RowError,
    Sight,
    events,
    from_label_studio,
    given,
    interface,
    local_file,
    places,
    rows,
    safe,
    unsafe,
)
from review.plan import Item, Plan, Plant, Stratum
from review.reasons import GATES, REASONS
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
NOW = 100.0
SIGHTS = {f"i{number}": Sight("films/a.mp4", 1.5, 4.0, {"lighting": "Soft."}) for number in range(3)}


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
        made.append(Event("o", "i1", "=bob", "note", 23.0, fields={"note": "cannot tell: audio needed"}))
        made.append(Event("q", "i0", "cem", "note", 24.0, fields={"note": "ask ann"}))
        made.append(Event("r", "i2", "cem", "edit", 25.0, fields={"caption": CAPTION}))
        yield made


def test_rows_are_what_people_say_of_what_was_not_planted(store: ReviewStore) -> None:
    found = list(rows(PLAN, store.states()))
    assert [(row.clip_id, row.verdict, row.reason, row.reviewer) for row in found] == [
        ("c0", "bad", "logo;text", "ann"),
        ("c0", "good", "", "=bob"),
        ("c0", "", "", "cem"),
        ("c1", "good", "", "ann"),
        ("c1", "skip", "", "=bob"),
        ("c2", "bad", "other", "ann"),
        ("c2", "", "", "cem"),
    ]
    assert [row.inclusion for row in found] == [0.1, 0.1, 0.1, 0.1, 0.1, 0.25, 0.25]
    assert found[0].seconds == 7.5
    assert [row.caption is not None for row in found] == [False, False, False, True, False, False, True]
    assert [(row.note, row.made_at) for row in found if row.verdict in ("skip", "")] == [
        ("ask ann", None),
        ("cannot tell: audio needed", 20.0),
        ("", 25.0),
    ]


def test_a_skip_that_says_no_more_is_no_row(store: ReviewStore) -> None:
    store.append(Event("s", "i2", "dan", "verdict", 30.0, verdict="skip"))
    assert "dan" not in {row.reviewer for row in rows(PLAN, store.states())}


def test_what_was_picked_was_drawn_with_no_chance(store: ReviewStore) -> None:
    picked = replace(PLAN, strata=())
    found = list(rows(picked, store.states()))
    assert {(row.inclusion, row.side) for row in found} == {(None, "picked")}
    assert exchange.to_table(found).column("inclusion").null_count == len(found)
    tasks = json.loads(exchange.to_label_studio(picked, store.states(), SIGHTS))
    assert {task["data"]["inclusion"] for task in tasks} == {None}


def test_an_id_is_of_what_was_said_and_of_what_was_said_before() -> None:
    one = given("row 1", {"clip_id": "c0", "verdict": "good", "reviewer": "ann"})

    def name(seq: int) -> str:
        (event,) = events(PLAN.gate, places(PLAN), one, "", NOW, lambda item, who: seq)
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
            for event in events(PLAN.gate, places(PLAN), one, reviewer, NOW, nothing):
                fresh.append(event)
    return fresh


def stands(store: ReviewStore) -> list[Any]:
    """What stands of the items that were not planted, times apart."""
    found = []
    for item, state in zip(PLAN.items, store.states(), strict=True):
        if item.planted is None:
            readings = {(r.reviewer, r.verdict, r.reasons) for r in state.readings}
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
        data = exchange.to_label_studio(PLAN, store.states(), SIGHTS)
        found = [one for one in from_label_studio("here", data) if isinstance(one, Given)]
    with again(found, tmp_path) as fresh:
        assert stands(fresh) == stands(store)


def test_label_studio_gets_every_item_but_the_planted(store: ReviewStore) -> None:
    tasks = json.loads(exchange.to_label_studio(PLAN, store.states(), SIGHTS))
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
    assert [
        (one.reviewer, one.account, one.verdict, one.clip_id) for one in found if isinstance(one, Given)
    ] == [
        ("ann@example.org", "1", "bad", "c0"),
        ("", "3", "bad", "c0"),
    ]
    for broken in (b"{", b"{}", b"[" * 100_000):
        with pytest.raises(RowError, match="it is not Label Studio's JSON"):
            list(from_label_studio("here", broken))
    mixed = [1, {"annotations": [{"result": [{}]}], "data": {}}, *tasks]
    told = list(from_label_studio("here", json.dumps(mixed).encode()))
    assert [str(one).partition(":")[0] for one in told if isinstance(one, RowError)] == [
        "here, task 1",
        "here, task 2",
    ]
    assert sum(isinstance(one, Given) for one in told) == 2


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("films", [False, True])
def test_the_interface_of_label_studio_fits_its_tasks(store: ReviewStore, gate: Any, films: bool) -> None:
    plan = replace(PLAN, gate=gate)
    video = local_file("my previews", "i0.mp4") if films else None
    sights = {name: replace(sight, video=video) for name, sight in SIGHTS.items()}
    tasks = json.loads(exchange.to_label_studio(plan, store.states(), sights))
    view = ElementTree.fromstring(interface(gate, films))
    names = [part.attrib["name"] for part in view.iter() if "name" in part.attrib]
    assert len(set(names)) == len(names)
    controls = {part.attrib["name"]: part for part in view.iter() if "toName" in part.attrib}
    variables = {value[1:] for part in view.iter() for value in part.attrib.values() if value.startswith("$")}
    assert ("video" in variables) is films
    for task in tasks:
        assert variables <= set(task["data"])
        assert '"Soft."' in task["data"]["caption"]
        assert task["data"]["span"] == "1.50 s to 4.00 s of films/a.mp4"
        for annotation in task["annotations"]:
            for result in annotation["result"]:
                control = controls[result["from_name"]]
                assert control.tag.lower() == result["type"]
                assert result["to_name"] == control.attrib["toName"] == "clip"
    assert "clip" in names
    words = {one.attrib["alias"]: one.attrib["value"] for one in controls["reason"].iter("Choice")}
    assert words == REASONS[gate]
    assert [one.attrib["value"] for one in controls["verdict"].iter("Choice")] == ["good", "bad", "skip"]
    if films:
        assert tasks[0]["data"]["video"] == "/data/local-files/?d=my%20previews/i0.mp4"


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"clip_id": "c0", "verdict": "bad"}, "it names no reviewer"),
        ({"clip_id": "c0", "verdict": "maybe", "reviewer": "ann"}, "not good, bad or skip"),
        ({"clip_id": "c9", "verdict": "bad", "reviewer": "ann"}, "no item of clip 'c9'"),
        ({"clip_id": "c3", "verdict": "bad", "reviewer": "ann"}, "no item of clip 'c3'"),  # it was planted
        ({"item_id": "p0", "verdict": "bad", "reviewer": "ann"}, "no item of clip 'p0'"),
        ({"clip_id": "c0", "verdict": "bad", "reviewer": "ann", "reason": "x"}, "'x' is no reason"),
        ({"clip_id": "c0", "verdict": "", "reviewer": "ann"}, "not good, bad or skip"),
        ({"clip_id": "c0", "verdict": "good", "reviewer": "ann", "made_at": "noon"}, "'noon', no time"),
        ({"clip_id": "c0", "verdict": "good", "reviewer": "ann", "made_at": "nan"}, "row 4: made_at is nan"),
        ({"clip_id": "c0", "verdict": "good", "reviewer": "ann", "made_at": "inf"}, "made_at is inf"),
        (
            {"clip_id": "c0", "verdict": "good", "reviewer": "ann", "made_at": "-1"},
            "-1, no .* leave it empty",
        ),
        (
            {"clip_id": "c0", "verdict": "good", "reviewer": "ann", "made_at": "401"},
            "401, no time in seconds",
        ),
        ({"clip_id": "c0", "verdict": "good", "reviewer": "ann", "made_at": 10**400}, "made_at is 1000"),
        ({"clip_id": "c0", "verdict": "good", "reviewer": "ann", "caption": "{"}, "its caption is not JSON"),
        ({"clip_id": "c0", "verdict": "good", "reviewer": "ann", "caption": "[]"}, "not a JSON object"),
    ],
)
def test_a_row_that_cannot_be_taken_says_why(row: dict[str, Any], why: str) -> None:
    with pytest.raises(RowError, match=why):
        list(events(PLAN.gate, places(PLAN), given("row 4", row), "", NOW, nothing))


def test_a_clock_that_is_a_little_ahead_is_borne_with() -> None:
    row = {"clip_id": "c0", "verdict": "good", "reviewer": "ann", "made_at": NOW + 299}
    (event,) = events(PLAN.gate, places(PLAN), given("row 4", row), "", NOW, nothing)
    assert event.made_at == NOW + 299


def test_rows_that_name_nobody_are_the_given_reviewer_s(tmp_path: Path) -> None:
    one = given("row 1", {"clip_id": "c0", "verdict": "good"})
    with again([one], tmp_path, "cem") as fresh:
        assert [event.reviewer for event in fresh.events()] == ["cem"]
