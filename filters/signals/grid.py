"""Pixelation grids: where a picture is made of flat square cells of one size, and how large they are.

A grid shows as a comb in the profile of the steps between neighbouring pixels, along both axes at one period. A comb
alone is no mosaic: tiles and windows have one too. So the cells are looked at: flat inside, unlike their neighbours,
less alike the farther apart, and without a line between them. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Gray

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.floating[Any]]
WINDOW_PX, BLOCK_PX = 64, 8
"""Side of a window in which a grid is looked for, and the lines that are summed at once."""
STRIDES_PX = 24, 16, 16
"""Steps between windows in the picture, and in the picture halved once and twice."""
PERIODS_PX = 10.6, 3.6
"""Longest and shortest cell seen in a picture; longer ones are seen in the picture halved, and halved again."""
CELLS = 5
"""Cells a side that are looked at in the middle of a window: the fewest that always fit."""
STEP_FLOOR, STEP_CAP = 1, 24
"""Luma levels of a step: less is coding noise; more counts no more, or one sharp edge would outweigh a grid."""
NOISE_LEVELS = 2.5
"""Luma levels by which two cells differ by more than their coding."""
QUIET = 0.3
"""Luma levels a pixel, added to a window's steps: an almost flat window has no comb."""


@dataclass(frozen=True)
class Region:
    """Corners of the pixelated region in pixels of the picture, the cells' side, and the comb's strength, 0 to 1."""

    corners_px: tuple[float, float, float, float]
    cell_px: float
    score: float


@dataclass(frozen=True)
class Limits:
    """What a window must show to be pixelated. The settings of the mosaic stage."""

    comb: float
    peak: float
    rough: float
    line: float
    stepped: float


@dataclass(frozen=True)
class Windows:
    """What the windows of a picture show, each (rows, columns) of windows."""

    comb: Floats
    """Strength of the best comb, the weaker axis: 1 is steps at grid lines alone."""
    period: npt.NDArray[np.int64]
    """Its index among the periods."""
    waves: tuple[Floats, Floats]
    """(rows, columns, 2 x periods + 1), of the profiles along x and along y: their products with `basis`."""
    stride_px: int


@cache
def frequencies() -> Numbers:
    """Cycles a pixel that are tried: a quarter of what a window can tell apart."""
    longest, shortest = PERIODS_PX
    return np.arange(1 / longest, 1 / shortest, 1 / (4 * WINDOW_PX))


@cache
def basis() -> Floats:
    """(WINDOW_PX, 2 x periods + 1): cosines, sines and a constant, each under a Hann window."""
    hann = np.hanning(WINDOW_PX + 2)[1:-1, None]
    turns = 2 * np.pi * np.outer(np.arange(WINDOW_PX) + 0.5, frequencies())
    return (np.concatenate([np.cos(turns), -np.sin(turns), np.ones_like(hann)], axis=1) * hann).astype(
        np.float32
    )


def regions(cv2: Any, gray: Gray, limits: Limits) -> list[Region]:
    """The pixelated regions of a picture (height, width), large cells first; no region lies mostly in another."""
    found: list[Region] = []
    for level, stride in reversed(list(enumerate(STRIDES_PX))):
        factor = 2**level
        size = gray.shape[1] // factor, gray.shape[0] // factor
        if min(size) < WINDOW_PX:
            continue
        small = gray if level == 0 else cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
        seen = _windows(cv2, small, stride, limits.comb)
        if seen is None:
            continue
        strong, cells = _pixelated(cv2, small, seen, limits, _outside(seen, found, factor))
        found += [_scaled(region, factor) for region in _joined(cv2, seen, strong, cells, limits, size)]
    return found


def _windows(cv2: Any, picture: Gray, stride: int, least: float) -> Windows | None:
    """What the windows show; None when no comb is as strong as the least."""
    across = _spectra(cv2, cv2.absdiff(picture[:, 1:], picture[:, :-1]), stride, upright=False)
    down = _spectra(cv2, cv2.absdiff(picture[1:], picture[:-1]), stride, upright=True)
    waves = across[0], down[0].transpose(1, 0, 2)
    both = cv2.min(across[1], np.ascontiguousarray(down[1].transpose(1, 0, 2)))
    best = both.max(axis=-1)
    if best.max() < least:
        return None
    # A grid also has the period of half its cells: the longest that is about as strong is the cell.
    first = np.argmax(both >= 0.85 * best[..., None], axis=-1)
    ahead = np.minimum(first[..., None] + np.arange(3), both.shape[-1] - 1)
    period = first + np.take_along_axis(both, ahead, axis=-1).argmax(axis=-1)
    return Windows(best, np.minimum(period, both.shape[-1] - 1), waves, stride)


def _spectra(cv2: Any, steps: Gray, stride: int, upright: bool) -> tuple[Floats, Floats]:
    """Of each window's profile of steps along x (or y): its waves, and how strong each period is; 0 to 1.

    Rows and columns of windows are those of the picture, or of the upright one turned by its diagonal.
    """
    long, wide = (steps.shape[0] + 1, steps.shape[1]) if upright else (steps.shape[1] + 1, steps.shape[0])
    more = -wide % BLOCK_PX
    counted = cv2.min(cv2.subtract(steps, STEP_FLOOR), STEP_CAP).astype(np.float32)
    border = (0, 1, 0, more) if upright else (0, more, 0, 1)
    filled = cv2.copyMakeBorder(counted, *border, cv2.BORDER_CONSTANT, value=0)
    blocks = (wide + more) // BLOCK_PX
    size = (blocks, long) if upright else (long, blocks)
    lines = cv2.resize(filled, size, interpolation=cv2.INTER_AREA)
    lines = lines.T if upright else lines
    tall = WINDOW_PX // BLOCK_PX
    sums = np.concatenate([np.zeros((1, long), np.float32), np.cumsum(lines, axis=0)])
    starts = stride // BLOCK_PX * np.arange((wide - WINDOW_PX) // stride + 1)
    profiles = (sums[starts + tall] - sums[starts]) / tall
    cut = np.lib.stride_tricks.sliding_window_view(profiles, WINDOW_PX, axis=1)[:, ::stride]
    found = cv2.gemm(np.ascontiguousarray(cut).reshape(-1, WINDOW_PX), basis(), 1, None, 0)
    count, shape = len(frequencies()), (*cut.shape[:2], -1)
    cosines, sines = np.ascontiguousarray(found[:, :count]), np.ascontiguousarray(found[:, count:-1])
    total = found[:, -1:] + QUIET * float(basis()[:, -1].sum())
    strength: Floats = (cv2.magnitude(cosines, sines) / total).reshape(shape)
    return found.reshape(shape), strength


def _outside(seen: Windows, found: Sequence[Region], factor: int) -> Flags:
    """The windows whose middle lies in no region found so far."""
    y, x = (np.arange(count) * seen.stride_px + WINDOW_PX / 2 for count in seen.comb.shape)
    free = np.ones(seen.comb.shape, bool)
    for region in found:
        x0, y0, x1, y1 = (corner / factor for corner in region.corners_px)
        free &= ~(((y >= y0) & (y <= y1))[:, None] & ((x >= x0) & (x <= x1)))
    return free


def _pixelated(cv2: Any, picture: Gray, seen: Windows, limits: Limits, free: Flags) -> tuple[Flags, Numbers]:
    """The windows whose comb is strong and whose cells are those of a mosaic, and all windows' cell sides."""
    strong = free & (seen.comb >= limits.comb)
    sides: Numbers = 1 / frequencies()[seen.period]
    at = np.argwhere(strong)
    if len(at):
        period = seen.period[strong]
        count = len(frequencies())
        peaks = [np.hypot(wave[strong][:, :count], wave[strong][:, count:-1]) for wave in seen.waves]
        clear = [peak[np.arange(len(at)), period] >= limits.peak * np.median(peak, axis=1) for peak in peaks]
        good, halved = _cells(cv2, picture, seen, at, period, limits)
        sides[strong] *= 1 + halved
        strong[strong] = good & clear[0] & clear[1]
    return strong, sides


def _cells(
    cv2: Any,
    picture: Gray,
    seen: Windows,
    at: npt.NDArray[np.int64],
    period: npt.NDArray[np.int64],
    limits: Limits,
) -> tuple[Flags, Flags]:
    """Of each window (row, column) in `at`: the middle CELLS x CELLS cells are flat, unlike each other and unlined.

    And whether every other line of the grid is no step: then the cells are twice as large.
    """
    cell = 1 / frequencies()[period]
    turns = [_turn(wave[at[:, 0], at[:, 1]], period) for wave in seen.waves]
    phases = [-turn / (2 * np.pi) * cell % cell for turn in turns]
    margin = (WINDOW_PX - CELLS * cell) / 2 // cell * cell
    left, top = at[:, 1] * seen.stride_px + margin + phases[0], at[:, 0] * seen.stride_px + margin + phases[1]
    source = picture.astype(np.float32)

    def look(across: Numbers, down: Numbers) -> Floats:
        """(windows, down, across): the picture at these places, in cells from the grid's first line."""
        x = np.repeat((left[:, None] + cell[:, None] * across)[:, None, :], len(down), axis=1)
        y = np.repeat((top[:, None] + cell[:, None] * down)[:, :, None], len(across), axis=2)
        flat = (len(x), -1)
        places = x.reshape(flat).astype(np.float32), y.reshape(flat).astype(np.float32)
        values: Floats = cv2.remap(source, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return values.reshape(x.shape)

    middle = np.arange(CELLS) + 0.5
    edges = np.arange(1.0, CELLS)
    centres = look(middle, middle)
    turned = centres.transpose(0, 2, 1)
    next_x, next_y = np.abs(np.diff(turned, axis=1)), np.abs(np.diff(centres, axis=1))
    step = np.maximum((next_x + next_y).mean(axis=(1, 2)) / 2, 1e-3)
    two, four = ((_apart(turned, cells) + _apart(centres, cells)) / 2 for cells in (2, 4))
    halved = _halved(next_x) & _halved(next_y)
    rough_x = np.abs(look(middle + 0.25, middle) - look(middle - 0.25, middle)).mean(axis=(1, 2))
    rough_y = np.abs(look(middle, middle + 0.25) - look(middle, middle - 0.25)).mean(axis=(1, 2))
    line_x = look(edges, middle) - (centres[:, :, 1:] + centres[:, :, :-1]) / 2
    line_y = look(middle, edges) - (centres[:, 1:] + centres[:, :-1]) / 2
    line = np.maximum(np.abs(line_x.mean(axis=(1, 2))), np.abs(line_y.mean(axis=(1, 2))))
    stepped = np.minimum(*((steps > NOISE_LEVELS).mean(axis=(1, 2)) for steps in (next_x, next_y)))
    flat = (rough_x + rough_y) / 2 <= limits.rough * step
    # Cells two apart differ more than neighbours, as parts of one picture do; in a pattern they are alike.
    natural = (two >= 1.05 * step) & (two <= 2.3 * step) & (~halved | (four >= 1.05 * two))
    checks: Flags = flat & natural & (line <= limits.line * step) & (stepped >= limits.stepped)
    return checks, halved


def _turn(waves: Floats, period: npt.NDArray[np.int64]) -> Numbers:
    """(windows,) the angle of each window's wave at a period."""
    rows = np.arange(len(waves))
    turn: Numbers = np.arctan2(waves[rows, period + len(frequencies())], waves[rows, period])
    return turn


def _halved(steps: Floats) -> Flags:
    """(windows,) whether of the steps (windows, lines, cells) over lines every other one is small."""
    lines = steps.mean(axis=2)
    one, two = lines[:, ::2].mean(axis=1), lines[:, 1::2].mean(axis=1)
    halved: Flags = np.minimum(one, two) < 0.3 * np.maximum(one, two)
    return halved


def _apart(centres: Floats, cells: int) -> Floats:
    """(windows,) mean difference of cells so many apart."""
    apart: Floats = np.abs(centres[:, cells:] - centres[:, :-cells]).mean(axis=(1, 2))
    return apart


def _joined(
    cv2: Any, seen: Windows, strong: Flags, cell: Numbers, limits: Limits, size: tuple[int, int]
) -> list[Region]:
    """Regions of touching windows with one cell size, at least two of them strong; weaker ones only widen them."""
    weak = strong | (seen.comb >= 0.75 * limits.comb)
    found = []
    _, labels = cv2.connectedComponents(strong.astype(np.uint8), connectivity=8)
    for label in range(1, labels.max() + 1):
        own = labels == label
        typical = float(np.median(cell[own]))
        alike = np.abs(cell / typical - 1) < 0.08
        agree = own & alike
        # Two windows that share three quarters of their pixels may agree by chance, unless they are sure.
        if agree.sum() < 2:
            continue
        sure = seen.stride_px > WINDOW_PX // 4 or float(seen.comb[agree].mean()) >= 1.25 * limits.comb
        if agree.sum() < 3 and not sure:
            continue
        _, wide = cv2.connectedComponents((weak & alike).astype(np.uint8), connectivity=8)
        joined = np.isin(wide, np.unique(wide[agree]))
        found.append(Region(_corners(joined, seen.stride_px, size), typical, float(seen.comb[agree].mean())))
    return found


def _corners(windows: Flags, stride: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Corners in pixels of what the windows cover: a window is found before all of it is pixelated."""
    spill = WINDOW_PX // 8
    sides = []
    for axis, length in ((0, size[0]), (1, size[1])):
        covered: Flags = np.logical_or.reduce(windows, axis=axis)
        places = np.flatnonzero(covered) * stride
        low = places[0] + spill if places[0] else 0
        sides.append((low, length if covered[-1] else places[-1] + WINDOW_PX - spill))
    (left, right), (top, bottom) = sides
    return float(left), float(top), float(right), float(bottom)


def _scaled(region: Region, factor: int) -> Region:
    x0, y0, x1, y1 = region.corners_px
    corners = x0 * factor, y0 * factor, x1 * factor, y1 * factor
    return Region(corners, region.cell_px * factor, region.score)
