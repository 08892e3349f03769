"""Whether the camera looks up, down or straight at what it shows, from upright lines and from faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.stage import Row

FACE_ALONE = 0.6
"""Confidence of a label that a face alone gives, over that of the face: who looks up to a camera seems level. Ours."""


@dataclass(frozen=True)
class Angles:
    """When an angle is said; settings of the `shot` stage."""

    level_max_deg: float
    turned_min_deg: float
    turned_max_deg: float
    agree_min: float
    eye_line_max: float


def angle_of(
    horizon: Row, eyes: Sequence[tuple[float, float]], faces: float, said: Angles
) -> tuple[str, float | None]:
    """The label and its confidence; empty and None where it cannot be told.

    `horizon` is the row of the stage of that name, `eyes` the height of the main person's eyes (0 top, 1 bottom) and
    the stature, both as shares of the frame's height, one for each frame that has them; `faces` the confidence with
    which a face is seen level and from the front, 0 where it is not.
    """
    pitch, agree = horizon["pitch_deg"], horizon["pitch_frames_ratio"]
    if pitch is None:
        return ("eye_level", FACE_ALONE * faces) if faces else ("", None)
    if agree < said.agree_min:
        return "", None
    off = [abs(eye - horizon["horizon_y"]) / stature for eye, stature in eyes]
    if off and np.median(off) <= said.eye_line_max and abs(pitch) <= said.level_max_deg:
        return "eye_level", float(agree)
    turned = said.turned_min_deg <= abs(pitch) <= said.turned_max_deg
    return ("low_angle" if pitch > 0 else "high_angle", float(agree)) if turned else ("", None)
