"""Where a chart's marks go."""

from __future__ import annotations

import numpy as np
import pytest

from jobs.charts import WIDTH, parts, plot


def test_parts_of_a_bar_follow_one_another() -> None:
    kept, rejected, failed = parts([("kept", 3), ("rejected", 1), ("failed", 0)], 8)
    assert (kept.x, kept.width) == (0, 37.5)
    assert (rejected.x, rejected.width) == (37.5, 12.5)
    assert (failed.x, failed.width) == (50, 0)
    assert [part.width for part in parts([("kept", 0), ("rejected", 0)], 0)] == [0, 0]


def test_thresholds_stand_where_they_are() -> None:
    values = np.linspace(0, 1, 101)
    drawn = plot(values, (("256p", None, 0.2), ("360p", None, 0.2), ("540p", 0.05, None)))
    # The axis is the values' range and 3 % on both sides.
    at = [(value + 0.03) / 1.06 * WIDTH for value in (0.05, 0.2)]
    assert [limit.x for limit in drawn.limits] == [pytest.approx(x) for x in at]
    assert drawn.limits[1].pools == ("256p", "360p")
    rejected = [(limit.reject_x, limit.reject_width) for limit in drawn.limits]
    assert rejected == [pytest.approx((0, at[0])), pytest.approx((at[1], WIDTH - at[1]))]


def test_a_histogram_counts_every_value_once() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(0, 1, 1000), [1e6, -1e6, np.nan, np.inf, 1e300]])
    drawn = plot(values, ())
    assert sum(bar.count for bar in drawn.bars) == 1002
    assert (drawn.outside, drawn.not_finite) == (2, 3)
    assert len(drawn.bars) > 10
    assert all(0 <= bar.x <= WIDTH and bar.x + bar.width <= WIDTH + 1e-6 for bar in drawn.bars)


@pytest.mark.parametrize(
    ("values", "thresholds"),
    [
        ([], ()),
        ([], (("a", 1.0, None),)),
        ([0.0], ()),
        ([0.3, 0.3 + 5e-17], (("a", 0.3, 0.3),)),
        ([7.0] * 50, (("a", 100.0, None), ("b", -5.0, float("inf")))),
        ([1e-12, 2e-12], (("a", 1e9, None),)),
        ([1e99, -1e99], ()),
        ([1e12, 1e12 + 1], (("a", None, 0.0),)),
        (list(range(41)), ()),
    ],
)
def test_any_values_can_be_drawn(
    values: list[float], thresholds: tuple[tuple[str, float | None, float | None], ...]
) -> None:
    drawn = plot(np.array(values), thresholds)
    assert sum(bar.count for bar in drawn.bars) == len(values)
    assert all(0 <= limit.x <= WIDTH for limit in drawn.limits)
    assert 2 <= len(drawn.ticks) <= 11
    assert all(-1e-6 <= x <= WIDTH + 1e-6 for x, _ in drawn.ticks)
    assert [tick for _, tick in drawn.ticks] == sorted({tick for _, tick in drawn.ticks})


def test_a_threshold_far_from_the_values_is_drawn_at_the_end_and_said_to_be_off() -> None:
    drawn = plot(np.array([0.0, 1.0]), (("a", None, 50.0), ("b", -50.0, None)))
    assert [(limit.x, limit.beyond) for limit in drawn.limits] == [(0.0, True), (WIDTH, True)]
    assert [limit.reject_width for limit in drawn.limits] == [0.0, 0.0]


def test_whole_numbers_get_a_bar_each() -> None:
    drawn = plot(np.array([0.0, 0, 1, 3, 3, 3]), ())
    assert [bar.count for bar in drawn.bars] == [2, 1, 3]
    assert drawn.highest == 3
