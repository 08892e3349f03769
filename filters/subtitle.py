"""The subtitle band: lines of text, low or high in the middle, that lie over the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.base import one_thread_cv2, shown
from filters.signals.lettering import around, fullest_half, is_followed, lies, row_width, same_row
from filters.signals.places import Box, overlap_ratio
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Subtitle(Stage):
    """Share of the frames of `text_frames` with a line in the band, and the band's extent.

    A line counts where a subtitle is set: in the lower or upper third, centred, or over most of the width, as a
    news ticker. One such line must be seen to lie over the picture, in the frame that is looked at and the ones a
    second before and after: it stands while the ground moves, or comes and goes while the ground stands; or other words
    follow it at its height. The lines at that height are the band. `subtitle_top_ratio` and `subtitle_bottom_ratio` are
    null where there is none; all three are where a line is set like a subtitle and nothing tells it from a sign.
    """

    name = "subtitle"
    columns = pa.schema(
        {name: pa.float64() for name in ("subtitle_ratio", "subtitle_top_ratio", "subtitle_bottom_ratio")}
    )
    frames = VIEW
    requires = ("text", "overlay")

    band_ratio: float = 0.36
    """Height, from the bottom and the top, within which a subtitle's middle lies: a third, and half a line."""
    centred_ratio: float = 0.1
    """Distance of its middle from the frame's, as a share of the width ..."""
    wide_ratio: float = 0.75
    """... unless the lines at its height cover so much of the width: a ticker, that needs no other sign."""
    high_ratio: float = 0.12
    """Tallest line, as a share of the frame's height: more is a title."""
    longest_s: float = 8.0
    """Longest time that a subtitle is up (7 s in the BBC's guidelines): in a longer clip what stands is a mark."""
    edge_level: float = 6.0
    """Gradient, luma levels a pixel, of a letter's edge."""
    apart_min: float = 0.3
    """Difference of the shares of edges that stay, the line's and the ground's, from which one lies over the other."""
    goes_max: float = 0.3
    """Share up to which both go: a sign in the picture."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        text, overlay = clip.upstream["text"], clip.upstream["overlay"]
        boxes, tracks = text["text_boxes"], text["text_tracks"]
        marks = overlay["overlay_boxes"] or () if clip.duration_s > self.longest_s else ()
        lines = [line for line in boxes if self._is_set_like_one(line, boxes, marks)]
        seen = [around(state, line, boxes, shown(frames), self.edge_level) for line in lines]
        found = [lies(step, overlay["overlay_moving_ratio"], self.apart_min, self.goes_max) for step in seen]
        over = [
            line
            for line, place in zip(lines, found, strict=True)
            if place == "over" or row_width(line, lines) >= self.wide_ratio or is_followed(line, tracks)
        ]
        band = fullest_half([line for line in lines if any(same_row(line, other) for other in over)])
        if not band:
            return dict.fromkeys(self.columns.names) | {"subtitle_ratio": None if "untold" in found else 0.0}
        return {
            "subtitle_ratio": len({line["frame"] for line in band}) / len(text["text_frames"]),
            "subtitle_top_ratio": float(min(line["y0"] for line in band)),
            "subtitle_bottom_ratio": float(max(line["y1"] for line in band)),
        }

    def _is_set_like_one(self, line: Box, lines: Sequence[Box], marks: Sequence[Box]) -> bool:
        middle, centre = (line["y0"] + line["y1"]) / 2, (line["x0"] + line["x1"]) / 2
        return (
            min(middle, 1 - middle) <= self.band_ratio
            and line["y1"] - line["y0"] <= min(self.high_ratio, line["x1"] - line["x0"])
            and (abs(centre - 0.5) <= self.centred_ratio or row_width(line, lines) >= self.wide_ratio)
            and not any(overlap_ratio(line, mark) for mark in marks)
        )
