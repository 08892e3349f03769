"""How fit a clip is to train on, in one number: made of other columns, or as a model has learned it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from filters.scorers.engines import EngineStage
from filters.scorers.exported import SPREAD, exported_clips
from filters.scorers.fused import FusedScorer
from filters.scorers.scorer import ClipScorer, less, unit
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, FrameSpec

MOTION_HALF = 0.05
"""Speed, short sides a second, that makes half of the dynamic part: a slow walk at medium shot."""
JITTER_HALF = 1.0
"""Jitter, short sides a second, that takes half of it."""
TEXT_HALF = 0.05
"""Share of the picture under text that takes half of the naturalness: a line of subtitles."""


@dataclass(frozen=True)
class Suitability(EngineStage):
    """Fitness for training, higher is better; `columns` gives None for an image and where a column it reads is None.

    `columns`, 0 to 1, is ours and no learned model: the cube root of dynamic x static x natural quality, the aspects
    that Koala-36M's annotators weigh (Wang et al. 2024, arXiv 2410.08260); every value that it reads acts one way only.
    Dynamic: motion_score / (0.05 + motion_score), times what jitter leaves (half at 1), times 1 - static_ratio. Static:
    the mean of vqa_score and aesthetic_score on scales from 0 to 1. Natural: what text leaves (half at 0.05 of the
    picture), times clean_area_ratio, times 1 - black_ratio.

    `onnx` is a network for clips, such as Koala-36M's own, exported. `dover`, 0 to 1, is no VTSS but DOVER's overall
    quality: its two branches, from the columns of `video_quality` and `aesthetic`, fused as its authors do.
    """

    name = "suitability"
    columns = pa.schema([pa.field("vtss_score", pa.float64()), pa.field("vtss_engine", pa.string())])
    embedded = "columns"

    engine: Literal["columns", "dover", "onnx"] = "columns"

    @property
    def needs_model(self) -> bool:
        return self.engine == "onnx"

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]  # by engine
        scores = ("video_quality", "aesthetic")
        return {"columns": ("motion", "static", "black", "border", "text", *scores), "dover": scores}.get(
            self.engine, ()
        )

    @property
    def frames(self) -> FrameSpec | None:  # type: ignore[override]  # by engine
        return SPREAD if self.engine == "onnx" else None

    def load(self) -> ClipScorer:
        if self.engine == "onnx":
            return exported_clips(self.brought())
        return ColumnsScorer() if self.engine == "columns" else FusedScorer()


class ColumnsScorer:
    """The combination of columns that Suitability describes."""

    label = "columns/1"

    def score(self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]) -> list[float | None]:
        """See ClipScorer."""
        return [_fitness(clip.upstream) for clip in clips]


def _fitness(rows: Mapping[str, Mapping[str, Any]]) -> float | None:
    motion, jitter = rows["motion"]["motion_score"], rows["motion"]["jitter"]
    static, black = rows["static"]["static_ratio"], rows["black"]["black_ratio"]
    vqa, aesthetic = rows["video_quality"]["vqa_score"], rows["aesthetic"]["aesthetic_score"]
    text, clean = rows["text"]["text_area_ratio"], rows["border"]["clean_area_ratio"]
    if None in (motion, static, black, vqa, aesthetic, text, clean):
        return None
    quality = unit(vqa, rows["video_quality"]["vqa_engine"])
    beauty = unit(aesthetic, rows["aesthetic"]["aesthetic_engine"])
    # A clip of one pair of frames has no jitter to speak of.
    dynamic = (1 - less(motion, MOTION_HALF)) * less(jitter or 0.0, JITTER_HALF) * (1 - static)
    natural = less(text, TEXT_HALF) * clean * (1 - black)
    return float((dynamic * (quality + beauty) / 2 * natural) ** (1 / 3))
