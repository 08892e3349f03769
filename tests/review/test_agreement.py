"""Agreement of two readers: known values, and intervals that hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from review.agreement import agreement


def pairs(both_bad: int, one: int, other: int, both_good: int) -> list[tuple[bool, bool]]:
    return (
        [(True, True)] * both_bad
        + [(True, False)] * one
        + [(False, True)] * other
        + [(False, False)] * both_good
    )


def test_rare_bad_ones_make_kappa_low_and_leave_ac1_high() -> None:
    """Two readers, 3 % bad, who agree on 95.7 % of 1,000 items."""
    found = agreement(pairs(24, 22, 21, 933))
    assert (found.pairs, found.both_bad, found.both_good, found.differ) == (1000, 24, 933, 43)
    assert found.positive is not None
    assert found.ac1 is not None
    assert found.kappa is not None
    assert found.positive.value == pytest.approx(48 / 91)
    assert found.ac1.value == pytest.approx(0.953, abs=1e-3)
    assert found.kappa.value == pytest.approx(0.505, abs=1e-3)
    assert found.ac1.low < found.ac1.value < found.ac1.high < 0.97


def test_a_worked_table() -> None:
    """Cohen's 1960 form of 20, 5, 10, 15 in 50: observed 0.7, by chance 0.5, kappa 0.4; AC1's chance is 0.495."""
    found = agreement(pairs(20, 5, 10, 15))
    assert found.kappa is not None
    assert found.ac1 is not None
    assert found.kappa.value == pytest.approx(0.4)
    assert found.ac1.value == pytest.approx((0.7 - 0.495) / 0.505)


def test_what_the_pairs_cannot_tell_is_none() -> None:
    assert agreement([]).pairs == 0
    assert agreement([]).ac1 is None
    found = agreement(pairs(0, 0, 0, 30))
    assert found.positive is None  # nobody said bad
    assert found.kappa is None
    assert found.ac1 is not None
    assert found.ac1.value == 1
    assert found.ac1.low < 0.97  # thirty pairs are no proof


def test_all_agreed_bad_is_exact() -> None:
    found = agreement(pairs(10, 0, 0, 0))
    assert found.positive is not None
    assert (found.positive.value, found.positive.high) == (1, 1)
    least = 0.025 ** (1 / 10)  # Clopper-Pearson of 10 of 10, two-sided
    assert found.positive.low == pytest.approx(2 * least / (1 + least), abs=1e-6)


def test_it_does_not_matter_who_is_first_but_for_nobody() -> None:
    one, other = agreement(pairs(9, 4, 1, 60)), agreement(pairs(9, 1, 4, 60))
    assert one.positive == other.positive
    assert one.ac1 is not None
    assert other.ac1 is not None
    assert one.ac1.value == other.ac1.value


def test_equal_pairs_give_equal_intervals() -> None:
    assert agreement(pairs(3, 1, 2, 50)) == agreement(pairs(3, 1, 2, 50))


@pytest.mark.slow
def test_the_intervals_hold_the_truth() -> None:
    """60 pairs, 10 % bad, readers right in 90 % of the bad and 97 % of the good: at least 93 % of 300 intervals do."""
    dice = np.random.default_rng(11)
    bad, sensitivity, specificity = 0.1, 0.9, 0.97
    a = bad * sensitivity**2 + (1 - bad) * (1 - specificity) ** 2
    d = bad * (1 - sensitivity) ** 2 + (1 - bad) * specificity**2
    share = a + (1 - a - d) / 2
    truth = (2 * a / (1 + a - d), (a + d - 2 * share * (1 - share)) / (1 - 2 * share * (1 - share)))
    held = np.zeros(2)
    for _ in range(300):
        is_bad = dice.random(60) < bad
        first, second = (
            np.where(is_bad, dice.random(60) < sensitivity, dice.random(60) > specificity) for _ in range(2)
        )
        found = agreement(list(zip(first.tolist(), second.tolist(), strict=True)))
        for place, estimate in enumerate((found.positive, found.ac1)):
            held[place] += estimate is None or estimate.low <= truth[place] <= estimate.high
    assert (held / 300 >= 0.93).all()
