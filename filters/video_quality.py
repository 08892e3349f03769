"""How good a clip looks as a whole: its pictures over time, and what disturbs them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from filters.scorer import ClipScorer, less, unit
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage

HALVES = {
    "artifacts": {"blockiness": 4.0, "noise_sigma": 10.0, "combing": 0.1},
    "flicker": {"flicker_score": 0.02},
    "cadence": {"duplicate_frame_ratio": 1.0, "dropped_ratio": 1.0},
}
"""The size of each fault, in its column's unit, that takes half of the quality. Ours."""


@dataclass(frozen=True)
class VideoQuality(Stage):
    """Quality of the clip, higher is better; None for an image and where a column that it reads is None.

    `pooled`, 0 to 1, is no learned model: the mean of the worse half of the frames' image quality (percentile pooling,
    Moorthy and Bovik 2009; compared with others by Tu et al. 2020, arXiv 2002.10651), each held to 0 to 1, times
    half / (half + fault) for each fault of HALVES.
    """

    name = "video_quality"
    columns = pa.schema([pa.field("vqa_score", pa.float64()), pa.field("vqa_engine", pa.string())])
    requires = ("image_quality", "artifacts", "flicker", "cadence")

    engine: Literal["pooled"] = "pooled"

    def load(self) -> ClipScorer:
        return PooledScorer()

    def measure(self, state: ClipScorer, clip: Clip, frames: FrameBatch | None) -> Row:
        (score,) = state.score([clip], [frames])
        return {"vqa_score": score, "vqa_engine": state.label}


class PooledScorer:
    """Pooling of what other stages have measured."""

    label = "pooled/1"

    def score(self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]) -> list[float | None]:
        """See ClipScorer."""
        return [_pooled(clip.upstream) for clip in clips]


def _pooled(rows: Mapping[str, Mapping[str, Any]]) -> float | None:
    quality = rows["image_quality"]
    pictures = sorted(unit(score, quality["iqa_engine"]) for score in quality["iqa_frame_scores"])
    faults = [(rows[stage][name], half) for stage, of in HALVES.items() for name, half in of.items()]
    if not pictures or any(fault is None for fault, _ in faults):
        return None
    worse = float(np.mean(pictures[: math.ceil(len(pictures) / 2)]))
    return worse * math.prod(less(fault, half) for fault, half in faults)
