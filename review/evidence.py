"""Evidence that may be looked at after every verdict: e-values, valid at any look and under any stopping rule.

An e-value is what a bet against "this pool does not pass" has made of 1; while that is true it reaches 20 with a chance
of at most 1 in 20, however often one looks (Ville's inequality; Ramdas et al. 2023, Statistical Science 38(4)). The bet
is a mixture over rates on the other side of the limit. What it is divided by is the highest chance of the very same
verdicts over all ways in which the pool may fail: over every split of its bad clips among the strata, each drawn from
without putting back. So weights and small pools are in it, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from review.exact import ERROR, ROUNDING

ENOUGH = float(round(1 / ERROR))
"""An e-value that settles it."""
RATES = 40
"""Rates in the mixture. Ours."""
WORST = 4.0
"""Bets that a pool fails are on rates up to so many times the limit. Ours."""
STEPS = 60
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """What has been judged of one stratum."""

    bad: int
    n: int
    population: int


def for_pass(strata: Sequence[Seen], limit: float) -> float:
    """The e-value that at most `limit` of all are bad; ENOUGH settles it. 1 before the first verdict."""
    whole = sum(one.population for one in strata)
    rates = limit * (np.arange(RATES) + 0.5) / RATES
    return _value(strata, rates, math.floor(limit * whole + ROUNDING) + 1, 1)


def for_fail(strata: Sequence[Seen], limit: float) -> float:
    """The e-value that more than `limit` of all are bad; ENOUGH settles it. 1 before the first verdict."""
    whole = sum(one.population for one in strata)
    most = min(1.0, WORST * limit)
    rates = limit + (most - limit) * (np.arange(RATES) + 0.5) / RATES
    return _value(strata, rates, math.floor(limit * whole + ROUNDING), -1)


def _value(strata: Sequence[Seen], rates: Floats, edge: int, side: int) -> float:
    bad, n = sum(one.bad for one in strata), sum(one.n for one in strata)
    if not n:
        return 1.0
    bets = bad * np.log(rates) + (n - bad) * np.log1p(-rates)
    mixture = float(np.logaddexp.reduce(bets)) - math.log(RATES)
    return math.exp(min(700.0, mixture - _likeliest(strata, edge, side)))


def _likeliest(strata: Sequence[Seen], edge: int, side: int) -> float:
    """An upper bound of the log chance of these verdicts, the order included, over all pools that have at least `edge`
    bad ones (side 1) or at most so many (side -1): -inf where there is no such pool.

    Lagrange's dual, which is never below what is sought whatever the multiplier, and meets it at the best one.
    """
    bad = np.array([one.bad for one in strata], np.float64)
    good = np.array([one.n - one.bad for one in strata], np.float64)
    size = np.array([one.population for one in strata], np.float64)
    if (side > 0 and edge > (size - good).sum()) or (side < 0 and edge < bad.sum()):
        return -math.inf
    if len(strata) == 1:  # one kind of pool: its likeliest, or the nearest to it that there is
        likeliest = np.floor((size + 1) * bad / (bad + good))
        at = np.maximum(likeliest, edge) if side > 0 else np.minimum(likeliest, edge)
        at = np.clip(at, bad, size - good)
        alone = _log_falling(at, bad) + _log_falling(size - at, good) - _log_falling(size, bad + good)
        return float(alone[0])
    seen = _log_falling(size, bad + good).sum()

    def dual(multiplier: float) -> tuple[float, float]:
        found = _best(bad, good, size, multiplier)
        value = (_log_falling(found, bad) + _log_falling(size - found, good)).sum() + multiplier * found.sum()
        return float(value - multiplier * edge - seen), float(found.sum())

    value, total = dual(0.0)
    if side * (total - edge) >= 0:
        return value
    low, high = 0.0, float(side) * 1e-9
    while True:
        value, total = dual(high)
        if side * (total - edge) >= 0 or abs(high) > 1e3:
            break
        low, high = high, high * 4
    best = value
    for _ in range(STEPS):
        middle = (low + high) / 2
        value, total = dual(middle)
        best = min(best, value)
        if side * (total - edge) >= 0:
            high = middle
        else:
            low = middle
        if abs(high - low) <= 1e-4 * abs(high):
            break
    return best


def _log_falling(n: Floats, k: Floats) -> Floats:
    """log of n (n-1) ... (n-k+1)."""
    return _log_factorial(n) - _log_factorial(n - k)


def _log_factorial(n: Floats) -> Floats:
    return np.array([math.lgamma(value + 1) for value in n.tolist()], np.float64)


def _best(bad: Floats, good: Floats, size: Floats, multiplier: float) -> Floats:
    """By stratum, the number of bad ones that makes log chance + multiplier x number largest: it is concave, so where
    one more stops to gain."""
    low, high = bad.copy(), size - good
    while np.any(low < high):
        middle = np.floor((low + high) / 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = -np.log1p(-bad / (middle + 1)) + np.log1p(-good / (size - middle)) + multiplier
        more = (gain > 0) & (low < high)
        high = np.where(more | (low >= high), high, middle)
        low = np.where(more, middle + 1, low)
    return low
