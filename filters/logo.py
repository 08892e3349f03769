"""Logos and watermarks: small patterns that stay put while the picture moves, and are no subtitle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.boxes import BOX
from filters.signals.places import Box, area_ratio, bounds, covered_share, joined
from filters.signals.standing import SURE
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Logo(Stage):
    """Boxes of what `overlay` found, whole lines of text where it found a part, joined where they overlap.

    Opaque and half-transparent marks, drawn or written, in a corner or anywhere, one or tiled over the frame. Each has
    the score of `overlay`, and `logo_score` is the highest, 0 where there is none. `logo_count` counts those of 0.5 or
    more, `logo_area_ratio` is the share of the frame under these. All four are null where nothing can be said because
    the picture hardly moves. Marks within the bars that `border` found, and the band of `subtitle`, are left out.
    """

    name = "logo"
    columns = pa.schema(
        {
            "logo_boxes": pa.list_(pa.struct(BOX[1:])),
            "logo_score": pa.float64(),
            "logo_count": pa.int32(),
            "logo_area_ratio": pa.float64(),
        }
    )
    requires = ("overlay", "text", "border", "subtitle")

    largest_ratio: float = 0.25
    """Largest box, as a share of the frame: a mark over the middle of a stock video is half as wide and as high."""
    line_share: float = 0.3
    """Share of a line of text under a box from which all of the line belongs to it."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        upstream = clip.upstream
        stands = upstream["overlay"]["overlay_boxes"]
        if stands is None:
            return dict.fromkeys(self.columns.names)
        marks = [box for box in stands if area_ratio(box) <= self.largest_ratio]
        tracks = upstream["text"]["text_tracks"]
        whole = [self._with_lines(box, tracks) for box in marks]
        logos = [
            box
            for box in joined(whole)
            if not _is_in_bar(box, upstream["border"]) and not _is_in_band(box, tracks, upstream["subtitle"])
        ]
        sure = [box for box in logos if box["score"] >= SURE]
        return {
            "logo_boxes": logos,
            "logo_score": float(max((box["score"] for box in logos), default=0.0)),
            "logo_count": len(sure),
            "logo_area_ratio": min(1.0, sum(area_ratio(box) for box in sure)),
        }

    def _with_lines(self, box: Box, tracks: Sequence[Box]) -> Box:
        lines = [track for track in tracks if covered_share(track, box) >= self.line_share]
        return bounds([box, *lines], box["score"])


def _is_in_bar(box: Box, border: Mapping[str, float]) -> bool:
    across, down = (box["x0"] + box["x1"]) / 2, (box["y0"] + box["y1"]) / 2
    return not (
        border["border_left_ratio"] <= across <= 1 - border["border_right_ratio"]
        and border["border_top_ratio"] <= down <= 1 - border["border_bottom_ratio"]
    )


def _is_in_band(box: Box, tracks: Sequence[Box], subtitle: Mapping[str, float | None]) -> bool:
    """Whether a box is at the band's height, and in the middle of the frame or in a line that is: a subtitle's part."""
    top, bottom = subtitle["subtitle_top_ratio"], subtitle["subtitle_bottom_ratio"]
    if top is None or bottom is None:
        return False
    centred = [one for one in (box, *tracks) if one["x0"] < 0.5 < one["x1"] and covered_share(box, one) > 0]
    return bool(top <= (box["y0"] + box["y1"]) / 2 <= bottom and centred)
