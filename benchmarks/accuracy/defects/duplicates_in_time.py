"""Frames that repeat the one before, by chance and in a pattern."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures


def repeated(pictures: Pictures, fps: float, dice: np.random.Generator, share: float) -> Pictures:
    """This share of the frames, by chance, shows what the one before shows."""
    again = dice.random(len(pictures)) < share
    again[0] = False
    return pictures[np.maximum.accumulate(np.where(again, 0, np.arange(len(pictures))))]


def doubled(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    """Every other frame repeats the one before, the even or the odd ones."""
    odd = int(dice.integers(2))
    return pictures[np.maximum(0, (np.arange(len(pictures)) + odd) // 2 * 2 - odd)]


DEFECTS = (
    Defect(
        "frames repeated by chance",
        "cadence",
        "duplicate_frame_ratio",
        "high",
        {"30% of the frames": partial(repeated, share=0.3)},
        0.1,
        "Two pairs a second are looked at: a few repeats are met or missed by chance.",
        leave_out=("still",),
    ),
    Defect(
        "every other frame repeated",
        "cadence",
        "duplicate_frame_ratio",
        "high",
        {"half the rate": doubled},
        0.1,
        "At 24 frames a second the pairs looked at meet such a pattern in one place: all repeats, or none.",
        leave_out=("still",),
    ),
)
