"""The picture's shift a dozen times a second: what a shaking hand, a knock and a sudden turn do to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.base import Gray, one_thread_cv2, shown
from filters.signals.camera_model import gradient
from pipeline.clip import Clip
from pipeline.frames import TREMBLE
from pipeline.stage import FrameBatch, Row, Stage

Shift = npt.NDArray[np.float64]
SIGNALS = ("sway_time_s", "sway_step_s", "sway_dx", "sway_dy", "sway_share")
GRID_PX = 4
MIN_POINTS = 12
"""Textured points that a shift needs; with fewer it is 0 with a share of 0."""


@dataclass(frozen=True)
class Sway(Stage):
    """Lists with one value a step between neighbouring frames of TREMBLE; empty below two frames.

    `sway_dx` and `sway_dy` are the content's mean speed (frame widths and heights a second: right, down) over the
    `sway_step_s` seconds from `sway_time_s` (of the clip's start), of the largest part of the texture that moves as
    one; `sway_share` is that part. The median of a dense flow (DIS, Kroeger et al. 2016) and of what lies near it: half
    of the picture may move otherwise. Pairs half a second apart would miss most knocks, which last a quarter.
    """

    name = "sway"
    columns = pa.schema([pa.field(signal, pa.list_(pa.float32())) for signal in SIGNALS])
    frames = TREMBLE

    texture_level: float = 2.0
    """Mean gradient (luma levels a pixel) around a point from which its flow is trusted."""
    same_levels: float = 0.4
    """Mean difference in luma below which two pictures are one."""
    near_px: float = 0.35
    """Distance from the median within which a point moves with it ..."""
    near_ratio: float = 0.25
    """... or this share of the median's length, if that is more."""
    shifted_px: float = 2.0
    """Shift found by phase correlation from which the flow starts there: a whip pan is longer than DIS reaches."""
    shifted_peak: float = 0.1
    """Peak of the phase correlation from which it is believed."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        batch = shown(frames)
        dis = state.DISOpticalFlow_create(state.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        dis.setFinestScale(0)
        rows = []
        for i in range(len(batch.images) - 1):
            one, two = batch.images[i], batch.images[i + 1]
            step_s = float(batch.times_s[i + 1] - batch.times_s[i])
            dx, dy, share = self._shift(state, dis, one, two)
            height, width = one.shape
            rows.append((float(batch.times_s[i]), step_s, dx / width / step_s, dy / height / step_s, share))
        return {
            name: np.array([row[i] for row in rows], np.float32).tolist() for i, name in enumerate(SIGNALS)
        }

    def _shift(self, cv2: Any, dis: Any, one: Gray, two: Gray) -> tuple[float, float, float]:
        """Pixels right and down from one picture to the other, and the share of texture that goes there."""
        if cv2.norm(one, two, cv2.NORM_L1) < self.same_levels * one.size:
            return 0.0, 0.0, 1.0
        place = slice(GRID_PX // 2, None, GRID_PX)
        textured = gradient(cv2, one)[place, place] >= self.texture_level
        way = self._start(cv2, one, two)
        moved = two
        if way.any():
            back = np.array([[1, 0, -way[0]], [0, 1, -way[1]]], np.float32)
            moved = cv2.warpAffine(two, back, one.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
            closer = _off(cv2, one, moved)[place, place] < _off(cv2, one, two)[place, place]
            if closer[textured].sum() * 2 < textured.sum():  # it is that of something in the picture
                way, moved = np.zeros(2), two
        flow = dis.calc(one, moved, None)[place, place][textured] + way
        if len(flow) < MIN_POINTS:
            return 0.0, 0.0, 0.0
        middle = np.median(flow, axis=0)
        near = np.hypot(*(flow - middle).T) < max(self.near_px, self.near_ratio * float(np.hypot(*middle)))
        dx, dy = flow[near].mean(axis=0) if near.any() else middle
        return float(dx), float(dy), float(near.mean())

    def _start(self, cv2: Any, one: Gray, two: Gray) -> Shift:
        """(2,) whole pixels that the pictures are shifted by; (0, 0) where the flow finds that by itself."""
        window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
        start, peak = cv2.phaseCorrelate(one.astype(np.float32), two.astype(np.float32), window)
        far = peak > self.shifted_peak and np.hypot(*start) > self.shifted_px
        return np.round(start) if far else np.zeros(2)


def _off(cv2: Any, one: Gray, two: Gray) -> Gray:
    """Mean difference of two pictures around each pixel."""
    off: Gray = cv2.blur(cv2.absdiff(one, two), (3, 3))
    return off
