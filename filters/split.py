"""Split screen and picture-in-picture: one picture put together of several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import one_thread_cv2, shown
from filters.boxes import BOX, box
from filters.signals.panels import Rect, Scene, change, edges, inset, panels
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage

KINDS = ("side_by_side", "stacked", "grid", "picture_in_picture")
"""What `split_kind` may be, but for None: one picture."""


@dataclass(frozen=True)
class Split(Stage):
    """How a clip's picture is put together, the panels, and how much of the weakest line between them is there.

    `split_score` is the share, over the line and over time, with a sharp edge: 0 without panels, 1 for a perfect line.
    Lines that stay are a split when they run through the frame and have a picture on both sides; a rectangle inset in
    the picture is one when what it shows changes, else it is a sign or a poster. See filters.signals.panels.
    """

    name = "split"
    columns = pa.schema(
        [
            pa.field("split_kind", pa.string()),
            pa.field("split_score", pa.float64()),
            pa.field("split_boxes", pa.list_(pa.struct(BOX))),
        ]
    )
    frames = VIEW

    line_min: float = 0.72
    """Support of a line through the frame: in footage the best reach 0.66."""
    short_min: float = 0.85
    """Support of a line through a panel."""
    side_min: float = 0.72
    """Support of each side of an inset: in footage the best with a changing content reach 0.66."""
    panel_min: float = 0.15
    """Least side of a panel, as a share of the frame's."""
    inset_min: float = 0.12
    """Least side of an inset, as a share of the frame's."""
    inset_most: float = 0.4
    """Largest area of an inset, as a share of the frame's."""
    change_min: float = 1.5
    """Mean luma levels from one frame to the next from which a panel shows video."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        batch = shown(frames)
        grays = np.stack([state.cvtColor(image, state.COLOR_RGB2GRAY) for image in batch.images])
        scene = Scene(grays, edges(state, list(grays)), self.line_min, self.short_min, self.side_min)
        kind, score, rects = self._layout(scene)
        height, width = grays.shape[1:]
        frame = int(batch.frames[0])
        boxes = [{"frame": frame, **box(rect, width, height, score)} for rect in rects]
        return {"split_kind": kind, "split_score": score, "split_boxes": boxes}

    def _layout(self, scene: Scene) -> tuple[str | None, float, list[Rect]]:
        rects, score, directions = panels(scene, self.panel_min)
        still = len(scene.grays) > 1 and max(change(scene, rect) for rect in rects) < self.change_min
        if directions and not still:
            kinds = {"across": "side_by_side", "down": "stacked"}
            return (kinds[directions.pop()] if len(directions) == 1 else "grid"), score, rects
        found = inset(scene, self.inset_min, self.inset_most)
        if found and change(scene, found[0]) >= self.change_min:
            return "picture_in_picture", found[1], [found[0]]
        return None, 0.0, []
