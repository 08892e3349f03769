"""Exact one-sided tests of a share of bad ones, and the smallest samples that can settle it.

Large pools are binomial (Clopper and Pearson 1934); in a small one, what is drawn is not put back, so that it is
hypergeometric and fewer are enough. A pool passes when every rate above the limit would show so few bad ones with a
chance of at most 5 %; it fails when every rate up to the limit would show so many with a chance of at most 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.tuning import CONFIDENCE, beta_cdf, bound, fewest_labels, within

ERROR = 1 - CONFIDENCE
ROUNDING = 1e-9
"""Slack of a share times a count, which is a whole number but for rounding."""


@dataclass(frozen=True)
class Size:
    """A sample that settles it, and how many bad ones it may have."""

    n: int
    accepted: int
    """Passes with so many bad ones, and fails to pass with one more."""


def passes(bad: float, n: float, limit: float, population: int | None = None) -> bool:
    """Whether so many bad ones among `n` prove, with 95 % confidence, that at most `limit` of all are bad.

    `bad` and `n` may be fractions, as effective numbers are, where no `population` is given.
    """
    if population is None:
        return within(bad, n, limit)
    over = _over(limit, population)
    return over > population or below(round(bad), population, over, round(n)) <= ERROR


def fails(bad: float, n: float, limit: float, population: int | None = None) -> bool:
    """Whether so many bad ones among `n` prove, with 95 % confidence, that more than `limit` of all are bad."""
    if bad <= 0:
        return False
    if population is None:
        return beta_cdf(limit, bad, n - bad + 1) <= ERROR
    return 1 - below(round(bad) - 1, population, _over(limit, population) - 1, round(n)) <= ERROR


def upper(bad: float, n: float, population: int | None = None) -> float:
    """The share is at most this, with 95 % confidence; 1 of nothing."""
    if not n:
        return 1.0
    if population is None:
        return bound(bad / n, n)
    low, high = (
        round(bad),
        population - round(n - bad),
    )  # the most bad ones that such a sample does not rule out
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if below(round(bad), population, middle, round(n)) > ERROR else (low, middle - 1)
        )
    return low / population


def _over(limit: float, population: int) -> int:
    """The fewest bad ones in the population that are over the limit."""
    return math.floor(limit * population + ROUNDING) + 1


def below(bad: int, population: int, of_them: int, n: int) -> float:
    """The chance of at most `bad` bad ones among `n` drawn from a population with `of_them` bad ones."""
    least, most = max(0, n - (population - of_them)), min(n, of_them)
    if bad >= most:
        return 1.0
    whole = _choices(population, n)
    chances = (
        math.exp(_choices(of_them, k) + _choices(population - of_them, n - k) - whole)
        for k in range(least, bad + 1)
    )
    return min(1.0, math.fsum(chances))


def _choices(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def smallest(limit: float, accepted: int, population: int | None = None) -> int | None:
    """The fewest that can pass the limit with so many bad ones among them; None when not even all of them can."""
    if population is None:
        return fewest_labels(limit, accepted)
    if not passes(accepted, population, limit, population):
        return None
    low, high = accepted, population
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(accepted, middle, limit, population) else (middle, high)
    return high


def powerful(limit: float, expected: float, power: float, population: int | None = None) -> Size:
    """The smallest sample that passes a pool whose rate is `expected` with a chance of at least `power`.

    ValueError: `expected` is not below the limit.
    """
    if not 0 <= expected < limit:
        raise ValueError(
            f"a pool of which {expected:g} is bad cannot be expected to pass a limit of {limit:g}"
        )
    if (
        population is not None
    ):  # of a tiny pool, the next whole number of bad ones may be over the limit: none, then
        expected = min(expected, math.floor(limit * population + ROUNDING) / population)
    # There is one: of a small pool at the latest all, where what is found is what there is.
    return next(size for size in _sizes(limit, population) if chance(size, expected, population) >= power)


def _sizes(limit: float, population: int | None) -> Iterator[Size]:
    """For 0, 1, 2 ... bad ones, the smallest sample that passes with them."""
    accepted = 0
    while (n := smallest(limit, accepted, population)) is not None:
        yield Size(n, accepted)
        accepted += 1


def chance(size: Size, rate: float, population: int | None = None) -> float:
    """The chance that a pool with this rate of bad ones passes; of a small one, with the next whole number of them."""
    if population is not None:
        return below(size.accepted, population, math.ceil(rate * population - ROUNDING), size.n)
    return 1 - beta_cdf(rate, size.accepted + 1, size.n - size.accepted)
