"""The camera's part of a flow field: one similarity transform that most of the picture follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Gray

Field = npt.NDArray[np.float32]
MIN_POINTS = 12
"""Textured points that a model needs; with fewer it stands still with an inlier share of 0."""


@dataclass(frozen=True, eq=False)
class Textured:
    """The points of a grid around which a picture has texture."""

    points_px: npt.NDArray[np.int64]
    """(n, 2) x and y."""
    level: Field
    """(n,) see `gradient`."""
    share: float
    """Of the grid's points."""


@dataclass(frozen=True)
class CameraModel:
    """What the content did between two frames, about the frame's centre."""

    dx_px: float
    dy_px: float
    zoom: float
    """Growth: 0.01 is 1 % larger."""
    roll_deg: float
    """Clockwise."""
    inlier_share: float
    """Of the textured points."""
    shift_px: float
    """Mean length of the model's flow over the whole frame."""
    residual_px: float
    """Mean length, over textured points, of the flow that the model does not explain."""
    textured: Textured


def fit(
    cv2: Any, image: Gray, flow: Field, grid_px: int, inlier_px: float, texture_level: float
) -> CameraModel:
    """The similarity transform of a dense flow (height, width, 2), by RANSAC (Fischler & Bolles 1981).

    It is fitted on a grid of points around which `image` has texture, for the flow of flat areas is a guess.
    """
    height, width = image.shape
    ys, xs = np.mgrid[grid_px // 2 : height : grid_px, grid_px // 2 : width : grid_px]
    points = np.stack([xs - (width - 1) / 2, ys - (height - 1) / 2], -1).reshape(-1, 2).astype(np.float32)
    moves = flow[ys, xs].reshape(-1, 2)
    texture = gradient(cv2, image)[ys, xs].reshape(-1)
    textured = texture >= texture_level
    matrix, inlier_share = np.eye(2, 3), 0.0
    if textured.sum() >= MIN_POINTS:
        found, follows = cv2.estimateAffinePartial2D(
            points[textured],
            (points + moves)[textured],
            method=cv2.RANSAC,
            ransacReprojThreshold=inlier_px,
            maxIters=200,
            confidence=0.99,
        )
        if found is not None:
            matrix, inlier_share = found, float(follows.mean())
    expected = points @ matrix[:, :2].T + matrix[:, 2] - points
    left = np.hypot(*(moves - expected)[textured].T)
    return CameraModel(
        dx_px=float(matrix[0, 2]),
        dy_px=float(matrix[1, 2]),
        zoom=float(np.hypot(matrix[0, 0], matrix[1, 0])) - 1,
        roll_deg=float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))),
        inlier_share=inlier_share,
        shift_px=float(np.hypot(*expected.T).mean()),
        residual_px=float(left.mean()) if left.size else 0.0,
        textured=Textured(
            np.stack([xs, ys], -1).reshape(-1, 2)[textured], texture[textured], float(textured.mean())
        ),
    )


def gradient(cv2: Any, image: Gray) -> Field:
    """Mean absolute gradient, in levels a pixel, over the 9 x 9 pixels around each pixel."""
    across = cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=1 / 8)
    mean: Field = cv2.blur(np.abs(across) + np.abs(down), (9, 9))
    return mean


def quantile(values: npt.NDArray[np.floating], share: float) -> float:
    """The value that this share of the (n,) values lies below: the nearest rank, a tenth of the time of np.quantile."""
    rank = round(share * (len(values) - 1))
    return float(np.partition(values, rank)[rank])
