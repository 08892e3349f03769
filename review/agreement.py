"""How far two readers of the same items agree, chance apart: positive agreement and AC1, with kappa as an extra.

Only items that were given to two people whatever the first one said are asked: those that were read again because they
were called bad would make any two people look at odds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.tuning import bound

DRAWS = 4_000
LEVEL = 0.95
"""Of the intervals, two-sided."""
PRIOR = 0.5
"""Jeffreys' for the four cells: an interval of 30 pairs that all agree is not a point."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A measure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """What pairs of readings say; a measure is None where the pairs cannot tell."""

    pairs: int
    both_bad: int
    both_good: int
    differ: int
    positive: Estimate | None
    """2a / (2a + d): of the bad verdicts, the share that the other reader gave too. None: nobody said bad."""
    ac1: Estimate | None
    """Gwet 2008: agreement above chance, steady where bad ones are rare."""
    kappa: Estimate | None
    """Cohen 1960. Where bad ones are rare it is low though readers agree; never decide on it."""


def agreement(pairs: Sequence[tuple[bool, bool]]) -> Agreement:
    """Of pairs of readings of one item each, True where the reader says bad; the same two readers in one order."""
    a = sum(one and other for one, other in pairs)
    d = sum(not one and not other for one, other in pairs)
    b = sum(one and not other for one, other in pairs)
    c = len(pairs) - a - d - b
    if not pairs:
        return Agreement(0, 0, 0, 0, None, None, None)
    cells = np.array([[a, b, c, d]], np.float64)
    drawn = np.random.default_rng(0).dirichlet(cells[0] + PRIOR, DRAWS)
    return Agreement(
        len(pairs),
        a,
        d,
        b + c,
        _positive(a, b + c),
        _estimate(_ac1, cells, drawn),
        _estimate(_kappa, cells, drawn),
    )


def _positive(a: int, differ: int) -> Estimate | None:
    """2x / (1 + x) of the share x of pairs that agree among those with a bad verdict: exact, as x is binomial."""
    n = a + differ
    if not n:
        return None
    most = _share_at_most(a, n)
    least = 1 - _share_at_most(differ, n)
    return Estimate(_twice(a / n), _twice(least), _twice(most))


def _twice(x: float) -> float:
    return 2 * x / (1 + x)


def _share_at_most(hits: int, n: int) -> float:
    """The upper end of the exact two-sided interval."""
    return bound(hits / n, n, (1 + LEVEL) / 2)


def _ac1(cells: Floats) -> Floats:
    """(n,) of (n, 4) cells: both bad, only the one, only the other, both good."""
    a, b, c, d = (cells / cells.sum(axis=1, keepdims=True)).T
    bad = a + (b + c) / 2
    by_chance = 2 * bad * (1 - bad)
    found: Floats = (a + d - by_chance) / (1 - by_chance)
    return found


def _kappa(cells: Floats) -> Floats:
    """As `_ac1`; NaN where both readers always say the same one thing."""
    a, b, c, d = (cells / cells.sum(axis=1, keepdims=True)).T
    by_chance = (a + b) * (a + c) + (c + d) * (b + d)
    found: Floats = np.divide(
        a + d - by_chance, 1 - by_chance, out=np.full_like(a, np.nan), where=by_chance < 1 - 1e-12
    )
    return found


def _estimate(measure: Callable[[Floats], Floats], cells: Floats, drawn: Floats) -> Estimate | None:
    value = float(measure(cells)[0])
    if not np.isfinite(value):
        return None
    low, high = np.quantile(measure(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, min(value, float(low)), max(value, float(high)))
