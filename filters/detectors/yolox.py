"""YOLOX (Ge et al. 2021) on onnxruntime: a picture in, boxes with a class and a score out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Rgb, one_thread_cv2

STRIDES = (8, 16, 32)
Boxes = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Detection:
    """One box, in pixels of the picture: left, top, right, bottom."""

    corners_px: tuple[float, float, float, float]
    label: int
    score: float


class Yolox:
    """A detector with square input; pictures are scaled into its top left corner and padded with gray 114."""

    def __init__(self, session: Any) -> None:
        self._cv2 = one_thread_cv2()
        self._session = session
        self._input = session.get_inputs()[0].name
        self._side_px = int(session.get_inputs()[0].shape[-1])

    def detect(self, image: Rgb, score_min: float, overlap_max: float) -> list[Detection]:
        """Boxes of at least a score (objectness times class), best first; of two boxes of one class whose
        intersection over union passes `overlap_max`, the weaker is dropped."""
        height, width = image.shape[:2]
        scale = self._side_px / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        padded = np.full((self._side_px, self._side_px, 3), 114, np.uint8)
        padded[: size[1], : size[0]] = self._cv2.resize(
            image[..., ::-1], size, interpolation=self._cv2.INTER_LINEAR
        )
        tensor = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32)
        (raw,) = self._session.run(None, {self._input: tensor})[0]
        boxes, scores, classes = _decoded(raw, self._side_px, score_min)
        found = []
        for i in _suppressed(boxes, scores, classes, overlap_max):
            x0, y0, x1, y1 = (boxes[i] / scale).tolist()
            found.append(Detection((x0, y0, x1, y1), int(classes[i]), float(scores[i])))
        return found


def _decoded(raw: Boxes, side_px: int, score_min: float) -> tuple[Boxes, Boxes, Classes]:
    """Corner boxes in pixels of the input, scores and classes of the cells that reach the score."""
    counts = [side_px // stride for stride in STRIDES]
    grid = np.concatenate(
        [np.stack(np.meshgrid(np.arange(n), np.arange(n)), -1).reshape(-1, 2) for n in counts]
    )
    stride = np.repeat(STRIDES, [n * n for n in counts])[:, None]
    all_scores = raw[:, 4:5] * raw[:, 5:]
    best = all_scores.max(axis=1)
    keep = best >= score_min
    centre = (raw[keep, :2] + grid[keep]) * stride[keep]
    half = np.exp(raw[keep, 2:4]) * stride[keep] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    return boxes, best[keep], all_scores[keep].argmax(axis=1)


def _suppressed(boxes: Boxes, scores: Boxes, classes: Classes, overlap_max: float) -> list[int]:
    """Indices of the boxes that no better box of their class overlaps, best first."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        rivals = [k for k in kept if classes[k] == classes[i]]
        if all(_overlap(boxes[k], boxes[i]) <= overlap_max for k in rivals):
            kept.append(i)
    return kept


def _overlap(a: Boxes, b: Boxes) -> float:
    """Intersection over union of two boxes."""
    shared = float(np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).prod())
    union = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - shared
    return shared / union if union else 0.0
