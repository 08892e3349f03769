"""Faults rendered into good clips: known bad items, to see how many of the bad ones reviewers find."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""(height, width, 3) RGB."""
Places = npt.NDArray[np.float64]
"""Rows or columns, 0 to 1."""
Flags = npt.NDArray[np.bool_]
BLACK_S = 0.5
"""Long enough to be seen at normal speed, short enough to be missed by who does not look. Ours."""
LOGO_RATIO = 0.16
"""Height of the mark by the picture's shorter side: about a broadcaster's. Ours."""


def black_frames(times_s: npt.NDArray[np.float64], at: float) -> tuple[int, int]:
    """The frames [first, end) that a black run covers: BLACK_S around the ratio `at` of the clip, a third of it at
    most, one frame at least.

    `times_s`: (n + 1,) seconds from the clip's start to each frame and to the end of the last.
    """
    length_s = float(times_s[-1])
    run_s = min(BLACK_S, length_s / 3)
    start_s = min(max(at * length_s - run_s / 2, 0.0), length_s - run_s)
    first = min(int(np.searchsorted(times_s, start_s)), len(times_s) - 2)
    end = int(np.searchsorted(times_s, start_s + run_s))
    return first, max(first + 1, min(end, len(times_s) - 1))


def marked(picture: Picture, kind: int) -> Picture:
    """The picture with a half transparent mark in one of its corners; `kind` chooses among corners and shapes, so that
    nobody learns to look for one."""
    height, width = picture.shape[:2]
    side = max(8, round(min(height, width) * LOGO_RATIO))
    margin = side // 4
    top = margin if kind & 1 else max(0, height - side - margin)
    left = margin if kind & 2 else max(0, width - side - margin)
    corner = picture[top : top + side, left : left + side].astype(np.float32)
    rows, columns = np.mgrid[: corner.shape[0], : corner.shape[1]] / side
    mark = SHAPES[kind // 4 % len(SHAPES)](rows, columns)
    corner[mark] = corner[mark] * 0.35 + 255 * 0.65
    made = picture.copy()
    made[top : top + side, left : left + side] = corner.round().astype(np.uint8)
    return made


def _eye(rows: Places, columns: Places) -> Flags:
    """A disc in a ring over a bar."""
    distance = np.hypot(rows - 0.42, columns - 0.5)
    return (distance < 0.2) | ((distance > 0.29) & (distance < 0.37)) | (rows > 0.88)


def _letters(rows: Places, columns: Places) -> Flags:
    """Three upright strokes and one across, in the lower half."""
    across = (rows > 0.68) & (rows < 0.78)
    return (rows > 0.5) & ((columns % 0.36 < 0.13) | across)


def _flag(rows: Places, columns: Places) -> Flags:
    """A frame with a triangle in it."""
    rim = np.minimum(np.minimum(rows, 1 - rows), np.minimum(columns, 1 - columns)) < 0.09
    return rim | ((columns > 0.3) & (np.abs(rows - 0.5) < (0.8 - columns) * 0.55))


SHAPES = (_eye, _letters, _flag)


def fitted(picture: Picture, width: int, height: int) -> Picture:
    """The picture scaled to cover width x height and cut to it about its centre."""
    import cv2

    scale = max(width / picture.shape[1], height / picture.shape[0])
    wide, high = max(width, round(picture.shape[1] * scale)), max(height, round(picture.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(picture, (wide, high), interpolation=how)
    top, left = (high - height) // 2, (wide - width) // 2
    return np.asarray(scaled[top : top + height, left : left + width], dtype=np.uint8)
