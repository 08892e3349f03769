"""Frames that repeat the one before, and frames that the timestamps miss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.base import shown
from pipeline.clip import Clip
from pipeline.frames import MOTION
from pipeline.stage import FrameBatch, Row, Stage

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cadence(Stage):
    """Share of frames that repeat, and share that is missing, estimated from sampled pairs; None for an image.

    `duplicate_frame_ratio`: share of the pairs of adjacent frames that are equal although the picture moves in the
    half second before and in the one after. `dropped_ratio`: share of the frames that are not there, between the first
    sample and the last, at the rate of the median pair: frames that a recorder lost, or a variable rate. Both are ours.
    """

    name = "cadence"
    columns = pa.schema(
        [pa.field("duplicate_frame_ratio", pa.float64()), pa.field("dropped_ratio", pa.float64())]
    )
    frames = MOTION

    equal_level: float = 0.3
    """Mean luma levels between two frames up to which they are equal: what coding changes in a repeated frame."""
    equal_share: float = 0.4
    """And at most this share of what steady motion would change, at the pace of the half seconds around."""
    moving_level: float = 2.0
    """Mean luma levels a second from which the picture moves: below, a repeat cannot be told from a still."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        batch = shown(frames)
        if len(batch.images) == 0 or batch.following is None or batch.step_s is None:
            return {"duplicate_frame_ratio": None, "dropped_ratio": None}
        pace = _pace(batch.images, batch.times_s)
        most = np.minimum(self.equal_level, self.equal_share * pace * batch.step_s)
        equal = _change(batch.images, batch.following) <= most
        return {
            "duplicate_frame_ratio": float((equal & (pace >= self.moving_level)).mean()),
            "dropped_ratio": _missing(batch, batch.step_s),
        }


def _missing(batch: FrameBatch, step_s: Values) -> float:
    """Share of the frames between the first sample and the last one's follower that their times leave room for."""
    elapsed_s = float(batch.times_s[-1] + step_s[-1] - batch.times_s[0])
    there = int(batch.frames[-1] + 1 - batch.frames[0])
    return max(0.0, 1.0 - there * float(np.median(step_s)) / elapsed_s) if elapsed_s > 0 else 0.0


def _change(one: npt.NDArray[np.uint8], two: npt.NDArray[np.uint8]) -> Values:
    """(n,) mean absolute differences of pictures, in levels."""
    change: Values = np.abs(one.astype(np.int16) - two).mean(axis=(1, 2), dtype=np.float64)
    return change


def _pace(images: npt.NDArray[np.uint8], times_s: Values) -> Values:
    """(n,) levels a second that the picture changes towards the samples beside each; 0 without any.

    The smaller of the two, because a subject that stops is no repeat; the first and the last sample have one.
    """
    if len(images) == 1:
        return np.zeros(1)
    paces = _change(images[:-1], images[1:]) / np.diff(times_s)
    slower: Values = np.minimum(np.append(paces, paces[-1]), np.append(paces[0], paces))
    return slower
