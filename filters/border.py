"""The largest clean rectangle: what is left inside letterbox, pillarbox, coloured and blurred bars."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import pyarrow as pa

from filters.base import one_thread_cv2, shown
from filters.signals.bars import SIDES, Rules, blurred, plain
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Border(Stage):
    """Width of the bar at each side, as a share of the frame's width or height, and the area left between them.

    A bar is one colour over its whole length and over all frames, and ends in a straight edge: just inside it, most
    of the line shows, in some frame, another colour. So a night sky, a white studio or a title card, whose end is
    ragged, is no bar, and neither is a dark scene. Writing may stand on a bar where both ends of its lines are clean.
    Bars may also be filled with a blurred, enlarged copy of the picture between them: they have little detail, end in
    a step, and are alike to that copy. `border_kind` is "none", "plain" or "blurred".
    """

    name = "border"
    version = 2
    columns = pa.schema(
        [
            *(pa.field(f"border_{side}_ratio", pa.float64()) for side in SIDES),
            pa.field("clean_area_ratio", pa.float64()),
            pa.field("border_kind", pa.string()),
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
    text_most: float = 0.14
    """Lines of a bar, as a share of the frame's, that may have writing in their middle: two lines of subtitles."""
    blur_most: float = 0.45
    """Detail of a blurred bar's lines, at most this share of the picture's."""
    alike_min: float = 0.6
    """Correlation of blurred bars with the picture's enlarged copy."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        images = shown(frames).images
        height, width = images.shape[1:3]
        rules, kind = Rules(*astuple(self)), "plain"
        bars = plain(state, images, rules)
        if not any(bars.values()):
            bars = blurred(state, images, rules)
            kind = "blurred" if any(bars.values()) else "none"
        ratios = {side: bars[side] / (width if side in ("left", "right") else height) for side in SIDES}
        clean = (1 - ratios["left"] - ratios["right"]) * (1 - ratios["top"] - ratios["bottom"])
        return {
            **{f"border_{side}_ratio": ratios[side] for side in SIDES},
            "clean_area_ratio": clean,
            "border_kind": kind,
        }
