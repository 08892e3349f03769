"""Borders: plain bars, bars with subtitles, and bars filled with a blurred copy of the picture."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures

NARROW = 9 / 16
"""Aspect of a telephone's video."""


def letterbox(pictures: Pictures, fps: float, dice: np.random.Generator, share: float) -> Pictures:
    """Black over this share of the height at the top and at the bottom."""
    result = pictures.copy()
    bar = round(share * result.shape[1])
    result[:, :bar] = result[:, result.shape[1] - bar :] = 0
    return result


def pillarbox(pictures: Pictures, fps: float, dice: np.random.Generator, level: int) -> Pictures:
    """Gray of this level left and right of the picture's middle 4:3."""
    result = pictures.copy()
    height, width = result.shape[1:3]
    bar = max(width // 12, (width - height * 4 // 3) // 2)
    result[:, :, :bar] = result[:, :, width - bar :] = level
    return result


def subtitled(pictures: Pictures, fps: float, dice: np.random.Generator, share: float) -> Pictures:
    """Letterboxed, with a line of writing on the lower bar in the second half of the clip."""
    import cv2

    result = letterbox(pictures, fps, dice, share)
    frames, height, width = result.shape[:3]
    size, at = width / 900, (width * 3 // 10, height - round(share * height * 0.35))
    for picture in result[frames // 2 :]:
        cv2.putText(
            picture, "and so it begins", at, cv2.FONT_HERSHEY_SIMPLEX, size, (235,) * 3, 2, cv2.LINE_AA
        )
    return result


def blurred_fill(pictures: Pictures, fps: float, dice: np.random.Generator, dim: float) -> Pictures:
    """The picture's middle, as narrow as a telephone's, before a blurred copy of itself that covers the frame."""
    import cv2

    height, width = pictures.shape[1:3]
    wide = min(round(height * NARROW), width * 3 // 5) // 2 * 2
    left = (width - wide) // 2
    tall = wide * height // width
    result = pictures.copy()
    for picture in result:
        inside = picture[:, left : left + wide].copy()
        part = inside[(height - tall) // 2 : (height - tall) // 2 + tall]
        # Blurring a small copy is as good, and quick.
        small = cv2.GaussianBlur(cv2.resize(part, (96, 54), interpolation=cv2.INTER_AREA), (0, 0), 3)
        fill = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        picture[:] = (fill * dim).astype(np.uint8)
        picture[:, left : left + wide] = inside
    return result


DEFECTS = (
    Defect(
        "letterbox",
        "border",
        "clean_area_ratio",
        "low",
        {f"{share:.0%} of the height": partial(letterbox, share=share) for share in (0.06, 0.125)},
        0.97,
        "Dark footage that is black beside the bars has a ragged end there, and no bar.",
    ),
    Defect(
        "pillarbox",
        "border",
        "clean_area_ratio",
        "low",
        {f"level {level}": partial(pillarbox, level=level) for level in (0, 128)},
        0.97,
    ),
    Defect(
        "letterbox with subtitles",
        "border",
        "clean_area_ratio",
        "low",
        {"12% of the height": partial(subtitled, share=0.12)},
        0.85,
        "Above the threshold, only one of the two bars was seen. Writing that reaches a bar's ends hides it.",
    ),
    Defect(
        "blurred fill",
        "border",
        "clean_area_ratio",
        "low",
        {"dimmed to 60%": partial(blurred_fill, dim=0.6), "as bright": partial(blurred_fill, dim=1.0)},
        0.9,
        "Only where the picture is in the middle; pictures without detail hide it.",
    ),
)
