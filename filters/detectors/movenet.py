"""MoveNet MultiPose Lightning (Google 2021, TensorFlow Hub): a picture in, up to six people with 17 points out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.base import Rgb, one_thread_cv2
from filters.detectors.litert import LiteModel

STRIDE = 32
"""Sides of the input are multiples of it."""


@dataclass(frozen=True, eq=False)
class Pose:
    """One person: left, top, right, bottom in pixels of the picture, and the points."""

    corners_px: tuple[float, float, float, float]
    score: float
    points: npt.NDArray[np.float32]
    """(17, 3) x and y shares of the picture and score, in the order of COCO's keypoints: nose, eyes, ears, shoulders,
    elbows, wrists, hips, knees, ankles, each the person's left before the right."""


class MoveNet:
    """A detector whose input keeps the picture's aspect; its longer side has `long_side_px`, the rest is black."""

    def __init__(self, model: LiteModel, long_side_px: int) -> None:
        self._cv2 = one_thread_cv2()
        self._model = model
        self._long_side_px = long_side_px

    def detect(self, image: Rgb, score_min: float) -> list[Pose]:
        """People of at least a score, best first."""
        height, width = image.shape[:2]
        scale = self._long_side_px / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        wide, tall = (-(-side // STRIDE) * STRIDE for side in size)
        padded = np.zeros((1, tall, wide, 3), np.uint8)
        padded[0, : size[1], : size[0]] = self._cv2.resize(image, size, interpolation=self._cv2.INTER_AREA)
        people = self._model.run(padded)[0]  # (6, 56): 17 of y, x, score; top, left, bottom, right; score
        to_share = np.array([wide / size[0], tall / size[1]], np.float32)
        found = []
        for row in people[np.argsort(-people[:, 55], kind="stable")]:
            if row[55] >= score_min:
                points = row[:51].reshape(17, 3)[:, [1, 0, 2]] * np.append(to_share, np.float32(1))
                top, left, bottom, right = (row[51:55] * np.tile(to_share[::-1], 2)).tolist()
                corners = left * width, top * height, right * width, bottom * height
                found.append(Pose(corners, float(row[55]), points))
        return found
