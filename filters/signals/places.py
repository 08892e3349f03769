"""Areas of boxes on a frame, shared and joint: boxes are mappings with the corners of filters.boxes.NAMES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from filters.boxes import NAMES

Box = Mapping[str, Any]


def area_ratio(box: Box) -> float:
    """Area of a box as a share of the frame."""
    return float((box["x1"] - box["x0"]) * (box["y1"] - box["y0"]))


def shared_ratio(one: Box, two: Box) -> float:
    """Area that two boxes share, as a share of the frame."""
    width = min(one["x1"], two["x1"]) - max(one["x0"], two["x0"])
    height = min(one["y1"], two["y1"]) - max(one["y0"], two["y0"])
    return float(max(0.0, width) * max(0.0, height))


def overlap_ratio(one: Box, two: Box) -> float:
    """Shared area of two boxes over their joint area, 0 to 1."""
    shared = shared_ratio(one, two)
    return shared / (area_ratio(one) + area_ratio(two) - shared) if shared > 0 else 0.0


def covered_share(box: Box, cover: Box) -> float:
    """How much of a box another one covers, 0 to 1."""
    shared = shared_ratio(box, cover)
    return shared / area_ratio(box) if shared > 0 else 0.0


def bounds(boxes: Sequence[Box], score: float) -> dict[str, Any]:
    """The box around some, with a score of its own."""
    low = {name: min(box[name] for box in boxes) for name in NAMES[:2]}
    high = {name: max(box[name] for box in boxes) for name in NAMES[2:]}
    return {**low, **high, "score": score}


def joined(boxes: Sequence[Box]) -> list[Box]:
    """Boxes that share no ground: those that do become the one around them, again and again, with the highest score."""
    apart: list[Box] = []
    for box in boxes:
        grown: Box = box
        while touching := [other for other in apart if shared_ratio(grown, other) > 0]:
            apart = [other for other in apart if other not in touching]
            grown = bounds([*touching, grown], max(box["score"] for box in (*touching, grown)))
        apart.append(grown)
    return apart
