"""Out of focus: a Gaussian whose sigma is a share of the picture's height."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures


def soft(pictures: Pictures, fps: float, dice: np.random.Generator, share: float) -> Pictures:
    """Every frame blurred alike."""
    import cv2

    sigma_px = share * pictures.shape[1]
    return np.stack([cv2.GaussianBlur(picture, (0, 0), sigma_px) for picture in pictures])


SOFT = {f"sigma of {share:.1%} of the height": partial(soft, share=share) for share in (0.002, 0.006)}

DEFECTS = (
    Defect("out of focus, by re-blurring", "blur", "blur_effect", "high", SOFT, 0.45),
    Defect(
        "out of focus, by BRISQUE",
        "image_quality",
        "iqa_score",
        "low",
        SOFT,
        55.0,
        "Drawn pictures and soft backgrounds score low when nothing is wrong: compare clips of one kind.",
    ),
)
