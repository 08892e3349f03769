"""A threshold out of labels: what each one would keep and catch, and the loosest that is safe to suggest.

A label says of a clip whether it is bad. A clip drawn with probability p stands for 1/p clips. A threshold is safe when
the exact 95 % bound of the bad share among what it keeps is within a limit. Looking for the loosest safe one among many
would pass some by luck; so they are tested in a fixed order, the strictest first, and the first that fails ends it
(fixed-sequence testing, Maurer et al. 1995): then the chance of suggesting one that is over the limit is at most 5 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
"""One-sided."""
STEPS = 20
"""Thresholds that are tried: each keeps about 1/20 more of the labelled clips than the one before. Ours."""
MOST_BAD_AT_FIRST = 5
"""Bad labels with which the first test can still pass. Ours."""
DIGITS = 3
"""Significant digits of a suggested threshold."""
TINY = 1e-30
PRECISION = 1e-12
MOST_TERMS = 100_000
"""It takes some sqrt(a + b) of them."""
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Operator = Literal["min", "max"]


@dataclass(frozen=True)
class Point:
    """What one threshold does to the labelled clips, each counted for as many as it stands for."""

    threshold: float
    labels: int
    """Labelled clips that it keeps."""
    kept_share: float
    """Of the clips that pass all other rules."""
    bad_share: float | None
    """Of what it keeps; None when it keeps nothing."""
    bound: float
    """`bad_share` is at most this, with 95 % confidence."""
    precision: float | None
    """Bad ones among what it rejects; None when it rejects nothing."""
    recall: float | None
    """Of the bad ones, those it rejects; None when there are none."""


@dataclass(frozen=True)
class Tuned:
    """One rule's thresholds, the one it has now, and the one that is suggested."""

    operator: Operator
    now: Point
    points: tuple[Point, ...]
    """The strictest first."""
    chosen: Point | None
    why: str
    """A sentence about the choice, or about why there is none."""


def tune(values: Floats, bad: Flags, weights: Floats, operator: Operator, now: float, limit: float) -> Tuned:
    """The loosest safe threshold of a rule, all of its arguments (n,) over labelled clips that pass the other rules.

    `values` has NaN where the column is null, which no threshold keeps; `weights` are one over the chance of having
    been drawn; `limit` is the bad share, in (0, 1), that what is kept may have.
    """
    points = tuple(_point(values, bad, weights, operator, at, limit) for at in _candidates(values, operator))
    most = max((point.labels for point in points), default=0)
    least = _first_test(limit, most)
    current = _point(values, bad, weights, operator, now, limit)
    if most < least:
        why = f"{most} labelled clips pass the other rules; even without a bad one it takes {least}"
        return Tuned(operator, current, points, None, why)
    chosen = None
    for point in points:
        if point.labels < least:
            continue  # says nothing yet, whatever its labels are: not a test
        if point.bound > limit:
            break
        chosen = point
    why = (
        "the loosest that passes" if chosen else "even the strictest that has enough labels is over the limit"
    )
    return Tuned(operator, current, points, chosen, why)


def _first_test(limit: float, labels: int) -> int:
    """Labels that a threshold must keep to be tested: enough for a few bad ones to pass, at most half of them all.

    It may not depend on which labels are bad, or the order of the tests would.
    """
    allowed = (fewest_labels(limit, bad) for bad in range(MOST_BAD_AT_FIRST, 0, -1))
    return next((least for least in allowed if 2 * least <= labels), fewest_labels(limit, 0))


def _candidates(values: Floats, operator: Operator) -> list[float]:
    """Thresholds that keep 1/STEPS, 2/STEPS ... of the labelled clips, the strictest first, in few digits."""
    known = np.sort(values[~np.isnan(values)])
    if not known.size:
        return []
    strict_first = known if operator == "max" else known[::-1]
    places = np.ceil(np.arange(1, STEPS + 1) * known.size / STEPS).astype(int) - 1
    up = operator == "max"
    return list(dict.fromkeys(_round(float(value), up) for value in strict_first[places]))


def _round(value: float, up: bool) -> float:
    """The value in DIGITS significant digits, rounded to the side that keeps it."""
    if value == 0:
        return 0.0
    scale = DIGITS - 1 - math.floor(math.log10(abs(value)))
    whole = round(value * 10.0**scale, 6)  # a value that has these digits stays as it is
    return float(f"{(math.ceil(whole) if up else math.floor(whole)) / 10.0**scale:.{DIGITS}g}")


def _point(
    values: Floats, bad: Flags, weights: Floats, operator: Operator, threshold: float, limit: float
) -> Point:
    kept = values <= threshold if operator == "max" else values >= threshold
    bad_weight = float(weights[bad].sum())
    rejected = float(weights[~kept].sum())
    caught = float(weights[bad & ~kept].sum())
    share = weighted_share(bad[kept], weights[kept])
    return Point(
        threshold=threshold,
        labels=int(kept.sum()),
        kept_share=float(weights[kept].sum() / weights.sum()) if weights.size else 0.0,
        bad_share=share[0] if share else None,
        bound=bound(*share) if share else 1.0,
        precision=caught / rejected if rejected else None,
        recall=caught / bad_weight if bad_weight else None,
    )


def weighted_share(bad: Flags, weights: Floats) -> tuple[float, float] | None:
    """The share of bad ones and the number of equally weighted labels that would say as much; None of nothing.

    That number (Korn and Graubard 1998) is n when all weights are equal. Here it is never more than Kish's
    (sum w)^2 / sum w^2, for the variance of a handful of bad ones is itself a guess.
    """
    if not weights.size:
        return None
    total = float(weights.sum())
    share = min(1.0, float(weights[bad].sum()) / total)
    effective = total**2 / float((weights**2).sum())
    if 0 < share < 1:
        variance = float((weights**2 * (bad - share) ** 2).sum()) / total**2
        effective = min(effective, share * (1 - share) / variance)
    return share, effective


def bound(share: float, labels: float, confidence: float = CONFIDENCE) -> float:
    """The exact one-sided bound (Clopper and Pearson 1934): the share is at most this, with this confidence.

    `labels` may be a fraction, as the effective number of a weighted sample is.
    """
    hits = share * labels
    if share >= 1:
        return 1.0
    low, high = share, 1.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if beta_cdf(middle, hits + 1, labels - hits) < confidence:
            low = middle
        else:
            high = middle
    return high


def within(bad: float, labels: float, limit: float) -> bool:
    """Whether the bound of so many bad ones among so many labels is at most the limit."""
    return bad < labels and beta_cdf(limit, bad + 1, labels - bad) >= CONFIDENCE


def fewest_labels(limit: float, bad: int) -> int:
    """The fewest labels that can pass the limit with so many bad ones among them."""
    low, high = bad, bad + 1
    while not within(bad, high, limit):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if not within(bad, middle, limit):
            low = middle
        else:
            high = middle
    return high


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b): its continued fraction (DLMF 8.17.22), Lentz's method."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    above, below = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1))
    found = below
    for m in range(1, MOST_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            below = 1.0 / _away(1.0 + term * below)
            above = _away(1.0 + term / above)
            found *= above * below
        if abs(above * below - 1.0) < PRECISION:
            return front * found / a
    raise ArithmeticError(f"the continued fraction of I_{x}({a}, {b}) does not settle")


def _away(value: float) -> float:
    """The value, kept off zero."""
    return value if abs(value) > TINY else TINY
