"""What a pool's shards use of each picture, and the shape that this leaves: what decides a clip's bucket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.buckets import WHOLE, Crop

CLEAN = ("crop_x0", "crop_y0", "crop_x1", "crop_y1")
BORDER = ("border_left_ratio", "border_top_ratio", "border_right_ratio", "border_bottom_ratio")


def crop_of(row: Mapping[str, Any], kind: str) -> Crop:
    """The part of the picture that is used, by a recipe's `crop`; the whole where what it takes is not known."""
    corners = [row.get(name) for name in CLEAN]
    if kind == "clean" and not any(corner is None for corner in corners):
        x0, y0, x1, y1 = (float(corner or 0.0) for corner in corners)
        return (x0, y0, x1, y1)
    sides = [None if kind == "none" else row.get(name) for name in BORDER]
    if any(side is None for side in sides):
        return WHOLE
    left, top, right, bottom = (float(side or 0.0) for side in sides)
    return (left, top, 1 - right, 1 - bottom)


def shapes(rows: pa.Table, crop: str) -> Iterator[dict[str, Any]]:
    """For each row what pipeline.buckets.bucket_for asks of it."""
    for row in rows.to_pylist():
        yield {
            "duration_s": row["duration_s"],
            "fps": row["fps"],
            "width": row["width"],
            "height": row["height"],
            "crop": crop_of(row, crop),
            "is_image": row["is_image"],
        }
