"""YuNet (Wu et al. 2023) in OpenCV: a picture in, faces with five landmarks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from filters.base import Rgb, one_thread_cv2
from filters.boxes import box


class Yunet:
    """OpenCV's detector of faces, on pictures made smaller to a short side of so many pixels."""

    def __init__(self, detector: Any, short_side_px: int) -> None:
        self._cv2 = one_thread_cv2()
        self._detector = detector
        self._short_side_px = short_side_px

    def detect(self, image: Rgb) -> list[dict[str, Any]]:
        """Corners and score of `filters.boxes.box` and ten `landmarks` of each face, largest first.

        The landmarks are x and y shares of the person's right eye, left eye, nose tip, right and left mouth corner.
        """
        factor = min(1.0, self._short_side_px / min(image.shape[:2]))
        area = self._cv2.INTER_AREA
        small = self._cv2.resize(image[..., ::-1], None, fx=factor, fy=factor, interpolation=area)
        height, width = small.shape[:2]
        self._detector.setInputSize((width, height))
        found = self._detector.detect(small)[1]  # x, y, width, height, five landmarks, score
        faces = []
        for row in [] if found is None else sorted(found.tolist(), key=lambda row: (-row[2] * row[3], row)):
            corners = (row[0], row[1], row[0] + row[2], row[1] + row[3])
            points = np.array(row[4:14], np.float32) / np.tile(np.array([width, height], np.float32), 5)
            faces.append({**box(corners, width, height, row[14]), "landmarks": points.tolist()})
        return faces


def load_yunet(model: Path, score_min: float, short_side_px: int) -> Yunet:
    """The detector on a model file, of faces that reach a score."""
    cv2 = one_thread_cv2()
    # It warns of every load of a network.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    return Yunet(cv2.FaceDetectorYN.create(str(model), "", (320, 320), score_min), short_side_px)
