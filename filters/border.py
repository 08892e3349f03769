"""The largest clean rectangle: what is left inside letterbox, pillarbox and coloured bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.base import Rgb, one_thread_cv2, shown
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage

SIDES = ("left", "right", "top", "bottom")
Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Border(Stage):
    """Width of the bar at each side, as a share of the frame's width or height, and the area left between them.

    A bar is one colour over its whole length and over all frames, and ends in a straight edge: just inside it, most
    of the line shows, in some frame, another colour. So a night sky, a white studio or a title card, whose end is
    ragged, is no bar, and neither is a dark scene. Bars of blurred picture are not found.
    """

    name = "border"
    columns = pa.schema(
        [
            *(pa.field(f"border_{side}_ratio", pa.float64()) for side in SIDES),
            pa.field("clean_area_ratio", pa.float64()),
        ]
    )
    frames = VIEW

    tolerance: int = 12
    """Levels by which any channel may leave the bar's colour: coding noise."""
    stray_share: float = 0.01
    """Share of a line's pixels that may do so."""
    edge_share: float = 0.6
    """Share of the line just inside that must differ from the bar for its end to be straight."""
    edge_px: int = 8
    """Lines of the 360-pixel view looked at just inside: a coding block, over which the picture spills into a bar."""
    margin_px: int = 1
    """Lines added to a bar that was found: its last one is mixed with the picture."""
    most: float = 0.45
    """Widest bar: more at one side is content."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        images = shown(frames).images
        edges = {
            "left": images[:, :, 0],
            "right": images[:, :, -1],
            "top": images[:, 0],
            "bottom": images[:, -1],
        }
        marks = {side: self._differs(state, images, edges[side]) for side in SIDES}
        # Each side's lines from the edge inwards.
        left, right, top, bottom = (marks[side] for side in SIDES)
        lines = {"left": left.T, "right": right.T[::-1], "top": top, "bottom": bottom[::-1]}
        widths = self._widths(lines)
        ratios = {side: widths[side] / len(lines[side]) for side in SIDES}
        clean = (1 - ratios["left"] - ratios["right"]) * (1 - ratios["top"] - ratios["bottom"])
        return {**{f"border_{side}_ratio": ratios[side] for side in SIDES}, "clean_area_ratio": clean}

    def _differs(self, cv2: Any, images: Rgb, edge: Rgb) -> Marks:
        """(height, width): in some frame, this pixel is not of the middle colour of the edge line (n, length, 3)."""
        colour = np.median(edge.reshape(-1, 3), axis=0)
        low, high = (tuple(float(c) for c in colour + sign * self.tolerance) for sign in (-1, 1))
        alike = cv2.inRange(images[0], low, high)
        for image in images[1:]:
            alike &= cv2.inRange(image, low, high)
        differs: Marks = alike == 0
        return differs

    def _widths(self, lines: Mapping[str, Marks]) -> dict[str, int]:
        """Pixels of bar at each side. A second round tests the ends between the bars that the first one found."""
        extents = {side: self._extent(lines[side]) for side in SIDES}
        bars = dict.fromkeys(SIDES, 0)
        for _ in range(2):
            bars = {
                side: self._end(side, lines[side], extents[side], bars) if extents[side] else 0
                for side in SIDES
            }
        return {side: width + self.margin_px if width else 0 for side, width in bars.items()}

    def _extent(self, lines: Marks) -> int:
        content = lines.mean(axis=1) > self.stray_share
        extent = int(content.argmax()) if content.any() else 0
        return extent if extent <= self.most * len(lines) else 0

    def _end(self, side: str, lines: Marks, extent: int, bars: Mapping[str, int]) -> int:
        """Where the bar ends: at the line that differs over half as much as it must; 0 when the end is ragged."""
        before, after = ("top", "bottom") if side in ("left", "right") else ("left", "right")
        inside = lines[extent : extent + self.edge_px, bars[before] : lines.shape[1] - bars[after]]
        if inside.any(axis=0).mean() < self.edge_share:
            return 0
        return extent + int((inside.mean(axis=1) >= self.edge_share / 2).argmax())
