"""Black frames: fades, gaps and lost pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.base import longest_run_s, shown
from pipeline.clip import Clip
from pipeline.frames import MOTION
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Black(Stage):
    """Share of a clip's samples that are black, and the longest run of them; None for an image.

    A frame is black when `black_share` of its pixels have a luma of at most `black_luma`: the two defaults are those
    of FFmpeg's blackdetect filter (pixel_black_th 0.10, picture_black_ratio_th 0.98).
    """

    name = "black"
    columns = pa.schema([pa.field("black_ratio", pa.float64()), pa.field("black_run_s", pa.float64())])
    frames = MOTION

    black_luma: float = 0.10
    """Of full range, 0 to 1."""
    black_share: float = 0.98

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        batch = shown(frames)
        if len(batch.images) == 0:
            return {"black_ratio": None, "black_run_s": None}
        black = (batch.images <= self.black_luma * 255).mean(axis=(1, 2)) >= self.black_share
        starts = [0.0, *(float(t) for t in batch.times_s[1:])]
        return {
            "black_ratio": float(black.mean()),
            "black_run_s": longest_run_s(black.tolist(), starts, clip.duration_s),
        }
