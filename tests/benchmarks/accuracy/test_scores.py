"""Statistics of the accuracy page, against values worked out by hand or published."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.accuracy.scores import Share, bootstrap, mean, monotony, order, spearman


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (8, 10, 0.4902, 0.9433), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval(hits: int, of: int, low: float, high: float) -> None:
    """The last is Newcombe's example (1998, table I)."""
    assert Share(hits, of).interval == pytest.approx((low, high), abs=2e-4)


def test_a_share_of_nothing_is_unknown() -> None:
    assert math.isnan(Share(0, 0).value)
    assert Share(0, 0).interval == (0.0, 1.0)


def test_rank_correlation_with_and_without_ties() -> None:
    assert spearman([1, 2, 3, 4], [1, 4, 9, 16]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [9, 8, 7, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 3, 4], [1, 2, 2, 4]) == pytest.approx(0.9487, abs=1e-4)
    assert math.isnan(spearman([1, 2], [3, 3]))


def test_the_order_of_bad_and_clean_is_the_area_under_the_curve() -> None:
    found = order(np.asarray([1.0, 3.0]), np.asarray([0.0, 1.0, 2.0, np.nan]))
    assert mean(found) == pytest.approx((1 + 0.5 + 0 + 3) / 6)
    assert np.isnan(found[:, 3]).all()


def test_a_clip_whose_value_never_changes_counts_as_unseen_and_one_with_a_gap_does_not_count() -> None:
    steps = np.asarray([[0.0, 5.0, 1.0], [1.0, 5.0, np.nan], [2.0, 5.0, 3.0]])
    assert monotony(steps) == pytest.approx([1, 0, np.nan], nan_ok=True)


def test_an_interval_by_resampling_holds_the_mean_and_is_the_same_twice() -> None:
    values = np.random.default_rng(0).normal(3, 1, 100)
    low, high = bootstrap((100, 7), lambda chosen, others: mean(values[chosen]))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.25)
    assert bootstrap((100, 7), lambda chosen, others: mean(values[chosen])) == (low, high)
    assert all(map(math.isnan, bootstrap((3, 3), lambda chosen, others: math.nan)))
