"""Mosaic: pixelation over a face, a plate or the whole picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import one_thread_cv2, shown
from filters.boxes import BOX, box
from filters.signals.grid import Limits, regions
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Mosaic(Stage):
    """Share of the picture that is pixelated, in the frame where it is most, and the regions.

    `mosaic_frame_ratio` is the share of frames with any, `mosaic_cell_px` the cells' side in pixels of the source over
    the largest region (None: no mosaic), and a box's score the strength of its grid (see filters.signals.grid).
    """

    name = "mosaic"
    columns = pa.schema(
        [
            pa.field("mosaic_ratio", pa.float64()),
            pa.field("mosaic_frame_ratio", pa.float64()),
            pa.field("mosaic_cell_px", pa.float64()),
            pa.field("mosaic_boxes", pa.list_(pa.struct(BOX))),
        ]
    )
    frames = VIEW

    comb: float = 0.42
    """Share of a window's steps, 0 to 1, that lie on the grid's lines: photographs reach 0.4, mosaics 0.5 to 0.8."""
    peak: float = 2.0
    """How often the grid's period is stronger than the median one: a single edge has all periods alike."""
    rough: float = 0.25
    """Highest change inside a cell, over the step between two: 0.5 is a smooth picture, 0 a perfect mosaic."""
    line: float = 0.5
    """Highest mean distance of a grid line from the mean of the cells beside it, over the step: tiles have joints."""
    stepped: float = 0.4
    """Least share of neighbouring cells that differ by more than coding noise."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        batch = shown(frames)
        height, width = batch.images.shape[1:3]
        limits = Limits(self.comb, self.peak, self.rough, self.line, self.stepped)
        areas, boxes, largest = [], [], (0.0, 0.0)
        for frame, image in zip(batch.frames, batch.images, strict=True):
            covered = np.zeros((height, width), bool)
            for region in regions(state, state.cvtColor(image, state.COLOR_RGB2GRAY), limits):
                x0, y0, x1, y1 = (round(corner) for corner in region.corners_px)
                covered[y0:y1, x0:x1] = True
                largest = max(largest, ((x1 - x0) * (y1 - y0), region.cell_px))
                boxes.append({"frame": int(frame), **box(region.corners_px, width, height, region.score)})
            areas.append(float(covered.mean()))
        scale = min(clip.width, clip.height) / min(width, height)
        return {
            "mosaic_ratio": max(areas),
            "mosaic_frame_ratio": float((np.array(areas) > 0).mean()),
            "mosaic_cell_px": largest[1] * scale if boxes else None,
            "mosaic_boxes": boxes,
        }
