"""What stays put while the picture moves: captions, logos, frames and stickers laid over the video."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import one_thread_cv2, shown, spread
from filters.boxes import BOX, box
from filters.signals.standing import SURE, drawn, edges, grid
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Overlay(Stage):
    """Boxes of edges that stand still through the whole clip although the picture around them moves.

    A box's score, 0 to 1, says how surely it was drawn over the picture: how plain its edges are, and how much of the
    ground around it passes by, see filters.signals.standing.Grid.surety; parts of scenes rarely reach 0.5.
    `overlay_area_ratio` is the share of the frame under boxes of 0.5 or more, `overlay_moving_ratio` that of the
    picture's edges that pass by; where it is small, as with a camera that stands still, an overlay cannot be told from
    the scene, and the other columns are null (an image and a tiny picture have 0). What moves with the camera, as the
    bonnet of a car does, is an overlay too.
    """

    name = "overlay"
    columns = pa.schema(
        {
            "overlay_boxes": pa.list_(pa.struct(BOX[1:])),
            "overlay_area_ratio": pa.float64(),
            "overlay_moving_ratio": pa.float64(),
        }
    )
    frames = VIEW

    most_frames: int = 8
    side_min_px: int = 80
    """Shortest side of a picture in which a mark can be told from texture."""
    edge_level: float = 3.0
    """Gradient, luma levels a pixel, of an edge: a step of 6 levels has it."""
    stays_min: float = 0.9
    """Length of the mean direction over the frames from which an edge stands: a plain one on every frame."""
    passes_max: float = 0.6
    """Length up to which it passes by; noise on still edges lies between."""
    reach_ratio: float = 0.025
    """Distance, as a share of the short side, within which edges are one thing: two letters of a caption."""
    moving_min: float = 0.75
    """Share of the picture's edges that pass by from which what stands still can be told from the scene."""
    dense_min: float = 0.1
    """Share of standing edges in a box: edges that pass leave a few that agree by chance."""
    round_min: float = 0.15
    """Spread of directions: a horizon stands still under a pan, a mast under a tilt."""
    mark_ratio: float = 0.1
    """Largest box, as a share of the frame, that is left out of the picture whose edges are counted."""
    score_min: float = 0.2
    """Score from which a box is listed."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        images = shown(frames).images
        chosen = spread(len(images), float(self.most_frames), 1.0, self.most_frames)
        if len(chosen) < 2 or min(images.shape[1:3]) < self.side_min_px:
            return dict.fromkeys(self.columns.names) | {"overlay_moving_ratio": 0.0}
        grays = [state.cvtColor(images[i], state.COLOR_RGB2GRAY) for i in chosen]
        height, width = grays[0].shape
        reach_px = max(3, round(self.reach_ratio * min(height, width)) | 1)
        found = edges(state, grays, self.edge_level, self.stays_min, self.passes_max)
        marks = drawn(state, found, reach_px, self.dense_min, self.round_min)
        small = [mark for mark in marks if mark.area_px <= self.mark_ratio * height * width]
        ground = grid(state, found, 2 * reach_px, small)
        if ground.moving_ratio < self.moving_min:
            return dict.fromkeys(self.columns.names) | {"overlay_moving_ratio": ground.moving_ratio}
        boxes, covered = [], np.zeros((height, width), np.bool_)
        for mark in marks:
            score = ground.surety(mark)
            if score >= self.score_min:
                boxes.append(box(mark.corners, width, height, score))
            if score >= SURE:
                covered[mark.top : mark.bottom, mark.left : mark.right] = True
        return {
            "overlay_boxes": boxes,
            "overlay_area_ratio": float(covered.mean()),
            "overlay_moving_ratio": ground.moving_ratio,
        }
