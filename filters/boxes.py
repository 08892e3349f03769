"""Boxes on a frame, as columns: corners as shares of the frame's width and height."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

NAMES = ("x0", "y0", "x1", "y1")
BOX = (
    pa.field("frame", pa.int64()),
    *(pa.field(name, pa.float32()) for name in NAMES),
    pa.field("score", pa.float32()),
)
"""Fields of a struct: the frame's index in the video, left, top, right, bottom, and the detector's score."""


def box(
    corners_px: tuple[float, float, float, float], width: int, height: int, score: float
) -> dict[str, float]:
    """The corner and score fields of BOX for corners in pixels; what lies outside the frame is cut off."""
    shares = np.asarray(corners_px) / np.array([width, height, width, height])
    values = np.array([*shares.clip(0, 1), score], np.float32).tolist()
    return dict(zip((*NAMES, "score"), values, strict=True))


def most_on_one(looked: Sequence[int], boxes: Sequence[Mapping[str, Any]]) -> int:
    """The most boxes on one of the frames looked at."""
    where = [box["frame"] for box in boxes]
    return max(where.count(frame) for frame in looked)
