"""What the accuracy page makes of values: shares, precision, nulls, the word for a filter, and the page itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy import page, results
from benchmarks.accuracy.defect import Defect, Pictures
from benchmarks.accuracy.harness import families
from benchmarks.accuracy.results import Measured, Results, verdict
from benchmarks.accuracy.sheet import MOST_BYTES

DOCS = Path(__file__).parents[3] / "docs"


def measured(clean: list[Any], *steps: list[Any], bad: str = "high", threshold: float = 0.5) -> Measured:
    def values(row: list[Any]) -> dict[str, Any]:
        return {f"clip{number}": value for number, value in enumerate(row)}

    strengths = {f"step {number}": values(row) for number, row in enumerate(steps)}
    return Measured("family", "fault", "blur", "blur_effect", bad, threshold, "", values(clean), strengths)


def test_shares_of_what_the_threshold_sees() -> None:
    one = measured([0.1, 0.2, 0.6, None], [0.5, 0.4, 0.9, None], [0.9, 0.9, 0.9, 0.9])
    assert (one.false_alarms().hits, one.false_alarms().of) == (1, 4)
    assert [share.hits for share in one.recall().values()] == [2, 4]
    assert one.silent == (1, 1)
    assert one.precision()[0] == pytest.approx(0.75 / (0.75 + 0.25))


def test_low_values_can_be_the_bad_ones() -> None:
    one = measured([5, 6, 7], [1, 2, 3], bad="low", threshold=4)
    assert one.false_alarms().hits == 0
    assert one.recall()["step 0"].hits == 3
    assert one.auc()[0] == 1


def test_order_and_rank() -> None:
    one = measured([0.1, 0.2, 0.3], [0.25, 0.25, 0.25], [0.9, 0.9, 0.2])
    assert one.tells("step 0") == pytest.approx(6 / 9)
    assert one.tells("step 1") == pytest.approx((6 + 1.5) / 9)
    assert one.auc()[0] == pytest.approx((6 + 6 + 1.5) / 18)
    rank = one.rank()
    assert rank is not None
    assert rank[0] == pytest.approx((1 + 1 - 1) / 3)
    assert measured([1], [2]).rank() is None


@pytest.mark.parametrize(
    ("clean", "mildest", "strongest", "word"),
    [
        (0, 10, 10, "good"),
        (1, 5, 8, "good"),
        (0, 4, 10, "good, misses the mild"),
        (2, 10, 10, "*fair*"),
        (0, 0, 7, "*fair*"),
        (3, 10, 10, "**weak**"),
        (0, 0, 4, "**weak**"),
    ],
)
def test_the_word_for_a_filter(clean: int, mildest: int, strongest: int, word: str) -> None:
    rows = [[1.0] * hits + [0.0] * (10 - hits) for hits in (clean, mildest, strongest)]
    assert verdict(measured(*rows)) == word


def test_a_threshold_that_lets_through_what_the_value_tells_is_loose() -> None:
    assert verdict(measured([0.1, 0.1, 0.2], [0.3, 0.3, 0.4])) == "*loose*"


def test_results_are_kept_whole(tmp_path: Path) -> None:
    about = {"width": 64, "height": 36, "fps": 24, "frames": 72, "traits": ["still"]}
    whole = Results({"clip0": about}, (measured([None], [0.7]),), {"a: b": "no"}, ("x",), ({"recall": 0.5},))
    results.write(whole, tmp_path / "a.json")
    assert results.read(tmp_path / "a.json") == whole


def test_one_family_measured_again_leaves_the_others() -> None:
    one, other = measured([0.1], [0.7]), replace(measured([0.1], [0.8]), family="other")
    old = Results({}, (one, other), {"family: x": "was", "other: y": "stays"})
    new = Results({}, (measured([0.1], [0.9]),))
    both = results.merged(old, new, ["family"])
    assert [(o.family, o.strengths["step 0"]["clip0"]) for o in both.defects] == [
        ("family", 0.9),
        ("other", 0.8),
    ]
    assert both.skipped == {"other: y": "stays"}


def test_a_threshold_that_changed_is_judged_by_without_measuring() -> None:
    def never(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
        raise AssertionError

    now = Defect("fault", "blur", "blur_effect", "high", {"step 0": never}, 0.8, "Weak.")
    old = Results({}, (measured([0.1], [0.7]),))
    (one,) = results.refreshed(old, {"family": (now,)}).defects
    assert (one.threshold, one.note, one.recall()["step 0"].hits) == (0.8, "Weak.", 0)
    other = replace(now, strengths={"step 1": never})
    again = results.refreshed(old, {"family": (other,)})
    assert again.defects == ()
    assert again.skipped == {"family: fault": results.NOT_YET}


def test_the_page_says_where_a_filter_is_weak() -> None:
    about = {"width": 64, "height": 36, "fps": 24, "frames": 72, "traits": []}
    one = replace(measured([0.9, None], [0.9, None]), note="Sees nothing", errors=("clip1, clean: bad",))
    pairs = ({"edit": "mirrored", "recall": 0.5, "precision": None},)
    text = page.render(Results({"clip0": about}, (one,), {"a: b": "there is no stage"}, ("made",), pairs))
    assert "| mirrored | 0.50   | –         |" in text
    assert "(images/accuracy/spot-made.jpg)" in text
    assert "| [family](#family) | fault | `blur_effect` | 50 %" in text
    assert "**weak** |" in text
    assert "fault: Sees nothing. Null for 1 of 2 clean clips and 1 of 2 with the fault." in text
    assert "False alarms: clip0." in text
    assert "- a: b: there is no stage" in text


# --- the page that is kept


@pytest.fixture(scope="module")
def kept() -> Results:
    return results.read(DOCS / "accuracy.json")


def test_the_page_is_made_of_its_numbers_and_the_recipes(kept: Results) -> None:
    again = "`python -m benchmarks.accuracy.harness` writes it again"
    assert (DOCS / "accuracy.md").read_text(encoding="utf-8") == page.render(kept), again


def test_the_numbers_are_judged_by_todays_thresholds(kept: Results) -> None:
    assert results.refreshed(kept, families()) == kept


def test_every_fault_that_can_be_measured_is_on_the_page(kept: Results) -> None:
    shown = {f"{one.family}: {one.name}": list(one.strengths) for one in kept.defects}
    known = {f"{family}: {one.name}": one for family, ones in families().items() for one in ones}
    assert shown == {name: list(one.strengths) for name, one in known.items() if name not in kept.skipped}
    assert set(kept.skipped) <= set(known)


def test_every_family_has_a_small_picture(kept: Results) -> None:
    pictures = {path.stem: path.stat().st_size for path in (DOCS / "images" / "accuracy").glob("*.jpg")}
    assert set(pictures) == {*kept.families(), *(f"spot-{name}" for name in kept.spots)}
    assert max(pictures.values()) <= MOST_BYTES


def test_the_set_is_as_large_as_the_page_promises(kept: Results) -> None:
    assert len(kept.clips) >= 24
    for one in kept.defects:
        assert len(one.clean) >= 9, one.name
        assert len(one.subjects) + len(one.errors) >= 9, one.name
