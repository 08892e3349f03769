"""How far the camera looks up or down, and how it is tilted sideways."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import Rgb, looked_at, one_thread_cv2
from filters.signals.verticals import FOCAL, Uprights, uprights
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Horizon(Stage):
    """The camera's pitch and roll where upright lines (walls, doors, poles) tell them; null where they do not.

    `pitch_deg`, + is up, and `roll_deg`, + is a camera turned clockwise, are medians over the frames that tell; the
    field of view is taken to be 53 degrees, so a pitch is right to a third or so. `horizon_y` is where the horizon
    lies, 0 at the picture's top and 1 at its bottom, beyond them when it is out of the picture. `pitch_frames_ratio` is
    the share of the frames looked at that tell and agree with the median.
    """

    name = "horizon"
    columns = pa.schema(
        [
            pa.field("pitch_deg", pa.float64()),
            pa.field("roll_deg", pa.float64()),
            pa.field("horizon_y", pa.float64()),
            pa.field("pitch_frames_ratio", pa.float64()),
        ]
    )
    frames = VIEW

    every_s: float = 2.0
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many."""
    lines_min: int = 10
    """Upright lines that a frame must have to tell ..."""
    share_min: float = 0.5
    """... their share of the length of all that are nearly upright: twigs, hair and grass agree on nothing ..."""
    spread_min: float = 0.4
    """... the share of the picture's width that they span ..."""
    length_min: float = 1.2
    """... and their length together, in heights of the picture. Ours, from 60 videos."""
    agree_deg: float = 5.0
    """A frame agrees with the median when its pitch is within so many degrees."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        pictures = [image for _, image in looked_at(frames, clip, self.every_s, self.most_frames)]
        told = [one for one in map(self._told, pictures) if one]
        pitch = float(np.median([one.pitch_deg for one in told])) if told else None
        row = {"pitch_deg": None, "roll_deg": None, "horizon_y": None, "pitch_frames_ratio": 0.0}
        if pitch is None:
            return row
        agree = sum(abs(one.pitch_deg - pitch) <= self.agree_deg for one in told)
        height, width = pictures[0].shape[:2]
        lower = math.tan(math.radians(pitch)) * FOCAL * max(height, width) / height
        row |= {"pitch_deg": pitch, "roll_deg": float(np.median([one.roll_deg for one in told]))}
        return row | {"horizon_y": 0.5 + lower, "pitch_frames_ratio": agree / len(pictures)}

    def _told(self, image: Rgb) -> Uprights | None:
        cv2 = one_thread_cv2()
        found = uprights(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        enough = (
            found is not None
            and found.lines >= self.lines_min
            and found.share >= self.share_min
            and found.spread >= self.spread_min
            and found.length >= self.length_min
        )
        return found if enough else None
