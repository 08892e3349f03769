"""Exact bounds: the published numbers of the fixed plans, small pools, and what can never conclude."""

from __future__ import annotations

import math

import pytest

from review.exact import Size, below, chance, fails, passes, powerful, smallest, upper

SMALLEST = {
    0.005: [598, 947, 1258, 1549, 1829, 2100],
    0.01: [299, 473, 628, 773, 913, 1049],
    0.015: [199, 315, 418, 515, 608, 699],
    0.03: [99, 157, 208, 257, 303, 348],
    0.05: [59, 93, 124, 153, 181, 208],
    0.07: [42, 66, 88, 109, 129, 148],
    0.15: [19, 30, 40, 50, 59, 68],
}
"""By limit, the smallest samples that pass with 0 to 5 bad ones: Clopper-Pearson, 95 % one-sided."""


@pytest.mark.parametrize("limit", SMALLEST)
def test_the_smallest_samples_are_those_of_the_tables(limit: float) -> None:
    assert [smallest(limit, bad) for bad in range(6)] == SMALLEST[limit]


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [
        (0.15, [(59, 4), (76, 6), (150, 15)]),
        (0.03, [(303, 4), (436, 7), (846, 17)]),
        (0.01, [(913, 4), (1312, 7), (2546, 17)]),
    ],
)
def test_the_smallest_samples_with_power(limit: float, sizes: list[tuple[int, int]]) -> None:
    """For a pool at a quarter, a third and half of the limit, to pass nine times of ten."""
    for part, size in zip((4, 3, 2), sizes, strict=True):
        found = powerful(limit, limit / part, 0.9)
        assert (found.n, found.accepted) == size
        assert chance(found, limit / part) >= 0.9
        assert (
            chance(Size(found.n - 1, found.accepted), limit) > 0.05
        )  # one fewer would pass bad pools too often


def test_the_rates_of_the_paper_cannot_conclude_on_small_pools() -> None:
    """0.01 % of 100,000 is 10, of 190,000 the first 19; 0.1 % of 99,000 is 99."""
    assert not passes(0, 10, 0.15)
    assert not passes(0, 18, 0.15)
    assert passes(0, 19, 0.15)
    assert not passes(0, 98, 0.03)
    assert passes(0, 99, 0.03)
    assert max(bad for bad in range(30) if passes(bad, 100, 0.15)) == 8
    assert max(bad for bad in range(60) if passes(bad, 1000, 0.03)) == 20


def test_small_pools_take_fewer() -> None:
    assert [smallest(0.03, 0, pool) for pool in (200, 500, 1000, 5000)] == [69, 85, 91, 97]
    assert [smallest(0.15, 0, pool) for pool in (100, 1000, 10_000)] == [16, 19, 19]
    assert (
        smallest(0.03, 6, 200) == 199
    )  # the one that is left is one of seven bad ones with a chance of 3.5 %
    assert smallest(0.03, 7, 200) is None


def test_437_pass_fail_and_between() -> None:
    assert [passes(7, 437, 0.03), passes(8, 437, 0.03)] == [True, False]
    assert [fails(19, 437, 0.03), fails(20, 437, 0.03)] == [False, True]
    assert not fails(0, 10**6, 0.03)


def test_the_chances_of_a_small_pool_are_those_of_counting() -> None:
    """All 4-subsets of 9 with 3 bad ones: 15 have none, 60 have one."""
    assert below(0, 9, 3, 4) == pytest.approx(math.comb(6, 4) / math.comb(9, 4))
    assert below(1, 9, 3, 4) == pytest.approx((math.comb(6, 4) + 3 * math.comb(6, 3)) / math.comb(9, 4))
    assert below(3, 9, 3, 4) == 1.0


@pytest.mark.parametrize("pool", [1, 20, 37, 150])
def test_bounds_agree_with_the_tests_they_come_from(pool: int) -> None:
    """At the bound a pool passes, below it not; looking at all of it leaves no doubt."""
    for n in {1, pool // 2 or 1, pool}:
        for bad in {0, min(2, n), n}:
            most = upper(bad, n, pool)
            assert bad <= round(most * pool) <= pool - (n - bad)
            assert passes(bad, n, most, pool)
            assert not most or not passes(bad, n, most - 1 / pool, pool)
    assert upper(0, pool, pool) == 0
    assert upper(pool, pool, pool) == 1


def test_no_pool_at_or_above_its_limit_is_expected_to_pass() -> None:
    with pytest.raises(ValueError, match="cannot be expected to pass"):
        powerful(0.03, 0.03, 0.9)
    assert powerful(0.03, 0.029, 0.999, 30) == Size(29, 0)  # of 30 none may be bad, and then none is expected


def test_all_of_a_planted_set_caught_bounds_the_sensitivity() -> None:
    assert 1 - upper(0, 30) == pytest.approx(0.905, abs=5e-4)
    assert 1 - upper(0, 59) == pytest.approx(0.95, abs=5e-4)
