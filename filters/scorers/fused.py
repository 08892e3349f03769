"""DOVER's overall quality, of what its two branches have given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from filters.scorers.scorer import PUBLISHED
from pipeline.clip import Clip
from pipeline.stage import ClipError, FrameBatch

FUSED = {"dover-technical": 0.6104, "dover-aesthetic": 0.3896}
"""Weights by which DOVER's authors fuse its branches, each less its mean by its deviation (evaluate_one_video.py)."""


class FusedScorer:
    """DOVER's overall quality, of the scores of its two branches."""

    label = "dover-fused/1"

    def score(self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]) -> list[float | None]:
        """See ClipScorer. ClipError: another engine has written a score."""
        return [_fused(clip.upstream) for clip in clips]


def _fused(rows: Mapping[str, Mapping[str, Any]]) -> float:
    total = 0.0
    for stage, short, branch in (
        ("video_quality", "vqa", "dover-technical"),
        ("aesthetic", "aesthetic", "dover-aesthetic"),
    ):
        label, (mean, deviation) = rows[stage][f"{short}_engine"], PUBLISHED[branch]
        if label.split("/")[0] != branch:
            raise ClipError(
                f'engine = "dover" fuses its own two branches: set stage.{stage}.engine too, not {label}'
            )
        total += FUSED[branch] * (rows[stage][f"{short}_score"] - mean) / deviation
    return (1 + math.tanh(total / 2)) / 2  # the logistic function, without its overflow
