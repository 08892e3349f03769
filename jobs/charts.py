"""Where the marks of the report's charts go. Numbers only: no words, no markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 32
WIDTH, HEIGHT = 320.0, 84.0
"""The plotting area of a histogram in its own units, about a pixel each."""
HUGE = 1e100
"""Larger values than any score has: they are counted as beyond the axis, and no arithmetic on the rest overflows."""


@dataclass(frozen=True)
class Part:
    """A stretch of a bar: x and width in percent of the whole, and the amount that it stands for."""

    kind: str
    x: float
    width: float
    amount: float


def parts(amounts: Iterable[tuple[str, float]], whole: float) -> tuple[Part, ...]:
    """The amounts one after another; all of width 0 when the whole is 0."""
    made: list[Part] = []
    x = 0.0
    for kind, amount in amounts:
        width = 100 * amount / whole if whole > 0 else 0.0
        made.append(Part(kind, x, width, amount))
        x += width
    return tuple(made)


@dataclass(frozen=True)
class Bar:
    """One bin's bar, and the clips in it."""

    x: float
    width: float
    height: float
    count: int


@dataclass(frozen=True)
class Limit:
    """A threshold that one or more pools share: a line at x, and the side that it rejects."""

    pools: tuple[str, ...]
    value: float
    least: bool
    """True: smaller values are rejected; False: larger ones."""
    x: float
    beyond: bool
    """It lies off the axis, and x is the nearer end."""
    turned: bool
    """Its label is on the left of the line."""
    reject_x: float
    reject_width: float


@dataclass(frozen=True)
class Plot:
    """A histogram ready to draw; without bars when there is no value."""

    bars: tuple[Bar, ...]
    limits: tuple[Limit, ...]
    ticks: tuple[tuple[float, float], ...]
    """(x, value)."""
    highest: int
    """Clips of the tallest bar."""
    outside: int
    """Values beyond the axis: finite ones are counted in the outermost bars."""
    not_finite: int
    median: float | None


Threshold = tuple[str, float | None, float | None]


def plot(values: npt.NDArray[np.float64], thresholds: Sequence[Threshold]) -> Plot:
    """The histogram of `values` (any shape; NaN and infinity are counted and left out) with (pool, low, high)."""
    everything = np.asarray(values, dtype=np.float64).ravel()
    finite = everything[np.abs(everything) < HUGE]
    wanted = _wanted(thresholds)
    low, high = _axis(finite, [value for value, _ in wanted])
    scale = WIDTH / (high - low)
    edges = _edges(finite, low, high)
    counts, _ = np.histogram(np.clip(finite, low, high), edges)
    highest = int(counts.max(initial=0))
    bars = [
        # A bar of one clip among thousands stays visible.
        Bar((left - low) * scale, (right - left) * scale, max(HEIGHT * count / highest, 1.5), int(count))
        for left, right, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        if count
    ]
    limits = []
    for (value, least), pools in wanted.items():
        x = min(max((value - low) * scale, 0.0), WIDTH)
        reject = (0.0, x) if least else (x, WIDTH - x)
        limits.append(
            Limit(tuple(pools), value, least, x, not low <= value <= high, x > 0.53 * WIDTH, *reject)
        )
    # Labels stand one below the other; in this order no line runs through the label of another one's own side.
    limits.sort(key=lambda limit: (limit.turned, -limit.x if limit.turned else limit.x))
    return Plot(
        tuple(bars),
        tuple(limits),
        tuple(((tick - low) * scale, tick) for tick in _ticks(low, high)),
        highest,
        int(((finite < low) | (finite > high)).sum()),
        len(everything) - len(finite),
        float(np.median(finite)) if len(finite) else None,
    )


def _wanted(thresholds: Sequence[Threshold]) -> dict[tuple[float, bool], list[str]]:
    """(value, is a minimum) -> pools that share it, in order of first appearance."""
    wanted: dict[tuple[float, bool], list[str]] = {}
    for pool, low, high in thresholds:
        for value, least in ((low, True), (high, False)):
            if value is not None and abs(value) < HUGE:
                wanted.setdefault((float(value), least), []).append(pool)
    return wanted


def _axis(finite: npt.NDArray[np.float64], thresholds: Sequence[float]) -> tuple[float, float]:
    """The ends of the axis: the values without far outliers, and the thresholds that are not too far from them."""
    if len(finite) == 0:
        low, high = min(thresholds, default=0.0), max(thresholds, default=1.0)
    else:
        low, high = float(finite.min()), float(finite.max())
        first, last = (float(v) for v in np.percentile(finite, (1, 99)))
        # Else a few outliers would squeeze all the others into one bar.
        if last > first and high - low > 8 * (last - first):
            low, high = max(low, first - (last - first) / 2), min(high, last + (last - first) / 2)
    span = high - low if high - low > 1e-9 * max(abs(low), abs(high)) else 0.0
    near = [value for value in thresholds if span == 0 or low - 1.5 * span <= value <= high + 1.5 * span]
    low, high = min([low, *near]), max([high, *near])
    alike = high - low <= 1e-9 * max(abs(low), abs(high))
    if _whole(finite) and 1 <= high - low <= 40:
        return math.floor(low) - 0.5, math.ceil(high) + 0.5
    margin = 0.5 * max(abs(low), abs(high), 1.0) if alike else 0.03 * (high - low)
    return low - margin, high + margin


def _edges(finite: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.float64]:
    """BINS equal bins, or one bin a whole number where the values are small whole numbers."""
    if _whole(finite) and 2 <= high - low <= 42:
        return np.arange(low, high + 1)
    return np.linspace(low, high, BINS + 1)


def _whole(finite: npt.NDArray[np.float64]) -> bool:
    return len(finite) > 0 and bool(np.all(finite == np.round(finite)))


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round values within the axis: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]
