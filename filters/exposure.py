"""Light and colour of a clip: brightness, contrast, saturation, warmth, clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import shown
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage

LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
"""Weights of R, G, B in luma (ITU-R BT.709)."""
SAMPLES = 96
"""Rows and columns looked at, about: statistics of so many pixels move by less than a level."""


@dataclass(frozen=True)
class Exposure(Stage):
    """Means over frames of simple statistics of the gamma-coded picture, 0 to 1 unless said.

    `brightness` is mean luma, `contrast` the standard deviation of luma (RMS contrast, Peli 1990), `saturation` the
    mean of (max - min) / max of RGB (HSV saturation), `warmth` the mean of R - B (-1 to 1, above 0 is warm).
    """

    name = "exposure"
    columns = pa.schema(
        [
            pa.field("brightness", pa.float64()),
            pa.field("contrast", pa.float64()),
            pa.field("saturation", pa.float64()),
            pa.field("warmth", pa.float64()),
            pa.field("highlight_clip_ratio", pa.float64()),  # share of pixels that are white in all channels
            pa.field("shadow_clip_ratio", pa.float64()),  # share of pixels that are black in all channels
        ]
    )
    frames = VIEW

    clip_levels: int = 5
    """Levels from 0 and from 255 within which a channel is clipped."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        images = shown(frames).images
        down, across = (max(1, side // SAMPLES) for side in images.shape[1:3])
        rgb = images[:, ::down, ::across].astype(np.float32)
        high, low = rgb.max(axis=-1), rgb.min(axis=-1)
        luma = rgb @ LUMA
        return {
            "brightness": float(luma.mean() / 255),
            "contrast": float(luma.std(axis=(1, 2)).mean() / 255),
            "saturation": float(((high - low) / np.maximum(high, 1)).mean()),
            "warmth": float((rgb[..., 0] - rgb[..., 2]).mean() / 255),
            "highlight_clip_ratio": float((low >= 255 - self.clip_levels).mean()),
            "shadow_clip_ratio": float((high <= self.clip_levels).mean()),
        }
