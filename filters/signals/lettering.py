"""Whether a line of text lies over the picture: one of the two stands while the other moves or changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from filters.base import Rgb
from filters.signals.places import Box
from filters.signals.standing import edges
from pipeline.stage import FrameBatch

Lies = Literal["over", "within", "untold"]
STAYS_MIN, PASSES_MAX = 0.92, 0.75
"""Two edges agree within 46 degrees, and pass from 83 on or when one frame alone has an edge there. Ours."""


@dataclass(frozen=True)
class Surround:
    """Shares of the edges that stay from one frame to another, of a line's and of its ground's; None: too few."""

    line_stays: float | None
    ground_stays: float | None


def lies(before_after: Sequence[Surround], moving_ratio: float, apart_min: float, goes_max: float) -> Lies:
    """Over the picture when line and ground stay apart by `apart_min`; in it when both stay at most `goes_max`.

    They are apart in one step, or the line changes in one of two steps and not in the other, more than the ground
    does. The clip's `moving_ratio` speaks for a ground without edges of its own, such as a bar or the sky.
    """
    told = [
        (one.line_stays, 1 - moving_ratio if one.ground_stays is None else one.ground_stays)
        for one in before_after
        if one.line_stays is not None
    ]
    if any(abs(line - ground) >= apart_min for line, ground in told):
        return "over"
    if len(told) == 2:
        (line, ground), (line_after, ground_after) = told
        if abs(line - line_after) - abs(ground - ground_after) >= apart_min:
            return "over"
    return "within" if any(max(step) <= goes_max for step in told) else "untold"


def surround(cv2: Any, one: Rgb, other: Rgb, line: Box, lines: Sequence[Box], level: float) -> Surround:
    """What becomes of the edges in a line's box, and of those above and below, from a frame to one a second away.

    The ground is twice the line's height above the box and below it, as wide as the frame, but for `lines`. `level` is
    an edge's gradient in luma levels a pixel.
    """
    height, width = one.shape[:2]
    top, bottom = round(line["y0"] * height), max(round(line["y0"] * height) + 1, round(line["y1"] * height))
    reach = max(2, 2 * (bottom - top))
    y = max(0, top - reach)
    grays = [cv2.cvtColor(image[y : bottom + reach], cv2.COLOR_RGB2GRAY) for image in (one, other)]
    found = edges(cv2, grays, level, STAYS_MIN, PASSES_MAX)
    inside = slice(top - y, bottom - y), slice(round(line["x0"] * width), round(line["x1"] * width))
    words = [float(part[inside].sum()) for part in (found.stays, found.passes)]
    for row in (line, *lines):
        rows = slice(max(0, round(row["y0"] * height) - y - 2), max(0, round(row["y1"] * height) - y + 2))
        found.stays[rows] = found.passes[rows] = 0
    ground = [float(part.sum()) for part in (found.stays, found.passes)]
    line_stays, ground_stays = (
        stays / (stays + passes) if stays + passes >= bottom - top else None
        for stays, passes in (words, ground)
    )
    return Surround(line_stays, ground_stays)


def around(cv2: Any, line: Box, lines: Sequence[Box], batch: FrameBatch, level: float) -> list[Surround]:
    """What becomes of a line to the frame before its own and to the one after, as far as there are such."""
    at = int(np.searchsorted(batch.frames, line["frame"]))
    here = [other for other in lines if other["frame"] == line["frame"]]
    near = [batch.images[i] for i in (at - 1, at + 1) if 0 <= i < len(batch.images)]
    return [surround(cv2, batch.images[at], image, line, here, level) for image in near]


def same_row(one: Box, other: Box) -> bool:
    """Whether two lines share over half of the lower one's height: one baseline, letters with and without tails."""
    shared = min(one["y1"], other["y1"]) - max(one["y0"], other["y0"])
    return bool(shared > 0.5 * min(one["y1"] - one["y0"], other["y1"] - other["y0"]))


def is_followed(line: Box, tracks: Sequence[Box]) -> bool:
    """Whether other words stand at a line's height on an earlier or later frame; `tracks` are rows of tracks.TRACK."""
    apart = [track for track in tracks if not track["first"] <= line["frame"] <= track["last"]]
    return any(same_row(line, track) and _overlaps_across(line, track) for track in apart)


def _overlaps_across(one: Box, other: Box) -> bool:
    return bool(max(one["x0"], other["x0"]) < min(one["x1"], other["x1"]))


def row_width(line: Box, lines: Sequence[Box]) -> float:
    """Share of the frame's width that the lines at a line's height cover on its frame."""
    row = [other for other in lines if other["frame"] == line["frame"] and same_row(line, other)]
    return float(sum(other["x1"] - other["x0"] for other in row))


def fullest_half(lines: Sequence[Box]) -> list[Box]:
    """The lines of the half of the frame, lower or upper, that shows some on more frames; the lower one of equals."""
    lower, upper = ([line for line in lines if (line["y0"] + line["y1"] > 1) is low] for low in (True, False))
    return upper if len({line["frame"] for line in upper}) > len({line["frame"] for line in lower}) else lower
