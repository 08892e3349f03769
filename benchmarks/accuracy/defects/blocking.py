"""Block edges: each frame coded by itself in blocks of 8 x 8, as JPEG does."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures


def blocky(pictures: Pictures, fps: float, dice: np.random.Generator, quality: int) -> Pictures:
    """Every frame through JPEG at this quality of 100."""
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    coded = (cv2.imencode(".jpg", picture[..., ::-1], options)[1] for picture in pictures)
    return np.stack([cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) for data in coded])


DEFECTS = (
    Defect(
        "block edges",
        "artifacts",
        "blockiness",
        "high",
        {f"JPEG quality {quality}": partial(blocky, quality=quality) for quality in (30, 10)},
        1.2,
        "The blocks of H.264 and later are smoothed by their decoders, and those scaled after coding are off the grid.",
    ),
)
