"""Faces followed over a clip's frames: one track is one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioner.experts.boxes import Box
from pipeline.stage import Row

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The order of the `emotions` stage's probabilities."""


@dataclass(frozen=True)
class Moment:
    """One face on one frame; `time_s` counts from the clip's start, `probabilities` are of EMOTIONS."""

    time_s: float
    box: Box
    probabilities: tuple[float, ...]


def moments_of(row: Row) -> list[Moment]:
    """The emotions stage's row, in order of time."""
    return [_moment(one) for one in row["emotions"]]


def _moment(one: Mapping[str, Any]) -> Moment:
    numbers = [one[name] for name in ("score", "x0", "y0", "x1", "y1", "time_s")]
    score, x0, y0, x1, y1, time_s = np.asarray(numbers, np.float32).tolist()
    points = tuple(np.asarray(one["landmarks"], np.float32).tolist())
    probabilities = tuple(np.asarray(one["probabilities"], np.float32).tolist())
    return Moment(time_s, Box(one["frame"], "face", score, x0, y0, x1, y1, points), probabilities)


def face_tracks(moments: Sequence[Moment], aspect: float, gap_s: float) -> list[list[Moment]]:
    """The moments of each person, by first appearance; `aspect` is the picture's width over its height.

    A face goes on with the track whose last one, no older than `gap_s`, is nearest: within one of its own heights, and
    at most half as large again or smaller. The nearest pairs are joined first, each track and face once a frame.
    """
    tracks: list[list[Moment]] = []
    for frame in dict.fromkeys(moment.box.frame for moment in moments):
        here = [moment for moment in moments if moment.box.frame == frame]
        open_ = [track for track in tracks if here[0].time_s - track[-1].time_s <= gap_s]
        pairs = [
            (_apart(track[-1].box, one.box, aspect), i, k)
            for i, track in enumerate(open_)
            for k, one in enumerate(here)
        ]
        joined: dict[int, int] = {}
        for apart, i, k in sorted(pairs):
            if apart <= 1.0 and i not in joined.values() and k not in joined:
                joined[k] = i
        for k, one in enumerate(here):
            if k in joined:
                open_[joined[k]].append(one)
            else:
                tracks.append([one])
    return tracks


def _apart(before: Box, now: Box, aspect: float) -> float:
    """Distance of two faces over the larger one's height; infinite when their sizes differ by more than a half."""
    small, large = sorted((before.height, now.height))
    if large > 1.5 * small:
        return float("inf")
    (x0, y0), (x1, y1) = before.centre, now.centre
    return float(np.hypot((x1 - x0) * aspect, y1 - y0)) / large
