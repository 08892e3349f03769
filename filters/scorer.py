"""The seam behind the quality stages: what gives scores, and says who it is.

`label` names the engine and its version for the stage's `*_engine` column. A scale is the engine's own, so a threshold
belongs to one engine. A score of None is a measure that is not defined, on a flat picture say; an engine that cannot
measure what it should raises ClipError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from filters.base import Rgb
from pipeline.clip import Clip
from pipeline.stage import ClipError, FrameBatch

SCALES = {"brisque": (0.0, 100.0), "pooled": (0.0, 1.0), "rules": (0.0, 1.0)}
"""Worst and best score of each engine that other stages read, by the part of its label before the slash."""


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


def less(value: float, half: float) -> float:
    """How much of a quality a fault of this size leaves: 1 without it, one half at `half`, towards 0 beyond."""
    return half / (half + value)


def unit(score: float, label: str) -> float:
    """A score of the engine with this label on a scale from 0 to 1, held to it. Raises ClipError for one unknown."""
    scale = SCALES.get(label.split("/")[0])
    if scale is None:
        raise ClipError(f"the scale of {label} is not known, so its scores cannot be combined with others")
    worst, best = scale
    return min(1.0, max(0.0, (score - worst) / (best - worst)))
