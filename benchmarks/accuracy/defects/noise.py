"""Sensor noise: Gaussian, independent from pixel to pixel and from frame to frame."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures


def grain(pictures: Pictures, fps: float, dice: np.random.Generator, sigma: float) -> Pictures:
    """Luma noise of this standard deviation in levels."""
    rendered = np.empty_like(pictures)
    for picture, target in zip(pictures, rendered, strict=True):
        noise = dice.standard_normal(picture.shape[:2], np.float32)[..., None] * sigma
        np.clip(picture + noise, 0, 255, out=target, casting="unsafe")
    return rendered


DEFECTS = (
    Defect(
        "noise",
        "artifacts",
        "noise_sigma",
        "high",
        {f"sigma of {sigma} levels": partial(grain, sigma=sigma) for sigma in (4, 12)},
        2.0,
        "Coding takes noise away: what is left of it is measured.",
        leave_out=("grain",),
    ),
)
