"""How pleasing the pictures of a clip may look, by rules of thumb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from filters.appeal import RulesScorer
from filters.base import looked_at
from filters.scorer import PictureScorer
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Aesthetic(Stage):
    """Mean aesthetic score of a few frames, higher is better; None where all are flat.

    `rules`, 0 to 1, is a weak heuristic and no learned model: the geometric mean of four values. Colour rises from 0.5
    by M / (45 + M) / 2 of Hasler and Suesstrunk's colourfulness M (2003); contrast is c / (0.2 + c) of RMS contrast c;
    exposure 4 m (1 - m) of mean luma m; composition r / (1 + r), r being how much more saliency (spectral residual, Hou
    and Zhang 2007) lies near the crossings of the thirds than an even spread would put there.
    """

    name = "aesthetic"
    columns = pa.schema(
        [pa.field("aesthetic_score", pa.float64()), pa.field("aesthetic_engine", pa.string())]
    )
    frames = VIEW

    engine: Literal["rules"] = "rules"
    every_s: float = 2.0
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many."""

    def load(self) -> PictureScorer:
        return RulesScorer()

    def measure(self, state: PictureScorer, clip: Clip, frames: FrameBatch | None) -> Row:
        pictures = [image for _, image in looked_at(frames, clip, self.every_s, self.most_frames)]
        scores = [score for score in state.score(pictures) if score is not None]
        return {
            "aesthetic_score": float(np.mean(scores)) if scores else None,
            "aesthetic_engine": state.label,
        }
