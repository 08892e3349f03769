"""How much a clip moves: in all, by its camera, by its objects, and how shakily."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class Motion(Stage):
    """Mean speeds in short sides of the frame per second; None for a clip without a pair of frames (an image).

    `jitter` is the mean change of the camera's velocity from one sampled pair to the next: high for shaky or
    back-and-forth cameras, near 0 for a steady pan. Means, not medians: video whose frames are doubled shows still
    pairs and pairs of twice the speed, and only their mean is the speed.
    """

    name = "motion"
    columns = pa.schema(
        [
            pa.field("motion_score", pa.float64()),
            pa.field("camera_motion_score", pa.float64()),
            pa.field("object_motion_score", pa.float64()),
            pa.field("jitter", pa.float64()),
        ]
    )
    requires = ("flow",)

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        flow = clip.upstream["flow"]
        short = min(clip.width, clip.height)
        velocity = np.stack(
            [
                np.asarray(flow["flow_dx"], float) * clip.width / short,
                np.asarray(flow["flow_dy"], float) * clip.height / short,
            ]
        )
        return {
            "motion_score": _mean(flow["flow_magnitude"]),
            "camera_motion_score": _mean(flow["flow_camera"]),
            "object_motion_score": _mean(flow["flow_residual"]),
            "jitter": _mean(np.hypot(*np.diff(velocity, axis=1))),
        }


def _mean(values: Any) -> float | None:
    return float(np.mean(values)) if len(values) else None
