"""How good a clip looks as a whole: its pictures over time, and what disturbs them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from filters.scorers.engines import EngineStage
from filters.scorers.exported import SPREAD, exported_clips
from filters.scorers.scorer import ClipScorer, less, unit
from filters.scorers.torch_scorers import FRAGMENTS, fast_vqa, technical_dover
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, FrameSpec

HALVES = {
    "artifacts": {"blockiness": 4.0, "noise_sigma": 10.0, "combing": 0.1},
    "flicker": {"flicker_score": 0.02},
    "cadence": {"duplicate_frame_ratio": 1.0, "dropped_ratio": 1.0},
}
"""The size of each fault, in its column's unit, that takes half of the quality. Ours."""


@dataclass(frozen=True)
class VideoQuality(EngineStage):
    """Quality of the clip, higher is better; `pooled` gives None for an image and where a column it reads is None.

    `pooled`, 0 to 1, is no learned model: the mean of the worse half of the frames' image quality (percentile pooling,
    Moorthy and Bovik 2009; compared with others by Tu et al. 2020, arXiv 2002.10651), each held to 0 to 1, times
    half / (half + fault) for each fault of HALVES.

    `dover` is the technical branch of DOVER (Wu et al. 2023), about -0.04 to 0.26, `fast_vqa` FAST-VQA-B (Wu et al.
    2022), both on fragments at the source's resolution; `onnx` any exported network for clips.
    """

    name = "video_quality"
    columns = pa.schema([pa.field("vqa_score", pa.float64()), pa.field("vqa_engine", pa.string())])
    embedded = "pooled"

    engine: Literal["pooled", "dover", "fast_vqa", "onnx"] = "pooled"

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]  # by engine
        return ("image_quality", *HALVES) if self.engine == "pooled" else ()

    @property
    def frames(self) -> FrameSpec | None:  # type: ignore[override]  # by engine
        return {"pooled": None, "onnx": SPREAD}.get(self.engine, FRAGMENTS)

    def load(self) -> ClipScorer:
        if self.engine == "pooled":
            return PooledScorer()
        if self.engine == "onnx":
            return exported_clips(self.brought())
        return (technical_dover if self.engine == "dover" else fast_vqa)(self.brought())


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
