"""The picture without the bars around it."""

from __future__ import annotations

from typing import Any

from filters.base import Rgb
from pipeline.stage import Row

LEAST_PX = 16
"""Side that must be left: below it there is nothing to see."""


def within_bars(image: Rgb, border: Row) -> Rgb:
    """The part of a picture inside the bars that the `border` stage has found; all of it when too little is left."""
    height, width = image.shape[:2]
    left, right = _pixels(border["border_left_ratio"], width), _pixels(border["border_right_ratio"], width)
    top, bottom = _pixels(border["border_top_ratio"], height), _pixels(border["border_bottom_ratio"], height)
    if width - left - right < LEAST_PX or height - top - bottom < LEAST_PX:
        return image
    return image[top : height - bottom, left : width - right]


def _pixels(share: Any, length: int) -> int:
    return round((share or 0.0) * length)
