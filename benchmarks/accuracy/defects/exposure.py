"""Too much light, too little, and too little of contrast and colour."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures

GAMMA = 2.2
"""Of display: a stop is a factor of two in light, of 2 ** (1 / 2.2) in luma."""


def exposed(pictures: Pictures, fps: float, dice: np.random.Generator, stops: float) -> Pictures:
    """So many stops more light, cut off at white."""
    levels = np.clip(np.arange(256) * 2 ** (stops / GAMMA), 0, 255).astype(np.uint8)
    return levels[pictures]


def washed(pictures: Pictures, fps: float, dice: np.random.Generator, share: float) -> Pictures:
    """Contrast and colour drawn this far towards middle gray."""
    levels = (128 + (np.arange(256) - 128) * (1 - share)).astype(np.uint8)
    return levels[pictures]


DEFECTS = (
    Defect(
        "blown out",
        "exposure",
        "highlight_clip_ratio",
        "high",
        {f"{stops} stops over": partial(exposed, stops=stops) for stops in (3, 5)},
        0.4,
        "White needs all three channels at their limit: a coloured light that is blown out does not count.",
        leave_out=("dark",),
    ),
    Defect(
        "underexposed",
        "exposure",
        "brightness",
        "low",
        {f"{stops} stops under": partial(exposed, stops=-stops) for stops in (3, 5)},
        0.1,
        "A night scene is dark by intention.",
        leave_out=("dark",),
    ),
    Defect(
        "washed out, by the aesthetic rules",
        "aesthetic",
        "aesthetic_score",
        "low",
        {f"{share:.0%} towards gray": partial(washed, share=share) for share in (0.4, 0.8)},
        0.4,
        "A weak heuristic of colour, contrast, light and composition, which knows nothing of what is shown.",
    ),
)
