"""A file's judgements into a review: a row whole or not at all, what was said last stands, twice is once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.config import ConfigError
from jobs.labels import read
from jobs.review import Review
from jobs.review_labels import Imported, read_labels, write_labels
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
    return read_labels(review, file, "ann", 9.0)


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
        assert write_labels(review, file) == 1
        assert read_labels(review, file, "", 9.0).known == 1
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
