"""Mosaic: pixelation of the whole picture, or of one region as over a face."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures

VIEW_PX = 360
"""Short side to which the cells' sizes refer: what the filters look at."""


def cells(pictures: Pictures, fps: float, dice: np.random.Generator, cell_px: int, region: float) -> Pictures:
    """Square cells of their mean colour, in a square region of this share of the short side that drifts; 0 is all."""
    frames, height, width = pictures.shape[:3]
    short = min(height, width)
    cell = max(2, round(cell_px * max(1.0, short / VIEW_PX)))
    side = round(region * short)
    left, top = (int(dice.integers(0, room // 2 + 1)) for room in (width - side, height - side))
    shift_x, shift_y = (int(value) for value in dice.integers(0, cell, 2))
    result = pictures.copy()
    for number, picture in enumerate(result):
        if not region:
            picture[:] = _pixelated(picture, cell, shift_x, shift_y)
            continue
        x, y = left + number * (width - side) // (2 * frames), top + number * (height - side) // (2 * frames)
        own = picture[y : y + side, x : x + side]
        own[:] = _pixelated(own, cell, 0, 0)
    return result


def _pixelated(picture: Pictures, cell: int, shift_x: int, shift_y: int) -> Pictures:
    """One picture (height, width, 3) in cells, of which the first are `shift` shorter."""
    height, width = picture.shape[:2]
    rows, columns = (np.arange(length) for length in (height, width))
    starts_y = np.unique(np.maximum(0, (rows + shift_y) // cell * cell - shift_y))
    starts_x = np.unique(np.maximum(0, (columns + shift_x) // cell * cell - shift_x))
    sums = np.add.reduceat(np.add.reduceat(picture.astype(np.float32), starts_y, axis=0), starts_x, axis=1)
    tall, wide = np.diff(starts_y, append=height), np.diff(starts_x, append=width)
    means = sums / (tall[:, None, None] * wide[None, :, None])
    cells_shown: Pictures = means.repeat(tall, axis=0).repeat(wide, axis=1).astype(np.uint8)
    return cells_shown


DEFECTS = (
    Defect(
        "mosaic over the whole picture",
        "mosaic",
        "mosaic_ratio",
        "high",
        {f"cells of {cell} px in 360": partial(cells, cell_px=cell, region=0) for cell in (4, 8, 16, 32)},
        0.005,
        "In a picture without much contrast the cells are alike, and not seen.",
    ),
    Defect(
        "mosaic over one region",
        "mosaic",
        "mosaic_ratio",
        "high",
        {
            f"{region:.0%} of the short side, cells of {cell} px in 360": partial(
                cells, cell_px=cell, region=region
            )
            for region, cell in ((0.25, 6), (0.35, 8), (0.5, 12))
        },
        0.005,
        "A region needs about eight cells a side, and about 60 of the 360 pixels.",
    ),
)
