"""Thresholds out of labels: exact bounds, and a suggestion that is over the limit in at most one trial of twenty."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.tuning import Tuned, beta_cdf, bound, fewest_labels, tune, weighted_share

LIMIT = 0.03


@pytest.mark.parametrize(
    ("limit", "fewest"),
    [
        (0.005, [598, 947, 1258, 1549, 1829, 2100]),
        (0.03, [99, 157, 208, 257, 303, 348]),
        (0.15, [19, 30, 40, 50, 59, 68]),
    ],
)
def test_sample_sizes_are_those_of_exact_binomial_plans(limit: float, fewest: list[int]) -> None:
    assert [fewest_labels(limit, bad) for bad in range(6)] == fewest


def binomial_tail(n: int, k: int, p: float) -> float:
    """The chance of at most k of n, summed term by term."""
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize(("n", "k"), [(1, 0), (10, 5), (59, 0), (200, 13), (400, 399)])
def test_at_the_bound_so_few_bad_ones_have_a_chance_of_one_in_twenty(n: int, k: int) -> None:
    assert binomial_tail(n, k, bound(k / n, n)) == pytest.approx(0.05, abs=1e-5)


def test_the_bound_of_all_bad_is_one_and_of_very_many_is_close() -> None:
    assert bound(1.0, 50) == 1.0
    assert bound(0.03, 1e7) == pytest.approx(0.03, rel=0.005)
    assert bound(0.0, 0.5) > 0.99


@pytest.mark.parametrize(
    ("a", "b", "x"), [(1.0, 1.0, 0.3), (2.0, 1.0, 0.3), (1.0, 5.0, 0.9), (0.5, 0.5, 0.25)]
)
def test_the_incomplete_beta_function_where_it_has_a_short_form(a: float, b: float, x: float) -> None:
    short = {
        (1.0, 1.0): x,
        (2.0, 1.0): x * x,
        (1.0, 5.0): 1 - (1 - x) ** 5,
        (0.5, 0.5): 2 / math.pi * math.asin(math.sqrt(x)),
    }
    assert beta_cdf(x, a, b) == pytest.approx(short[a, b], rel=1e-10)
    assert (beta_cdf(0.0, a, b), beta_cdf(1.0, a, b)) == (0.0, 1.0)


def test_weights_that_differ_say_less_and_equal_ones_say_what_they_count() -> None:
    bad = np.arange(100) < 10
    assert weighted_share(bad, np.full(100, 7.0)) == pytest.approx((0.1, 100))
    share, labels = weighted_share(bad, np.where(np.arange(100) % 2, 1.0, 9.0)) or (0, 0)
    assert share == pytest.approx(0.1)
    assert labels < 65
    assert weighted_share(bad[:0], np.ones(0)) is None


def rising(values: np.ndarray, floor: float, knee: float, top: float) -> np.ndarray:
    """The chance of being bad: `floor`, rising from `knee` on by `top`."""
    return floor + top * np.clip(values - knee, 0, None) / (1 - knee)


def suggested(seed: int, labels: int, shape: tuple[float, float, float], weighted: bool) -> Tuned:
    """What one sample of labels of clips whose values are uniform makes of it."""
    dice = np.random.default_rng(seed)
    values = dice.random(4 * labels if weighted else labels)
    bad = dice.random(values.size) < rising(values, *shape)
    weights = np.ones(values.size)
    if weighted:  # more near the threshold, fewer elsewhere, as a review is drawn
        inclusion = np.where(values > 0.6, 0.5, 0.12)
        drawn = dice.random(values.size) < inclusion
        values, bad, weights = values[drawn], bad[drawn], 1 / inclusion[drawn]
    return tune(values, bad, weights, "max", 0.9, LIMIT)


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(0.005, 0.55, 0.35), (0.0, 0.7, 0.5), (0.03, 0.9, 0.1)])
def test_a_suggestion_is_over_the_limit_in_at_most_one_trial_of_twenty(
    shape: tuple[float, float, float], weighted: bool
) -> None:
    trials, over, kept = 60, 0, []
    for seed in range(trials):
        chosen = suggested(seed, 500, shape, weighted).chosen
        if chosen is not None:
            kept.append(chosen.kept_share)
            grid = np.linspace(0, chosen.threshold, 2001)
            over += float(rising(grid, *shape).mean()) > LIMIT
    assert over <= 0.05 * trials + 2 * math.sqrt(trials * 0.05 * 0.95)  # and twice the error of the count
    if shape[0] == 0.0:
        assert np.mean(kept) > 0.7  # it is not safe by suggesting little: 0.82 could be kept
        assert len(kept) > 0.9 * trials


def test_a_floor_is_tuned_as_a_ceiling_is() -> None:
    up = suggested(1, 800, (0.0, 0.7, 0.5), False)
    dice = np.random.default_rng(1)
    values = dice.random(800)
    bad = dice.random(800) < rising(values, 0.0, 0.7, 0.5)
    down = tune(-values, bad, np.ones(800), "min", -0.9, LIMIT)
    assert up.chosen is not None
    assert down.chosen is not None
    assert down.chosen.threshold == -up.chosen.threshold
    assert down.chosen.labels == up.chosen.labels


def test_too_few_labels_suggest_nothing_and_say_how_many_it_takes() -> None:
    nothing = tune(np.arange(98.0), np.zeros(98, bool), np.ones(98), "max", 5.0, LIMIT)
    assert nothing.chosen is None
    assert nothing.why == "98 labelled clips pass the other rules; even without a bad one it takes 99"
    enough = tune(np.arange(99.0), np.zeros(99, bool), np.ones(99), "max", 5.0, LIMIT)
    assert enough.chosen is not None
    assert enough.chosen.threshold == 98
    assert (enough.chosen.precision, enough.chosen.recall) == (None, None)


def test_no_labels_at_all() -> None:
    none = tune(np.zeros(0), np.zeros(0, bool), np.zeros(0), "max", 0.5, LIMIT)
    assert (none.points, none.chosen, none.now.bad_share, none.now.kept_share) == ((), None, None, 0.0)


def test_a_null_is_kept_by_no_threshold() -> None:
    values = np.where(np.arange(400) % 2, np.nan, 0.25)
    found = tune(values, np.zeros(400, bool), np.ones(400), "max", 0.5, LIMIT)
    assert found.now.labels == 200
    assert found.now.kept_share == 0.5
    assert [point.threshold for point in found.points] == [0.25]


def test_thresholds_have_few_digits_and_keep_the_value_that_they_stand_for() -> None:
    values = np.random.default_rng(0).random(500) * 1e-3
    for operator in ("min", "max"):
        for point in tune(values, np.zeros(500, bool), np.ones(500), operator, 0.0, LIMIT).points:
            assert (
                len(f"{point.threshold:.10g}".replace("-", "").split("e")[0].replace(".", "").lstrip("0"))
                <= 3
            )
    loosest = tune(values, np.zeros(500, bool), np.ones(500), "max", 0.0, LIMIT).points[-1]
    assert loosest.labels == 500
