"""Interlaced video stored as progressive: the rows of two moments woven into one frame."""

from __future__ import annotations

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures


def woven(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    """Every frame has its odd rows from the next one."""
    rendered = pictures.copy()
    rendered[:-1, 1::2] = pictures[1:, 1::2]
    return rendered


def telecined(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    """Two frames of five are woven, as when film is shown as interlaced video."""
    rendered = woven(pictures, fps, dice)
    plain = (np.arange(len(pictures)) + int(dice.integers(5))) % 5 < 3
    rendered[plain] = pictures[plain]
    return rendered


DEFECTS = (
    Defect(
        "combs",
        "artifacts",
        "combing",
        "high",
        {"two frames of five": telecined, "every frame": woven},
        0.02,
        "Combs show where something moves in the middle of the frame, at one moment each two seconds.",
        leave_out=("still",),
    ),
)
