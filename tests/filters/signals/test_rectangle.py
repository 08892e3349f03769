"""The largest free rectangle against brute force, and the rule for its aspect."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from filters.signals.rectangle import Box, area, largest, overlap

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def brute(taken: list[Box]) -> float:
    """Largest free area, every pair of edges tried."""
    xs = sorted({0.0, 1.0, *(x for box in taken for x in (box[0], box[2]))})
    ys = sorted({0.0, 1.0, *(y for box in taken for y in (box[1], box[3]))})
    boxes = ((x0, y0, x1, y1) for x0, x1, y0, y1 in product(xs, xs, ys, ys) if x0 < x1 and y0 < y1)
    return max(
        (area(box) for box in boxes if not any(area(overlap(box, one)) > 0 for one in taken)), default=0.0
    )


@pytest.mark.parametrize("seed", range(40))
def test_no_free_rectangle_is_larger(seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 20, (int(rng.integers(1, 7)), 2)) / 20
    sizes = rng.integers(1, 8, corners.shape) / 20
    taken = [(x, y, min(1.0, x + w), min(1.0, y + h)) for (x, y), (w, h) in zip(corners, sizes, strict=True)]
    found = largest(WHOLE, taken, 1000)
    assert found is not None
    assert area(found) == pytest.approx(brute(taken))
    assert all(area(overlap(found, box)) == 0 for box in taken)


def test_nothing_taken_leaves_everything():
    assert largest((0.1, 0.2, 0.9, 0.8), [], 1.2) == (0.1, 0.2, 0.9, 0.8)
    assert largest(WHOLE, [(1.2, 0.0, 1.5, 1.0)], 1.2) == WHOLE


def test_everything_taken_leaves_nothing():
    assert largest(WHOLE, [WHOLE], 1.2) is None


def test_a_band_below_is_cut_off():
    assert largest(WHOLE, [(-0.1, 0.85, 1.1, 1.1)], 1.35) == pytest.approx((0.0, 0.0, 1.0, 0.85))


def test_a_strip_is_cut_to_the_aspect_around_the_middle():
    x0, y0, x1, y1 = largest(WHOLE, [(0.0, 0.4, 1.0, 1.0)], 1.25) or (0, 0, 0, 0)
    assert (y0, y1) == (0.0, 0.4)
    assert x1 - x0 == pytest.approx(0.4 * 1.25)
    assert x0 == pytest.approx(1 - x1)


def test_a_corner_costs_its_shorter_side():
    """Left of the corner 0.8 is left, below it 0.9."""
    assert largest(WHOLE, [(0.8, 0.0, 1.0, 0.1)], 1.35) == pytest.approx((0.0, 0.1, 1.0, 1.0))


def test_a_hundred_tiles_are_rounded_outwards_and_still_left_out():
    tiles = [
        (x / 12 + 0.02, y / 12 + 0.02, x / 12 + 0.05, y / 12 + 0.05) for x in range(12) for y in range(12)
    ]
    found = largest(WHOLE, tiles, 1000)
    assert found is not None
    assert all(area(overlap(found, tile)) == 0 for tile in tiles)
    assert 0.3 * brute_bands(tiles) < area(found) <= brute_bands(tiles)


def brute_bands(tiles: list[Box]) -> float:
    """Area of the widest free strip between two rows or columns of a regular grid of tiles."""
    edges = sorted({0.0, 1.0, *(x for tile in tiles for x in (tile[0], tile[2]))})
    return max(after - before for before, after in pairwise(edges))
