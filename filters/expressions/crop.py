"""The square around a face that a network of expressions wants to see."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from filters.base import Rgb, one_thread_cv2


def face_square(image: Rgb, face: Mapping[str, Any], side_px: int, scale: float, drop: float) -> Rgb:
    """(side_px, side_px, 3) around a face, its eyes on a level; what lies outside repeats the picture's edge.

    `scale` is the square's side over the longer side of the face's box, `drop` how much lower than the box's middle it
    lies, as a share of the box's height.
    """
    cv2 = one_thread_cv2()
    height, width = image.shape[:2]
    shares = np.array([face[name] for name in ("x0", "y0", "x1", "y1")])
    x0, y0, x1, y1 = (shares * (width, height, width, height)).tolist()
    eyes = np.reshape(face["landmarks"][:4], (2, 2)) * (width, height)
    turn_deg = math.degrees(math.atan2(*(eyes[1] - eyes[0])[::-1]))
    wanted_px = max(scale * max(x1 - x0, y1 - y0), 1.0)
    finer = max(
        1, math.ceil(wanted_px / side_px)
    )  # an affine map does not average: it makes the square larger first
    centre = (x0 + x1) / 2, (y0 + y1) / 2 + drop * (y1 - y0)
    matrix = cv2.getRotationMatrix2D(centre, turn_deg, finer * side_px / wanted_px)
    matrix[:, 2] += finer * side_px / 2 - np.array(centre)
    size = (finer * side_px, finer * side_px)
    square = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    small: Rgb = cv2.resize(square, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return small
