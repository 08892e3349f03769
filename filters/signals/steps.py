"""What happens from one pair's first frame to the next pair's: the `flow_step_` and `flow_travel_` values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from filters.base import Gray
from filters.signals.camera_model import Textured
from filters.signals.travel import similarity, step

Numbers = tuple[float, ...]
SIGNALS = (
    *("flow_step_dx", "flow_step_dy", "flow_step_zoom", "flow_step_roll_deg_s"),
    *("flow_step_share", "flow_step_along", "flow_step_across", "flow_step_still"),
    *("flow_travel_dx", "flow_travel_dy", "flow_travel_zoom", "flow_travel_share"),
)
FINEST_SCALE = 2
"""Of DIS between frames half a second apart: a third of the pairs' cost, as short flow is left."""
STEADY_PX = 4.0
"""Ways that two pairs foretell, this near to each other, need no search for another: DIS finds the rest. Ours."""


def between(
    cv2: Any,
    dis: Any,
    one: Gray,
    two: Gray,
    seconds: float,
    speeds: tuple[Numbers, Numbers],
    textured: Textured,
) -> Numbers:
    """The values of SIGNALS for two pictures `seconds` apart.

    `speeds` are what the pairs at both ends say: dx, dy, zoom and degrees of roll a second, as `flow_dx` and so on;
    `textured` are points of `one`.
    """
    height, width = one.shape
    start, end = np.asarray(speeds) * seconds
    dx, dy, zoom, roll = ((start + end) / 2).tolist()
    parted_px = np.hypot((end[0] - start[0]) * width, (end[1] - start[1]) * height)
    guess = similarity(dx * width, dy * height, zoom, math.radians(roll), one.shape)
    found = step(cv2, dis, one, two, textured, guess, steady=bool(parted_px < STEADY_PX))
    travel = found.travel
    across, down = width * seconds, height * seconds
    law = (
        found.dx_px / across,
        found.dy_px / down,
        found.zoom / seconds,
        math.degrees(found.roll_rad) / seconds,
    )
    left = (found.share, found.along, found.across, found.still_rim)
    return *law, *left, travel.dx_px / across, travel.dy_px / down, travel.zoom / seconds, travel.share
