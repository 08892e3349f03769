"""What coding and capture leave in the picture: block edges, noise, woven fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import looked_at, one_thread_cv2
from filters.signals.traces import MIN_SIDE_PX, block_step, comb_share, noise_sigma
from pipeline.clip import Clip
from pipeline.frames import DETAIL
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Artifacts(Stage):
    """Traces of coding and capture in a few frames' native-size patches; None for a patch under 32 pixels.

    `blockiness`: luma levels by which neighbours step more on the 8-pixel grid than off it, median over frames.
    `noise_sigma`: standard deviation of the noise in luma levels, in the least textured blocks, median over frames;
    None where all blocks are crushed or blown out. `combing`: share of the pixels that lie in a comb of rows, of the
    worst frame: interlaced video that was stored as progressive.
    """

    name = "artifacts"
    columns = pa.schema([pa.field(name, pa.float64()) for name in ("blockiness", "noise_sigma", "combing")])
    frames = DETAIL

    every_s: float = 2.0
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many."""
    block_px: int = 32
    """Side of the blocks in which noise is measured."""
    quiet_share: float = 0.1
    """The share of blocks taken for free of texture: their noise is below that of the others."""
    clipped_luma: int = 10
    """Levels from 0 and from 255 within which a block's mean hides noise: sigma 5 and more would be cut off."""
    comb_level: int = 8
    """Luma levels by which rows must alternate to be a comb: above noise of sigma 3."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        pictures = [image for _, image in looked_at(frames, clip, self.every_s, self.most_frames)]
        if min(pictures[0].shape[:2]) < MIN_SIDE_PX:
            return dict.fromkeys(self.columns.names)
        lumas = [state.cvtColor(picture, state.COLOR_RGB2GRAY) for picture in pictures]
        found = [
            noise_sigma(state, luma, self.block_px, self.quiet_share, self.clipped_luma) for luma in lumas
        ]
        noises = [noise for noise in found if noise is not None]
        return {
            "blockiness": float(np.median([block_step(luma) for luma in lumas])),
            "noise_sigma": float(np.median(noises)) if noises else None,
            "combing": max(comb_share(luma, self.comb_level) for luma in lumas),
        }
