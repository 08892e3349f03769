"""Dense optical flow, measured once a pair and shared: how much moves, and what the camera does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import Gray, one_thread_cv2, shown
from filters.signals.camera_model import Field, fit
from pipeline.clip import Clip
from pipeline.frames import MOTION
from pipeline.stage import FrameBatch, Row, Stage

MIN_SIDE_PX = 64
"""Smaller frames are enlarged to this: DIS matches 8-pixel patches on a frame scaled down."""
SIGNALS = (
    *("flow_time_s", "flow_magnitude", "flow_median", "flow_p95", "flow_still_share", "flow_dx", "flow_dy"),
    *("flow_zoom", "flow_roll_deg_s", "flow_inlier_share", "flow_camera", "flow_residual"),
)


@dataclass(frozen=True)
class Flow(Stage):
    """Lists with one value a pair of adjacent frames, as speeds of the picture's content; empty for an image.

    `flow_magnitude`, `flow_median`, `flow_p95`, `flow_camera` and `flow_residual` are lengths of the flow, of the
    camera's part of it and of what is left, in short sides of the frame per second. `flow_dx` and `flow_dy` are
    the content's shift in frame widths and heights per second (right, down), `flow_zoom` its growth per second,
    `flow_roll_deg_s` its clockwise turn. `flow_still_share` is the share of the picture that does not move,
    `flow_inlier_share` how much of its texture follows the camera (0: no texture to tell). `flow_time_s` counts
    from the start of the clip. Flow: DIS (Kroeger et al. 2016), the ultrafast preset refined to half resolution.
    """

    name = "flow"
    version = 2
    columns = pa.schema([pa.field(signal, pa.list_(pa.float32())) for signal in SIGNALS])
    frames = MOTION

    finest_scale: int = 1
    """DIS stops at 1/2**n of the frame: 1 has half the camera error of the preset's 2 for 0.6 ms more a pair."""
    grid_px: int = 8
    inlier_px: float = 0.25
    """Distance from the camera model, at the flow's size, within which a point follows it."""
    still_px: float = 0.1
    """Shift between two adjacent frames below which a point is still: above DIS's noise on still video."""
    step_min_ratio: float = 0.5
    """Of the clip's mean step between frames: shorter ones are taken for faults of the timestamps."""
    texture_level: float = 2.0
    """Mean gradient (luma levels a pixel) around a grid point from which its flow is trusted."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        batch = shown(frames)
        if batch.following is None or batch.step_s is None:
            raise TypeError("flow needs pairs of frames")
        dis = state.DISOpticalFlow_create(state.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        dis.setFinestScale(self.finest_scale)
        pairs = zip(batch.times_s, batch.images, batch.following, batch.step_s, strict=True)
        least_s = self.step_min_ratio / clip.fps
        rows = [
            (float(time_s), *self._pair(state, dis, one, two, max(float(s), least_s)))
            for time_s, one, two, s in pairs
        ]
        # Rounded as they are stored: a stage that requires these reads the same values before and after storing.
        return {
            signal: np.array([row[i] for row in rows], np.float32).tolist()
            for i, signal in enumerate(SIGNALS)
        }

    def _pair(self, cv2: Any, dis: Any, one: Gray, two: Gray, step_s: float) -> tuple[float, ...]:
        one, two = _large_enough(cv2, one), _large_enough(cv2, two)
        height, width = one.shape
        flow: Field = dis.calc(one, two, None)
        length = np.hypot(flow[..., 0], flow[..., 1])
        median, p95 = np.percentile(length[::2, ::2], (50, 95))
        camera = fit(cv2, one, flow, self.grid_px, self.inlier_px, self.texture_level)
        side_s = min(width, height) * step_s
        mean, median, p95 = float(length.mean()) / side_s, float(median) / side_s, float(p95) / side_s
        still = float((length < self.still_px).mean())
        dx, dy = camera.dx_px / width / step_s, camera.dy_px / height / step_s
        zoom, roll = camera.zoom / step_s, camera.roll_deg / step_s
        shift, residual = camera.shift_px / side_s, camera.residual_px / side_s
        return mean, median, p95, still, dx, dy, zoom, roll, camera.inlier_share, shift, residual


def _large_enough(cv2: Any, image: Gray) -> Gray:
    factor = MIN_SIDE_PX / min(image.shape)
    if factor <= 1:
        return image
    resized: Gray = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    return resized
