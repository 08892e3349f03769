"""Phases of steady motion: where a series of velocities changes its level.

Optimal partitioning with a penalty a phase (Jackson et al. 2005, "An algorithm for optimal partitioning of
data on an interval"): the split with the least squared error, each axis in units of its own noise, plus
twice BIC's price: the place of a change is chosen too.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SIGMA_PER_MAD = 1.4826
"""Standard deviation of a normal variable over its median absolute deviation."""


def jitter(speeds: Floats) -> Floats:
    """(axes,) noise of each axis of (n, axes) speeds, robust and blind to slow change; 0 below 2 rows.

    From the differences of successive rows (von Neumann 1941), whose deviation is the noise's times sqrt 2.
    """
    if len(speeds) < 2:
        return np.zeros(speeds.shape[1])
    steps = np.abs(np.diff(speeds, axis=0))
    return np.asarray(np.median(steps, axis=0) * _SIGMA_PER_MAD / math.sqrt(2))


def _without_spikes(speeds: Floats) -> Floats:
    """The running median of 3 rows: a single wrong row is no phase, a change of level stays where it is."""
    padded = np.concatenate([speeds[:1], speeds, speeds[-1:]])
    return np.asarray(np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0))


def phases(speeds: Floats, noise_floor: float, shortest: int) -> list[tuple[int, int]]:
    """Half-open row ranges that cover (n, axes) speeds, each steady and at least `shortest` rows or all."""
    count, axes = speeds.shape
    scaled = _without_spikes(speeds) / np.maximum(jitter(speeds), noise_floor)
    sums = np.vstack([np.zeros(axes), np.cumsum(scaled, axis=0)])
    squares = np.concatenate([[0.0], np.cumsum((scaled**2).sum(axis=1))])
    price = 2 * (axes + 1) * math.log(max(count, 2))

    best = np.full(count + 1, np.inf)
    best[0] = -price
    came_from = np.zeros(count + 1, dtype=np.int64)
    for end in range(1, count + 1):
        starts = np.arange(max(end - shortest, 0) + 1) if end >= shortest else np.array([0])
        lengths = end - starts
        error = squares[end] - squares[starts] - ((sums[end] - sums[starts]) ** 2).sum(axis=1) / lengths
        totals = best[starts] + error + price
        totals[(starts > 0) & (starts < shortest)] = np.inf
        came_from[end] = starts[int(np.argmin(totals))]
        best[end] = float(totals.min())

    found = []
    end = count
    while end > 0:
        found.append((int(came_from[end]), end))
        end = int(came_from[end])
    return found[::-1]
