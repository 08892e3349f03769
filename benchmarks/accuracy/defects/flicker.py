"""Pumping light: every frame's brightness is off by chance."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures


def pumping(pictures: Pictures, fps: float, dice: np.random.Generator, deviation: float) -> Pictures:
    """Each frame's levels times a Gaussian gain around 1."""
    gains = 1 + deviation * dice.standard_normal(len(pictures))
    return np.stack(
        [
            np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8)[picture]
            for picture, gain in zip(pictures, gains, strict=True)
        ]
    )


DEFECTS = (
    Defect(
        "flicker",
        "flicker",
        "flicker_score",
        "high",
        {f"gain off by {share:.0%}": partial(pumping, deviation=share) for share in (0.02, 0.05)},
        0.004,
        "Luma of full range: the same gain is less visible, and measures less, in a dark picture.",
    ),
)
