"""Graphics that are laid over pictures: written lines and drawn marks, as colours and the opacity of each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.defect import Pictures


@dataclass(frozen=True, eq=False)
class Art:
    """A graphic: (height, width, 3) RGB, and (height, width) opacity from 0 to 1."""

    colours: npt.NDArray[np.uint8]
    opacity: npt.NDArray[np.float32]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.opacity.shape[1], self.opacity.shape[0]

    def crop(self, left: int, width: int) -> Art:
        """A part of it, of all its height."""
        return Art(self.colours[:, left : left + width], self.opacity[:, left : left + width])


def written(words: str, height_px: float, outline_px: int = 0) -> Art:
    """White words whose capitals are about `height_px` tall, with a black outline where one is wanted."""
    import cv2

    size, thick = height_px / 22, max(1, round(height_px / 9))
    (width, height), below = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
    pad = outline_px + 3
    shape = (height + below + 2 * pad, width + 2 * pad)
    colours, opacity = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    at, font = (pad, height + pad), cv2.FONT_HERSHEY_SIMPLEX
    if outline_px:
        cv2.putText(opacity, words, at, font, size, 255, thick + 2 * outline_px, cv2.LINE_AA)
    cv2.putText(opacity, words, at, font, size, 255, thick, cv2.LINE_AA)
    cv2.putText(colours, words, at, font, size, (255, 255, 255), thick, cv2.LINE_AA)
    if not outline_px:
        colours[:] = 255
    return Art(colours, opacity.astype(np.float32) / np.float32(255))


def badge(height_px: int) -> Art:
    """A channel's mark: a red disc with a white ring, and two letters."""
    import cv2

    width = round(2.2 * height_px)
    colours, opacity = np.full((height_px, width, 3), 255, np.uint8), np.zeros((height_px, width), np.uint8)
    middle, radius = (height_px // 2, height_px // 2), height_px // 2 - 1
    for ink, canvas in ((255, opacity), ((220, 30, 40), colours)):
        cv2.circle(canvas, middle, radius, ink, -1, cv2.LINE_AA)
    cv2.circle(colours, middle, radius // 2, (255, 255, 255), -1, cv2.LINE_AA)
    at, font = (height_px + 1, round(0.8 * height_px)), cv2.FONT_HERSHEY_DUPLEX
    cv2.putText(opacity, "TV", at, font, height_px / 34, 255, max(1, height_px // 12), cv2.LINE_AA)
    return Art(colours, opacity.astype(np.float32) / np.float32(255))


def smiley(side_px: int) -> Art:
    """A round yellow face with a white rim."""
    import cv2

    colours, opacity = np.full((side_px, side_px, 3), 255, np.uint8), np.zeros((side_px, side_px), np.uint8)
    half = side_px // 2
    cv2.circle(opacity, (half, half), half - 1, 255, -1, cv2.LINE_AA)
    cv2.circle(colours, (half, half), round(half * 0.88), (255, 210, 0), -1, cv2.LINE_AA)
    for side in (-1, 1):
        cv2.circle(
            colours, (half + side * half // 3, round(half * 0.75)), half // 7, (20, 20, 20), -1, cv2.LINE_AA
        )
    cv2.ellipse(colours, (half, round(half * 1.1)), (half // 2, half // 2), 0, 10, 170, (200, 20, 40), -1)
    return Art(colours, opacity.astype(np.float32) / np.float32(255))


def pasted(picture: Pictures, art: Art, left: float, top: float, opacity: float = 1.0) -> Pictures:
    """One picture with a graphic on it, its corner at these pixels, moved inside where it would stick out."""
    (width, height), (rows, columns) = art.size, picture.shape[:2]
    width, height = min(width, columns), min(height, rows)
    x, y = int(np.clip(left, 0, columns - width)), int(np.clip(top, 0, rows - height))
    whole: Pictures = picture.copy()
    under = whole[y : y + height, x : x + width].astype(np.float32)
    share = opacity * art.opacity[:height, :width, None]
    whole[y : y + height, x : x + width] = np.rint(under * (1 - share) + art.colours[:height, :width] * share)
    return whole
