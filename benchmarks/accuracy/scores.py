"""Statistics of the accuracy page: shares with intervals, rank order, resampling. NaN is a value that is not there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z_95 = 1.959964
"""The normal quantile of a two-sided 95 % interval."""
RESAMPLES = 400
SEED = 20_250_417
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Share:
    """`hits` of `of`, and its 95 % interval."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927); (0, 1) of nothing."""
        if not self.of:
            return 0.0, 1.0
        n, p = self.of, self.value
        middle = (p + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
        half = Z_95 / (1 + Z_95**2 / n) * math.sqrt(p * (1 - p) / n + Z_95**2 / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Rank correlation, ties sharing their mean rank; NaN when either is constant."""
    first, second = _ranks(np.asarray(one, float)), _ranks(np.asarray(other, float))
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt(float((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / scale if scale else math.nan


def _ranks(values: Floats) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    mean_rank: Floats = (last - (count - 1) / 2)[place]
    return mean_rank


def order(bad: Floats, clean: Floats) -> Floats:
    """(n, m): 1 where a bad value (n,) is above a clean one (m,), 0.5 where equal, 0 below; NaN where one is NaN.

    Its mean is the area under the ROC curve (Mann and Whitney 1947).
    """
    high, low = bad[:, None], clean[None, :]
    above: Floats = np.where(np.isnan(high) | np.isnan(low), np.nan, (high > low) + 0.5 * (high == low))
    return above


def monotony(steps: Floats) -> Floats:
    """(clips,): each clip's rank correlation of its values (steps, clips) with the strength; NaN where one is NaN.

    A clip whose value never changes counts as 0: the measurement does not see it.
    """
    strength = range(len(steps))
    found = []
    for values in steps.T:
        known = not np.isnan(values).any()
        rank = spearman(strength, values.tolist()) if known else math.nan
        found.append(0.0 if known and math.isnan(rank) else rank)
    return np.asarray(found, float)


def bootstrap(counts: tuple[int, int], statistic: Callable[[Numbers, Numbers], float]) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic over two groups, each drawn with replacement (Efron 1979).

    `counts` are the groups' sizes; `statistic` is given the numbers of those drawn. The seed is fixed.
    """
    dice = np.random.default_rng(SEED)
    one, other = ([dice.integers(0, count, count) for _ in range(RESAMPLES)] for count in counts)
    drawn = np.asarray([statistic(*pair) for pair in zip(one, other, strict=True)])
    known = drawn[~np.isnan(drawn)]
    if not known.size:
        return math.nan, math.nan
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)


def mean(values: Floats) -> float:
    """The mean of what is there; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
