"""Dense optical flow, measured once a pair and shared: how much moves, and what the camera does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import Gray, one_thread_cv2, shown
from filters.signals import steps
from filters.signals.camera_model import Field, Textured, fit, quantile
from filters.signals.steps import Numbers
from pipeline.clip import Clip
from pipeline.frames import MOTION
from pipeline.stage import FrameBatch, Row, Stage

MIN_SIDE_PX = 64
"""Smaller frames are enlarged to this: DIS matches 8-pixel patches on a frame scaled down."""
SIGNALS = (
    *("flow_time_s", "flow_magnitude", "flow_median", "flow_p95", "flow_still_share", "flow_dx", "flow_dy"),
    *("flow_zoom", "flow_roll_deg_s", "flow_inlier_share", "flow_camera", "flow_residual"),
)
MODEL = slice(SIGNALS.index("flow_dx"), SIGNALS.index("flow_inlier_share"))
"""The camera's part: dx, dy, zoom and roll."""


@dataclass(frozen=True)
class Flow(Stage):
    """Lists with one value a pair of adjacent frames, as speeds of the picture's content; empty for an image.

    `flow_magnitude`, `flow_median`, `flow_p95`, `flow_camera` and `flow_residual` are lengths of the flow, of the
    camera's part of it and of what is left, in short sides of the frame per second. `flow_dx` and `flow_dy` are
    the content's shift in frame widths and heights per second (right, down), `flow_zoom` its growth per second,
    `flow_roll_deg_s` its clockwise turn. `flow_still_share` is the share of the picture that does not move,
    `flow_inlier_share` how much of its texture follows the camera (0: no texture to tell). `flow_time_s` counts
    from the start of the clip. Flow: DIS (Kroeger et al. 2016), the ultrafast preset refined to half resolution.

    The `flow_step_` lists have one value less: what happened from one pair's first frame to the next pair's, as the
    law of a camera that turns and zooms: mean speeds in the units of the pairs', the share of texture that follows it
    within an eighth of its motion, what is left along and across the motion over the motion's length, and the share of
    the frame's rim that stayed where it was. Travel leaves parallax along the motion: see filters.signals.travel.
    """

    name = "flow"
    version = 3
    columns = pa.schema([pa.field(signal, pa.list_(pa.float32())) for signal in (*SIGNALS, *steps.SIGNALS)])
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
        pairs = zip(batch.images, batch.following, batch.step_s, strict=True)
        least_s = self.step_min_ratio / clip.fps
        cameras = [self._pair(state, dis, one, two, max(float(s), least_s)) for one, two, s in pairs]
        rows = [(float(time_s), *row) for time_s, (row, _) in zip(batch.times_s, cameras, strict=True)]
        dis.setFinestScale(steps.FINEST_SCALE)
        images = [_large_enough(state, image) for image in batch.images]
        gaps = [
            steps.between(
                *(state, dis, images[i], images[i + 1], rows[i + 1][0] - rows[i][0]),
                speeds=(rows[i][MODEL], rows[i + 1][MODEL]),
                textured=cameras[i][1],
            )
            for i in range(len(rows) - 1)
        ]
        return _lists(SIGNALS, rows) | _lists(steps.SIGNALS, gaps)

    def _pair(self, cv2: Any, dis: Any, one: Gray, two: Gray, step_s: float) -> tuple[Numbers, Textured]:
        """The values of SIGNALS after the time, and where the first picture has texture."""
        one, two = _large_enough(cv2, one), _large_enough(cv2, two)
        height, width = one.shape
        flow: Field = dis.calc(one, two, None)
        length = np.hypot(flow[..., 0], flow[..., 1])
        quarter = length[::2, ::2].ravel()
        median, p95 = quantile(quarter, 0.5), quantile(quarter, 0.95)
        camera = fit(cv2, one, flow, self.grid_px, self.inlier_px, self.texture_level)
        side_s = min(width, height) * step_s
        mean, median, p95 = float(length.mean()) / side_s, median / side_s, p95 / side_s
        still = float((length < self.still_px).mean())
        dx, dy = camera.dx_px / width / step_s, camera.dy_px / height / step_s
        zoom, roll = camera.zoom / step_s, camera.roll_deg / step_s
        shift, residual = camera.shift_px / side_s, camera.residual_px / side_s
        values = (mean, median, p95, still, dx, dy, zoom, roll, camera.inlier_share, shift, residual)
        return values, camera.textured


def _lists(names: Sequence[str], rows: Sequence[Numbers]) -> dict[str, list[float]]:
    """The values by name, rounded as they are stored: a stage that requires these reads the same either way."""
    return {name: np.array([row[i] for row in rows], np.float32).tolist() for i, name in enumerate(names)}


def _large_enough(cv2: Any, image: Gray) -> Gray:
    factor = MIN_SIDE_PX / min(image.shape)
    if factor <= 1:
        return image
    resized: Gray = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    return resized
