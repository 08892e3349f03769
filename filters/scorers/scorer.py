"""The seam behind the quality stages: what gives scores, and says who it is.

`label` names the engine and its version for the stage's `*_engine` column. A scale is the engine's own, so a threshold
belongs to one engine. A score of None is a measure that is not defined, on a flat picture say; an engine that cannot
measure what it should raises ClipError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np

from filters.base import Rgb, looked_at
from pipeline.clip import Clip
from pipeline.reasons import Reason
from pipeline.stage import ClipError, FrameBatch

PUBLISHED = {
    "dover-technical": (0.1107, 0.07355),
    "dover-aesthetic": (0.08285, 0.03774),
    "fast-vqa": (-0.110198185, 0.04178565),
}
"""Mean and deviation of the scores of DOVER's branches and of FAST-VQA, by which their authors scale them
(evaluate_one_video.py of the one, vqa.py of the other)."""
SCALES = {
    "brisque": (0.0, 100.0),
    "pooled": (0.0, 1.0),
    "rules": (0.0, 1.0),
    "laion": (1.0, 10.0),
    "pyiqa-musiq": (0.0, 100.0),
    "pyiqa-topiq_nr": (0.0, 1.0),
    "onnx": (0.0, 1.0),
    # Two deviations to either side of the mean. Ours.
    **{name: (mean - 2 * deviation, mean + 2 * deviation) for name, (mean, deviation) in PUBLISHED.items()},
}
"""Worst and best score of each engine that other stages read, by the part of its label before the first slash."""


class PictureScorer(Protocol):
    """Scores pictures one by one."""

    @property
    def label(self) -> str: ...

    def score(self, pictures: Sequence[Rgb]) -> list[float | None]:
        """One score for each RGB picture, in order."""
        ...


class ClipScorer(Protocol):
    """Scores clips, from their frames or from the columns in `clip.upstream`."""

    @property
    def label(self) -> str: ...

    def score(self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]) -> list[float | None]:
        """One score for each clip, in order."""
        ...


@dataclass(frozen=True)
class FewPictures:
    """A ClipScorer: the mean score of a few pictures of each clip, None where none of them has one."""

    scorer: PictureScorer
    every_s: float
    most: int

    @property
    def label(self) -> str:
        return self.scorer.label

    def score(self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]) -> list[float | None]:
        """See ClipScorer."""
        return [float(np.mean(scores)) if scores else None for scores in self.each(clips, frames)]

    def each(self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]) -> list[list[float]]:
        """The scores of each clip's pictures, in order, without those that have none; all in one call."""
        looked = [
            [picture for _, picture in looked_at(shown, clip, self.every_s, self.most)]
            for clip, shown in zip(clips, frames, strict=True)
        ]
        scores = self.scorer.score([picture for pictures in looked for picture in pictures])
        ends = accumulate(map(len, looked), initial=0)
        return [[s for s in scores[start:end] if s is not None] for start, end in pairwise(ends)]


def less(value: float, half: float) -> float:
    """How much of a quality a fault of this size leaves: 1 without it, one half at `half`, towards 0 beyond."""
    return half / (half + value)


def unit(score: float, label: str) -> float:
    """The score of an engine on a scale from 0 to 1, held to it. Raises ClipError: not a known engine, or no number."""
    scale = SCALES.get(label.split("/")[0])
    if scale is None:
        raise ClipError(f"the scale of {label} is not known, so its scores cannot be combined with others")
    if not math.isfinite(score):
        raise ClipError(f"the score of {label} is {score}", Reason.NOT_FINITE)
    worst, best = scale
    return min(1.0, max(0.0, (score - worst) / (best - worst)))
