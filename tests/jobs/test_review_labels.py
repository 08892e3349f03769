"""A file's judgements into a review: a row whole or not at all, what was said last stands, twice is once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.config import ConfigError
from jobs.labels import read
from jobs.review import Review
from jobs.review_labels import Imported, names_of, read_labels, write_labels
from review.plan import Item, Plan, PlanError, Stratum
from review.store import Event

CAPTION = {
    "subjects": [],
    "shot_type": "long_shot",
    "shot_angle": "",
    "shot_position": "",
    "camera_motion": "",
    "environment": "A street.",
    "lighting": "",
}
SAMPLE = (Stratum("all", 40, 2),)


@pytest.fixture
def review(tmp_path: Path) -> Review:
    return frozen(tmp_path / "pretrain-540p", SAMPLE)


def frozen(folder: Path, strata: tuple[Stratum, ...]) -> Review:
    items = tuple(Item(f"i{number}", f"c{number}", "all", 0.1) for number in range(2))
    plan = Plan("pretrain", "540p", 0.15, 0.95, 0.9, 0.05, 2, 0, {}, strata, items)
    folder.mkdir()
    (folder / "plan.json").write_bytes(plan.to_json())
    return Review(folder, plan)


def take(review: Review, tmp_path: Path, *rows: dict[str, Any]) -> Imported:
    file = tmp_path / "labels.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_labels(review, file, names_of(["ann"]), 9.0)


def test_a_row_that_is_refused_leaves_nothing(review: Review, tmp_path: Path) -> None:
    wrong = json.dumps(CAPTION | {"shot_type": "sideways"})
    found = take(
        review,
        tmp_path,
        {"clip_id": "c0", "verdict": "bad", "reason": "logo", "note": "top", "caption": wrong},
        {"clip_id": "c1", "verdict": "good", "note": "x" * (1 << 21)},
    )
    assert (found.taken, found.known, len(found.refused)) == (0, 0, 2)
    assert "line 1: its caption does not fit: shot_type" in found.refused[0]
    assert "line 2: a note or caption has at most" in found.refused[1]
    with review.open() as store:
        assert store.events() == ()


def test_what_a_file_says_last_stands_and_said_twice_is_known(review: Review, tmp_path: Path) -> None:
    for verdict in ("good", "bad", "good"):
        row = {"clip_id": "c0", "verdict": verdict, "reason": "logo", "caption": json.dumps(CAPTION)}
        assert take(review, tmp_path, row).taken == 1
        assert take(review, tmp_path, row).known == 1
        with review.open() as store:
            assert [one.verdict for one in store.item_state("i0").readings] == [verdict]
    with review.open() as store:
        for name in "uvw":
            store.undo("ann", name, 10.0)
        assert store.item_state("i0").readings == ()
    assert take(review, tmp_path, {"clip_id": "c0", "verdict": "good"}).taken == 1
    with review.open() as store:
        assert [one.verdict for one in store.item_state("i0").readings] == ["good"]


def test_a_correction_that_another_has_followed_is_not_said_again(review: Review, tmp_path: Path) -> None:
    row = {"clip_id": "c0", "verdict": "good", "caption": json.dumps(CAPTION)}
    assert take(review, tmp_path, row).taken == 1
    with review.open() as store:
        later = {"caption": CAPTION | {"lighting": "Dim."}}
        store.append(Event("e", "i0", "ben", "edit", 20.0, fields=later))
    assert take(review, tmp_path, row).known == 1
    with review.open() as store:
        assert store.item_state("i0").editor == "ben"


def test_labels_of_picked_clips_are_no_sample_to_tune_by(tmp_path: Path) -> None:
    review = frozen(tmp_path / "picked-x", strata=())
    assert take(review, tmp_path, {"clip_id": "c0", "verdict": "bad", "reason": "logo"}).taken == 1
    for suffix in (".csv", ".jsonl", ".parquet"):
        file = tmp_path / f"out{suffix}"
        assert str(write_labels(review, file)) == "1 verdicts"
        assert read_labels(review, file, names_of([]), 9.0).known == 1
        with pytest.raises(ConfigError, match="picked, not drawn"):
            read(file)


def test_a_review_that_was_set_aside_meanwhile_takes_nothing(review: Review, tmp_path: Path) -> None:
    review.folder.rename(tmp_path / "pretrain-540p~1")
    with pytest.raises(PlanError, match="was set aside just now"):
        review.open()
    assert not review.folder.exists()
    frozen(review.folder, (Stratum("all", 41, 2),))
    with pytest.raises(PlanError, match="was set aside just now"):
        review.open()
    assert not review.verdicts.exists()


@pytest.mark.parametrize(
    ("name", "lines", "why"),
    [
        (
            "l.csv",
            ["clip_id,verdict", "c0,good", "c0,bad,logo,more", 'c0,"bad"x', "c0,\udcff", "c1,good"],
            ["line 3: it has more fields", "line 4: it is not CSV", "line 5: it is not CSV in UTF-8"],
        ),
        (
            "l.jsonl",
            [
                '{"clip_id": "c0", "verdict": "good"}',
                "{",
                "[]",
                '{"clip_id": "\udcff"}',
                '{"clip_id": "c1", "verdict": "good"}',
            ],
            ["line 2: it is not JSON", "line 3: it is not a JSON object", "line 4: it is not UTF-8"],
        ),
        (
            "l.json",
            [
                '[{"data": {"clip_id": "c0"}, "annotations": [RESULT]},',
                '{"data": {"clip_id": "c0"}, "annotations": [{}]},',
                '{"data": {"clip_id": "c1"}, "annotations": [RESULT]}]',
            ],
            ["task 2: it is no annotation"],
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_and_the_others_are_taken(
    review: Review, tmp_path: Path, name: str, lines: list[str], why: list[str]
) -> None:
    result = '{"result": [{"from_name": "verdict", "value": {"choices": ["good"]}}]}'
    text = "".join(line.replace("RESULT", result) + "\n" for line in lines)
    file = tmp_path / name
    file.write_bytes(text.encode(errors="surrogateescape"))
    found = read_labels(review, file, names_of(["ann"]), 9.0)
    assert (found.taken, len(found.refused)) == (2, len(why))
    for sentence, words in zip(found.refused, why, strict=True):
        assert sentence.startswith(f"{file}, {words}")


def tasks_of(tmp_path: Path, *accounts: Any) -> Path:
    """A file of Label Studio in which each account calls the next clip good."""
    result = [{"from_name": "verdict", "value": {"choices": ["good"]}}]
    tasks = [
        {"data": {"clip_id": f"c{place}"}, "annotations": [{"completed_by": account, "result": result}]}
        for place, account in enumerate(accounts)
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    return tmp_path / "tasks.json"


def readers(review: Review) -> list[str]:
    return [state.readings[0].reviewer for state in review.states()[0] if state.readings]


def test_an_account_s_number_names_nobody_where_somebody_is_named(review: Review, tmp_path: Path) -> None:
    file = tasks_of(tmp_path, 1, {"id": 1, "email": "bob@x"})
    assert read_labels(review, file, names_of(["zoe"]), 9.0).taken == 2
    assert readers(review) == ["zoe", "bob@x"]


def test_several_accounts_are_not_one_person(review: Review, tmp_path: Path) -> None:
    file = tasks_of(tmp_path, 12, 3)
    with pytest.raises(ConfigError, match=r"2 accounts .* 'zoe' is one person: .* 3=NAME --reviewer 12=NAME"):
        read_labels(review, file, names_of(["zoe"]), 9.0)
    found = read_labels(review, file, names_of(["3=ann"]), 9.0)
    assert found.refused == (f"{file}, task 1: nobody was named for account 12: --reviewer 12=NAME",)
    assert read_labels(review, file, names_of(["3=ann", "12=ben"]), 9.0).taken == 1
    assert readers(review) == ["ben", "ann"]


def test_one_name_may_be_left_for_the_account_that_is_not_mapped(review: Review, tmp_path: Path) -> None:
    assert read_labels(review, tasks_of(tmp_path, 1, 2), names_of(["zoe", "2=ann"]), 9.0).taken == 2
    assert readers(review) == ["zoe", "ann"]


def test_without_names_an_account_is_its_number(review: Review, tmp_path: Path) -> None:
    assert read_labels(review, tasks_of(tmp_path, 1, 2), names_of([]), 9.0).taken == 2
    assert readers(review) == ["1", "2"]


@pytest.mark.parametrize("said", [("ann", "ben"), ("1=ann", "1=ben")])
def test_two_names_for_the_same_are_refused(said: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="--reviewer: one NAME for all"):
        names_of(said)


def test_notes_and_corrections_without_a_verdict_are_rows_and_no_labels(
    review: Review, tmp_path: Path
) -> None:
    with review.open() as store:
        store.append(Event("a", "i0", "ann", "note", 5.0, fields={"note": "cannot tell: audio needed"}))
        store.append(Event("b", "i0", "ann", "verdict", 5.0, verdict="skip"))
        store.append(Event("c", "i1", "ben", "edit", 6.0, fields={"caption": CAPTION}))
        store.append(Event("d", "i1", "ann", "verdict", 7.0, verdict="good"))
    before = review.states()[0]
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    for suffix in (".csv", ".jsonl", ".parquet"):
        file = tmp_path / f"out{suffix}"
        assert str(write_labels(review, file)) == "1 verdicts and 2 notes or corrections without one"
        assert list(read(file)) == ["c1"]
        other = frozen(fresh / suffix[1:], SAMPLE)
        assert read_labels(other, file, names_of([]), 9.0) == Imported(3, 0, ())
        assert read_labels(other, file, names_of([]), 9.0) == Imported(0, 3, ())
        for old, new in zip(before, other.states()[0], strict=True):
            assert (old.notes, old.edit, old.editor, old.edited_at) == (
                new.notes,
                new.edit,
                new.editor,
                new.edited_at,
            )
            assert [(one.reviewer, one.verdict) for one in old.readings] == [
                (one.reviewer, one.verdict) for one in new.readings
            ]


def test_another_reason_is_taken_with_a_note_alone(review: Review, tmp_path: Path) -> None:
    row = {"clip_id": "c0", "verdict": "bad", "reason": "logo;other"}
    found = take(review, tmp_path, row)
    assert found.refused[0].endswith("line 1: the reason 'other' needs a note that says what is wrong")
    assert take(review, tmp_path, row | {"note": "a hair on the lens"}).taken == 1
    assert take(review, tmp_path, row).known == 1
    assert take(review, tmp_path, row | {"reason": "other"}).taken == 1  # its note stands


def test_a_time_that_is_none_is_refused_with_its_line(review: Review, tmp_path: Path) -> None:
    file = tmp_path / "l.csv"
    file.write_text("clip_id,verdict,reviewer,made_at\nc0,good,ann,nan\nc0,good,ann,inf\nc1,good,ann,8\n")
    found = read_labels(review, file, names_of([]), 9.0)
    assert (found.taken, found.known) == (1, 0)
    assert [sentence.partition(f"{file}, ")[2].partition(",")[0] for sentence in found.refused] == [
        "line 2: made_at is nan",
        "line 3: made_at is inf",
    ]
    assert all("leave it empty for the time of the import" in sentence for sentence in found.refused)
