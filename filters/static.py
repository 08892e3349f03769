"""Spans in which the picture does not change: frozen video, slides, pictures shown as video."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import longest_run_s, shown
from pipeline.clip import Clip
from pipeline.frames import MOTION
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Static(Stage):
    """Share and longest run of the steps between samples over which almost no pixel changes.

    It compares samples 0.515 s apart, not adjacent frames: cartoons and converted frame rates repeat frames,
    so that every other adjacent pair of a lively video is equal; and a slow pan is seen over that. A clip
    with one sample compares it with the frame after it; an image has None.
    """

    name = "static"
    columns = pa.schema(
        [
            pa.field("static_ratio", pa.float64()),
            pa.field("static_run_s", pa.float64()),
            pa.field("change_ratio", pa.float64()),  # mean share of pixels that change over a step
        ]
    )
    frames = MOTION

    change_level: int = 6
    """Luma levels from which a pixel has changed: above the noise that coding leaves at 144 pixels."""
    still_share: float = 0.005
    """Share of changed pixels up to which a step is static: a talking face at full shot changes more."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        batch = shown(frames)
        if len(batch.images) == 0 or batch.following is None:
            return {"static_ratio": None, "static_run_s": None, "change_ratio": None}
        images = batch.images if len(batch.images) > 1 else np.stack([batch.images[0], batch.following[0]])
        changed = np.array([self._changed(one, two) for one, two in pairwise(images)])
        still = changed <= self.still_share
        starts = [0.0, *(float(t) for t in batch.times_s[1 : len(still)])]
        return {
            "static_ratio": float(still.mean()),
            "static_run_s": longest_run_s(still.tolist(), starts, clip.duration_s),
            "change_ratio": float(changed.mean()),
        }

    def _changed(self, one: Any, two: Any) -> float:
        return float((np.abs(one.astype(np.int16) - two) >= self.change_level).mean())
