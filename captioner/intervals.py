"""How sure an accuracy is: 95 % intervals of a share, and of an average over fields by drawing clips again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z = 1.959963984540054
"""Of a two-sided 95 % interval."""
RESAMPLES = 1_000
MOST_DRAWN = 1 << 23
"""Clips that are drawn at once, 64 MiB of counts."""

Marks = Mapping[str, Sequence[tuple[str, float, float]]]
"""By field: clip, score and weight of each thing that was judged."""
Table = npt.NDArray[np.float64]
Drawn = npt.NDArray[np.floating] | npt.NDArray[np.integer]
"""(draws, clips) how often each clip counts."""


@dataclass(frozen=True)
class Difference:
    """An average, or how much higher one engine's is than another's, with its 95 % interval."""

    mean: float
    low: float
    high: float


def wilson(share: float, count: float, z: float = Z) -> tuple[float, float]:
    """The interval of a share of `count` items (Wilson 1927), which holds at the ends of the scale too."""
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def resampled(engines: Sequence[Marks], seed: int = 0) -> Difference:
    """The mean over the fields of one engine, or the first's less the second's; its interval by drawing clips again
    with replacement (Efron 1979), since what is said of one clip hangs together.

    One more clip on which all is right and one on which all is wrong are drawn among them, as Agresti and Coull (1998)
    add successes and failures to a share: without them a few clips that are all right would leave no doubt. For a
    difference they are two halves of clips, on which either engine alone is right (Agresti and Min 2005). Every engine
    has the same fields, one at least.
    """
    clips = sorted({clip for one in engines for marks in one.values() for clip, _, _ in marks})
    tables = [_table(one, clips, 1 / len(engines), last_is_right=n > 0) for n, one in enumerate(engines)]
    random = np.random.default_rng(seed)
    drawn = len(clips) + 2
    at_once = max(1, MOST_DRAWN // drawn)
    means = [
        _less(tables, random.multinomial(drawn, [1 / drawn] * drawn, size=min(at_once, RESAMPLES - start)))
        for start in range(0, RESAMPLES, at_once)
    ]
    mean = float(_less(tables, np.array([[1.0] * len(clips) + [0.0, 0.0]]))[0])
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Difference(mean, min(mean, float(low)), max(mean, float(high)))


def _table(marks: Marks, clips: Sequence[str], added: float, last_is_right: bool) -> tuple[Table, Table]:
    """(clips + 2, fields) sums of scores, and weights; of the last two clips, `added` each, one is right."""
    place = {clip: n for n, clip in enumerate(clips)}
    sums = np.zeros((len(clips) + 2, len(marks)))
    weights = np.zeros_like(sums)
    for column, name in enumerate(sorted(marks)):
        for clip, score, weight in marks[name]:
            sums[place[clip], column] += score * weight
            weights[place[clip], column] += weight
    weights[-2:] = added * weights.sum(axis=0) / np.maximum((weights > 0).sum(axis=0), 1)
    sums[-1 if last_is_right else -2] = weights[-1]
    return sums, weights


def _less(tables: Sequence[tuple[Table, Table]], draws: Drawn) -> Table:
    """(draws,) means of the first engine, less those of the second where there is one."""
    means = [_means(sums, weights, draws) for sums, weights in tables]
    return means[0] - means[1] if len(means) > 1 else means[0]


def _means(sums: Table, weights: Table, draws: Drawn) -> Table:
    """(draws,) means over the fields that each draw of clips has; 0 where it has none."""
    of_field = draws @ weights
    there = of_field > 0
    shares = np.divide(draws @ sums, of_field, out=np.zeros_like(of_field), where=there)
    found: Table = shares.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return found
