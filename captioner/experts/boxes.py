"""What the experts share: detections as boxes, frame by frame, and rows as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from captioner.concepts import TYPE_OF
from pipeline.stage import Row


@dataclass(frozen=True)
class Box:
    """One detection; corners are shares of the frame's width and height, 0 to 1."""

    frame: int
    label: str
    score: float
    x0: float
    y0: float
    x1: float
    y1: float
    landmarks: tuple[float, ...] = ()
    """For a face: x, y of right eye, left eye, nose tip, right and left mouth corner, as shares of the frame."""

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * self.height

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def overlap(self, other: Box) -> float:
        """Intersection over union."""
        wide = min(self.x1, other.x1) - max(self.x0, other.x0)
        high = min(self.y1, other.y1) - max(self.y0, other.y0)
        shared = max(wide, 0.0) * max(high, 0.0)
        return shared / max(self.area + other.area - shared, 1e-12)

    def holds(self, point: tuple[float, float]) -> bool:
        return self.x0 <= point[0] <= self.x1 and self.y0 <= point[1] <= self.y1


def face_boxes(faces: Row) -> list[Box]:
    """The faces stage's row as boxes labelled "face"."""
    return [_box(one, "face", one["landmarks"]) for one in faces["faces"]]


def object_boxes(objects: Row) -> list[Box]:
    """The objects stage's row as boxes with COCO labels."""
    return [_box(one, one["label"], ()) for one in objects["objects"]]


def human_faces(faces: Sequence[Box], objects: Sequence[Box]) -> list[Box]:
    """The faces less those on an animal: in its box and in no person's of that frame."""
    return [face for face in faces if _around(face, objects, "Human") or not _around(face, objects, "Animal")]


def _around(face: Box, objects: Sequence[Box], kind: str) -> bool:
    around = (box for box in objects if box.frame == face.frame and box.holds(face.centre))
    return any(TYPE_OF[box.label] == kind for box in around)


def largest(boxes: Sequence[Box], frame: int) -> Box | None:
    """The box of the largest area on a frame; the first of equals."""
    return max((box for box in boxes if box.frame == frame), key=lambda box: box.area, default=None)


def stored(columns: pa.Schema, row: Row) -> Row:
    """The row as a table gives it back: a reader sees the same numbers before and after they were stored."""
    kept: Row = pa.Table.from_pylist([row], schema=columns).to_pylist()[0]
    return kept


def _box(one: Row, label: str, landmarks: Sequence[float]) -> Box:
    """Through float32: the same value whether it was just measured or read from Parquet."""
    numbers = [one[name] for name in ("score", "x0", "y0", "x1", "y1")]
    score, x0, y0, x1, y1, *points = np.asarray([*numbers, *landmarks], np.float32).tolist()
    return Box(one["frame"], label, score, x0, y0, x1, y1, tuple(points))
