"""The largest rectangle that touches none of some boxes: what is left of a picture when they are cut away."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

MOST_EXACT = 24
"""Boxes up to which every edge counts; of more, edges are rounded outwards to GRID parts of the frame."""
GRID = 64
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1: left, top, right and bottom as shares of the frame's width and height."""


def area(box: Box) -> float:
    """Share of the frame; 0 where nothing is left."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def overlap(one: Box, two: Box) -> Box:
    """What both cover; its area is 0 where they do not meet."""
    return max(one[0], two[0]), max(one[1], two[1]), min(one[2], two[2]), min(one[3], two[3])


def largest(whole: Box, taken: Iterable[Box], max_stretch: float) -> Box | None:
    """The rectangle in `whole` with the most area that meets no box of `taken`; None when there is none.

    Its aspect is at most `max_stretch` times wider or narrower than that of `whole`: a longer strip counts, and is
    cut, down to that, at the end that lies further from the middle of `whole`. Of equal ones the topmost, leftmost.
    """
    inside = [part for part in (overlap(whole, box) for box in taken) if area(part) > 0]
    if len(inside) > MOST_EXACT:
        inside = [overlap(whole, _rounded(box)) for box in inside]
    best: Box | None = None
    for free in _free(whole, inside):
        fitted = _within(free, whole, max_stretch)
        if best is None or area(fitted) > area(best) + 1e-12:
            best = fitted
    return best


def _rounded(box: Box) -> Box:
    x0, y0, x1, y1 = box
    return (
        math.floor(x0 * GRID) / GRID,
        math.floor(y0 * GRID) / GRID,
        math.ceil(x1 * GRID) / GRID,
        math.ceil(y1 * GRID) / GRID,
    )


def _free(whole: Box, taken: Sequence[Box]) -> Iterator[Box]:
    """Rectangles that meet no box, every one that cannot grow among them: each band of rows, cut where a box is."""
    xs = sorted({whole[0], whole[2], *(x for box in taken for x in (box[0], box[2]))})
    ys = sorted({whole[1], whole[3], *(y for box in taken for y in (box[1], box[3]))})
    blocked = np.zeros((len(ys) - 1, len(xs) - 1), dtype=np.bool_)
    for x0, y0, x1, y1 in taken:
        blocked[ys.index(y0) : ys.index(y1), xs.index(x0) : xs.index(x1)] = True
    for top in range(len(ys) - 1):
        column = np.zeros(len(xs) - 1, dtype=np.bool_)
        for bottom in range(top, len(ys) - 1):
            column |= blocked[bottom]
            for left, right in _runs(column.tolist()):
                yield xs[left], ys[top], xs[right], ys[bottom + 1]


def _runs(blocked: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First and past-last position of each run that is free."""
    start = 0
    for position, wall in enumerate([*blocked, True]):
        if wall:
            if position > start:
                yield start, position
            start = position + 1


def _within(box: Box, whole: Box, max_stretch: float) -> Box:
    """The box, cut to at most this much more width for its height, or height for its width, than `whole` has."""
    wide, high = whole[2] - whole[0], whole[3] - whole[1]
    most_wide = (box[3] - box[1]) / high * wide * max_stretch
    most_high = (box[2] - box[0]) / wide * high * max_stretch
    x0, x1 = _cut(box[0], box[2], most_wide, (whole[0] + whole[2]) / 2)
    y0, y1 = _cut(box[1], box[3], most_high, (whole[1] + whole[3]) / 2)
    return x0, y0, x1, y1


def _cut(low: float, high: float, most: float, middle: float) -> tuple[float, float]:
    """The span of at most this length in [low, high] that lies nearest to the middle."""
    if high - low <= most:
        return low, high
    start = min(max(middle - most / 2, low), high - most)
    return start, start + most
