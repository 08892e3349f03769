"""Crop instead of drop: the largest rectangle without bars, subtitles and logos, and what is left on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.signals.rectangle import Box, area, largest, overlap
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage

CORNERS = ("crop_x0", "crop_y0", "crop_x1", "crop_y1")


@dataclass(frozen=True)
class Crop(Stage):
    """Corners of the rectangle as shares of the frame, and how much of the picture it keeps.

    Bars are cut away first; of the picture between them, the largest rectangle that meets no logo and no subtitle
    band, at most `max_stretch` wider or narrower than that picture. `crop_area_ratio` is its share of the frame,
    `crop_kept_ratio` of the picture between the bars, `crop_aspect_ratio` its aspect over that picture's;
    `crop_text_ratio` is the largest share of it that text still covers on a frame, `crop_away` what was cut. Where
    everything is covered the picture between the bars is given, with nothing kept. `crop_told` is false where a logo or
    a subtitle could not be told from the scene, as with a camera that stands still: one may be left. SkyReels-V2 crops
    these three at its 540p pool (arXiv 2504.13074); the rule for area and aspect is ours.
    """

    name = "crop"
    columns = pa.schema(
        [
            *(pa.field(corner, pa.float64()) for corner in CORNERS),
            pa.field("crop_area_ratio", pa.float64()),
            pa.field("crop_kept_ratio", pa.float64()),
            pa.field("crop_aspect_ratio", pa.float64()),
            pa.field("crop_text_ratio", pa.float64()),
            pa.field("crop_away", pa.list_(pa.string())),
            pa.field("crop_told", pa.bool_()),
        ]
    )
    requires = ("border", "text", "subtitle", "logo")

    max_stretch: float = 1.35
    """16:9 to 2.4:1 is 1.35: what a band of subtitles leaves of it."""
    margin_ratio: float = 0.008
    """Of the frame's sides, around a logo and the subtitles: shadows and coding noise. Three lines of 360."""

    logo_score_min: float = 0.5
    """Score from which a logo is cut away: at 0.5, about one clip in sixty without logos has one."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        border, text, logo = (clip.upstream[name] for name in ("border", "text", "logo"))
        whole: Box = (
            border["border_left_ratio"],
            border["border_top_ratio"],
            1 - border["border_right_ratio"],
            1 - border["border_bottom_ratio"],
        )
        band = self._band(clip.upstream["subtitle"])
        marks = [box for box in logo["logo_boxes"] or () if box["score"] >= self.logo_score_min]
        logos = [self._grown(_corners(box)) for box in marks]
        found = largest(whole, [*band, *logos], self.max_stretch)
        x0, y0, x1, y1 = kept = found or whole
        cut = {
            "border": area(whole) < 1,
            "subtitle": any(area(overlap(whole, box)) for box in band),
            "logo": any(area(overlap(whole, box)) for box in logos),
        }
        aspect = (x1 - x0) / (y1 - y0) / ((whole[2] - whole[0]) / (whole[3] - whole[1]))
        return {
            **dict(zip(CORNERS, kept, strict=True)),
            "crop_area_ratio": area(kept) if found else 0.0,
            "crop_kept_ratio": min(1.0, area(kept) / area(whole)) if found else 0.0,
            "crop_aspect_ratio": aspect,
            "crop_text_ratio": _covered(kept, text),
            "crop_away": [name for name, was in cut.items() if was],
            "crop_told": logo["logo_boxes"] is not None
            and clip.upstream["subtitle"]["subtitle_ratio"] is not None,
        }

    def _band(self, subtitle: Row) -> list[Box]:
        top, bottom = subtitle["subtitle_top_ratio"], subtitle["subtitle_bottom_ratio"]
        return [] if top is None or bottom is None else [self._grown((0.0, top, 1.0, bottom))]

    def _grown(self, box: Box) -> Box:
        by = self.margin_ratio
        return box[0] - by, box[1] - by, box[2] + by, box[3] + by


def _corners(box: Row) -> Box:
    return float(box["x0"]), float(box["y0"]), float(box["x1"]), float(box["y1"])


def _covered(kept: Box, text: Row) -> float:
    """The largest share of the rectangle that text covers on one of the frames looked at."""
    share = dict.fromkeys(text["text_frames"], 0.0)
    for box in text["text_boxes"]:
        share[box["frame"]] += area(overlap(kept, _corners(box))) / area(kept)
    return min(1.0, max(share.values(), default=0.0))
