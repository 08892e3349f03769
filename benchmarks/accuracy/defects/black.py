"""Black: a gap in the picture, all of it black or almost."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures


def gap(pictures: Pictures, fps: float, dice: np.random.Generator, share: float, level: int) -> Pictures:
    """Black from the start for a share of the frames, with the noise of a camera that has its cap on."""
    result = pictures.copy()
    black = result[: round(share * len(result))]
    black[:] = level + dice.integers(0, 5, black.shape[:3])[..., None]
    return result


DEFECTS = (
    Defect(
        "black gap",
        "black",
        "black_ratio",
        "high",
        {f"{share:.0%} of the clip": partial(gap, share=share, level=4) for share in (0.3, 0.6)},
        0.2,
        "Two samples a second: a gap shorter than half a second may fall between them.",
    ),
    Defect(
        "black gap, raised",
        "black",
        "black_ratio",
        "high",
        {"luma 16, 50% of the clip": partial(gap, share=0.5, level=16)},
        0.2,
    ),
)
