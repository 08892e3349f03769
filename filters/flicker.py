"""Pumping light: how much the whole picture's brightness jumps from a frame to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.base import Gray, one_thread_cv2, shown
from pipeline.clip import Clip
from pipeline.frames import MOTION
from pipeline.stage import FrameBatch, Row, Stage

Values = npt.NDArray[np.float64]
LIT = 16 / 255
"""Luma from which a cell of the picture is lit: black of limited range, which a wide band of a dark film has."""


@dataclass(frozen=True)
class Flicker(Stage):
    """Mean jump of the picture's luma between adjacent frames, and how often it is a flash; None for an image.

    The jump of a pair is the median over a grid of cells of the change of their mean luma, so that things that move
    do not count; a slow change, a fade or the sun, is taken off: what the half seconds around the pair change a frame.
    `flicker_score` is the mean jump, 0 to 1 of full range. `flash_count` is how many of the sampled pairs jump by
    `flash_level` or more: the clip's own flashes are about half its frame rate times as many.
    """

    name = "flicker"
    columns = pa.schema([pa.field("flicker_score", pa.float64()), pa.field("flash_count", pa.int32())])
    frames = MOTION

    cells: int = 8
    """Along each side of the grid."""
    flash_level: float = 0.1
    """Of full range: the change of relative luminance that makes a flash in WCAG 2 (general flash), taken of luma."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        batch = shown(frames)
        if len(batch.images) == 0 or batch.following is None or batch.step_s is None:
            return {"flicker_score": None, "flash_count": None}
        one, two = (self._cells(state, images) for images in (batch.images, batch.following))
        change = _typical_change(one, two)
        jump = np.maximum(0.0, np.abs(change) - np.sign(change) * _drift(one, batch.times_s) * batch.step_s)
        jump = np.minimum(jump, np.abs(change))
        return {
            "flicker_score": float(jump.mean()),
            "flash_count": int((jump >= self.flash_level).sum()),
        }

    def _cells(self, cv2: Any, images: Gray) -> Values:
        """(n, cells squared) mean luma of each cell, 0 to 1."""
        size = (self.cells, self.cells)
        small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images.astype(np.float32)]
        return np.array(small, np.float64).reshape(len(small), -1) / 255


def _drift(cells: Values, times_s: Values) -> Values:
    """(n,) median change of the cells per second around each sample: between the samples beside it."""
    if len(cells) == 1:
        return np.zeros(1)
    after, before = (
        np.arange(1, len(cells) + 1).clip(max=len(cells) - 1),
        np.arange(-1, len(cells) - 1).clip(0),
    )
    drift: Values = _typical_change(cells[before], cells[after]) / (times_s[after] - times_s[before])
    return drift


def _typical_change(one: Values, two: Values) -> Values:
    """(n,) median over the cells that are lit in either picture; 0 where none is."""
    lit = np.where(np.maximum(one, two) >= LIT, two - one, np.nan)
    lit[np.isnan(lit).all(axis=1)] = 0.0
    middle: Values = np.nanmedian(lit, axis=1)
    return middle
