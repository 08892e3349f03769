"""Measures of one picture's luma, (height, width) uint8, at least 32 x 32: block edges, noise, combs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Gray

GRID_PX = 8
"""Distance of block edges in JPEG, MPEG-2, MPEG-4, VP8 and H.264; larger blocks fall on the same grid."""
MIN_SIDE_PX = 32
MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Immerkaer's: the difference of two Laplacians, blind to ramps and to edges along rows and columns."""
SIGMA_OF_MEAN = float(np.sqrt(np.pi / 2) / 6)
"""Standard deviation of Gaussian noise over the mean absolute answer of the mask, whose squares sum to 36."""


def block_step(luma: Gray) -> float:
    """Luma levels by which neighbours step more on the 8-pixel grid, wherever it begins, than beside it.

    Only isolated steps count: what a difference between neighbours has over the larger of the differences before and
    after it. The mean over rows and columns of the grid's best phase, less the median of the other phases; after
    Wang, Bovik and Evan 2000, "Blind measurement of blocking artifacts", which sums the same signal's spectrum.
    """
    values = luma.astype(np.int16)
    return (_grid_step(values) + _grid_step(values.T)) / 2


def _grid_step(values: npt.NDArray[np.int16]) -> float:
    steps = np.abs(np.diff(values, axis=1))
    isolated = np.maximum(0, steps[:, 1:-1] - np.maximum(steps[:, :-2], steps[:, 2:])).mean(axis=0)
    phases = np.sort([float(isolated[phase::GRID_PX].mean()) for phase in range(GRID_PX)])
    return float(phases[-1] - np.median(phases[:-1]))


def noise_sigma(cv2: Any, luma: Gray, block_px: int, quiet_share: float, clipped_luma: int) -> float | None:
    """Standard deviation of the noise, luma levels: Immerkaer 1996, "Fast noise variance estimation", by blocks.

    Texture adds to his estimate, so it is made in blocks and the `quiet_share` quantile of them is taken (ours). Blocks
    whose mean lies within `clipped_luma` of black or white are left out; None where no other is left.
    """
    answer = np.abs(cv2.filter2D(luma, cv2.CV_32F, MASK))
    down, across = (max(1, side // block_px) for side in luma.shape)
    means, answers = (
        cv2.resize(
            plane[: down * block_px, : across * block_px], (across, down), interpolation=cv2.INTER_AREA
        )
        for plane in (luma.astype(np.float32), answer)
    )
    lit = (means >= clipped_luma) & (means <= 255 - clipped_luma)
    return float(np.quantile(answers[lit], quiet_share)) * SIGMA_OF_MEAN if lit.any() else None


def comb_share(luma: Gray, level: int) -> float:
    """Share of pixels in a comb: four differences in a row down a column, of alternating sign, each of the level.

    Two fields of different moments, woven into one frame, alternate row by row where something moved. Fine texture and
    noise do so along rows as often as down columns, so their share along rows is taken off (ours, after the five-tap
    comb tests of inverse telecine filters).
    """
    values = luma.astype(np.int16)
    return max(0.0, _alternating(values, level) - _alternating(values.T, level))


def _alternating(values: npt.NDArray[np.int16], level: int) -> float:
    steps = np.diff(values, axis=0)
    up, down = steps >= level, steps <= -level
    first = up[:-3] & down[1:-2] & up[2:-1] & down[3:]
    second = down[:-3] & up[1:-2] & down[2:-1] & up[3:]
    return float((first | second).mean())
