"""How fit a clip is to train on, in one number made of other columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from filters.scorer import ClipScorer, less, unit
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage

MOTION_HALF = 0.05
"""Speed, short sides a second, that makes half of the dynamic part: a slow walk at medium shot."""
JITTER_HALF = 1.0
"""Jitter, short sides a second, that takes half of it."""
TEXT_HALF = 0.05
"""Share of the picture under text that takes half of the naturalness: a line of subtitles."""


@dataclass(frozen=True)
class Suitability(Stage):
    """Fitness for training, higher is better; None for an image and where a column that it reads is None.

    `columns`, 0 to 1, is ours and no learned model: the cube root of dynamic x static x natural quality, the aspects
    that Koala-36M's annotators weigh (Wang et al. 2024, arXiv 2410.08260); every value that it reads acts one way only.
    Dynamic: motion_score / (0.05 + motion_score), times what jitter leaves (half at 1), times 1 - static_ratio. Static:
    the mean of vqa_score and aesthetic_score on scales from 0 to 1. Natural: what text leaves (half at 0.05 of the
    picture), times clean_area_ratio, times 1 - black_ratio. Koala-36M's own VTSS has another scale.
    """

    name = "suitability"
    columns = pa.schema([pa.field("vtss_score", pa.float64()), pa.field("vtss_engine", pa.string())])
    requires = ("motion", "static", "black", "border", "text", "video_quality", "aesthetic")

    engine: Literal["columns"] = "columns"

    def load(self) -> ClipScorer:
        return ColumnsScorer()

    def measure(self, state: ClipScorer, clip: Clip, frames: FrameBatch | None) -> Row:
        (score,) = state.score([clip], [frames])
        return {"vtss_score": score, "vtss_engine": state.label}


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
