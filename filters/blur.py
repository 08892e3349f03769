"""Sharpness at the source's own resolution, by two measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.base import Rgb, one_thread_cv2, shown
from pipeline.clip import Clip
from pipeline.frames import DETAIL
from pipeline.stage import FrameBatch, Row, Stage

Plane = npt.NDArray[np.float32]
REBLUR_TAPS = 9
"""Length of the re-blur of Crete et al."""

ROUNDING = 20 / 12
"""Variance that rounding to whole levels (1/12) adds to the Laplacian, whose squared taps sum to 20."""


@dataclass(frozen=True)
class Blur(Stage):
    """Medians over frames of the sharpest textured block of the patch; None when no block has texture.

    `sharpness` is the variance of the Laplacian (Pech-Pacheco et al. 2000) over the variance of luma, so that neither
    contrast nor brightness counts: white noise gives 20, smooth shading near 0. `blur_effect` is how little the
    picture loses when it is blurred again, 0 sharp to 1 blurred (Crete et al. 2007, "The blur effect"). The sharpest
    block counts because a subject in focus before a soft background is a sharp picture.
    """

    name = "blur"
    columns = pa.schema([pa.field("sharpness", pa.float64()), pa.field("blur_effect", pa.float64())])
    frames = DETAIL

    blocks: int = 3
    """Blocks along each side of the patch."""
    texture_level: float = 4.0
    """Standard deviation of luma levels from which a block has texture; coding noise on a flat wall stays below."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        measured = [pair for image in shown(frames).images if (pair := self._frame(state, image)) is not None]
        if not measured:
            return {"sharpness": None, "blur_effect": None}
        sharpness, blur_effect = np.median(np.array(measured), axis=0)
        return {"sharpness": float(sharpness), "blur_effect": float(blur_effect)}

    def _frame(self, cv2: Any, image: Rgb) -> tuple[float, float] | None:
        luma: Plane = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2GRAY)
        side = 3 * REBLUR_TAPS
        down, across = (max(1, min(self.blocks, length // side)) for length in luma.shape)
        blocks = [
            block for row in np.array_split(luma, down) for block in np.array_split(row, across, axis=1)
        ]
        textured = [np.ascontiguousarray(block) for block in blocks if block.std() >= self.texture_level]
        if not textured:
            return None
        edges = [max(0.0, float(cv2.Laplacian(block, cv2.CV_32F).var()) - ROUNDING) for block in textured]
        sharpness = max(edge / float(block.var()) for edge, block in zip(edges, textured, strict=True))
        return sharpness, min(max(_blur_effect(cv2, b, axis) for axis in (0, 1)) for b in textured)


def _blur_effect(cv2: Any, luma: Plane, axis: int) -> float:
    """Share of the gradient along one axis that survives a blur along it (Crete et al. 2007, equations 1 to 6)."""
    blurred = cv2.blur(luma, (1, REBLUR_TAPS) if axis == 0 else (REBLUR_TAPS, 1))
    sharp = np.abs(np.diff(luma, axis=axis))
    lost = np.maximum(0, sharp - np.abs(np.diff(blurred, axis=axis)))
    total = float(sharp.sum())
    return (total - float(lost.sum())) / total if total else 1.0
