"""Signals of graphics that are pasted onto a picture and stay there: stickers, and frames around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Gray, Rgb
from filters.signals.places import Box, area_ratio, covered_share
from filters.signals.standing import SURE
from filters.signals.washes import ramp

Mask = npt.NDArray[np.bool_]

SAME_LEVELS = 12
"""By which no channel of an opaque pixel leaves its range over the frames: coding noise, as in filters.border."""
RIM = 0.05
"""Width of the rim that a frame around the picture covers, as a share of the short side. Ours."""
INNER = (0.02, 0.25)
"""Distance from the side, as a share of it, within which a frame's inner edge lies. Ours."""
EDGE_LEVELS = 8
"""Luma levels between two lines two pixels apart from which an edge lies between them. Ours."""
TEXT_SHARE = 0.4
"""Share of a box under lines of text from which it is a caption. Ours."""
DRAWN_LEVELS = 8.0
"""Mean deviation of the rim's luma from which something is drawn on it; a bar of one colour is no effect. Ours."""


def opaque(cv2: Any, images: Rgb) -> Mask:
    """(height, width): where nothing shows through, as the pixel is the same in all of (n, height, width, 3)."""
    low, high = images[0], images[0]
    for image in images[1:]:
        low, high = cv2.min(low, image), cv2.max(high, image)
    same: Mask = cv2.inRange(high - low, (0, 0, 0), (SAME_LEVELS,) * 3) > 0
    return same


def opaque_share(same: Mask, box: Box) -> float:
    """Share of a box's pixels that are opaque."""
    height, width = same.shape
    top, left = int(box["y0"] * height), int(box["x0"] * width)
    return float(same[top : int(box["y1"] * height) + 1, left : int(box["x1"] * width) + 1].mean())


def rim_and_middle(image: Rgb, same: Mask) -> tuple[float, float]:
    """Opaque shares of the rim, on the side with the least, and of the middle half; (0, 1) when the rim is plain."""
    height, width = same.shape
    rim = max(1, round(RIM * min(height, width)))
    strips = [(slice(rim), slice(None)), (slice(-rim, None), slice(None))]
    strips += [(slice(None), slice(rim)), (slice(None), slice(-rim, None))]
    if min(float(image[rows, columns].mean(axis=-1).std()) for rows, columns in strips) < DRAWN_LEVELS:
        return 0.0, 1.0
    middle = same[height // 4 : -(-3 * height // 4), width // 4 : -(-3 * width // 4)]
    return min(float(same[rows, columns].mean()) for rows, columns in strips), float(middle.mean())


def inner_edge(gray: Gray) -> float:
    """Share of the middle three fifths of a side along which a straight edge runs near it; the least of four sides."""
    return min(_line(side) for side in (gray, gray[::-1], gray.T, gray.T[::-1]))


def _line(gray: Gray) -> float:
    height, width = gray.shape
    near = gray[int(INNER[0] * height) : int(INNER[1] * height) + 3, width // 5 : -(-4 * width // 5)]
    steps = np.abs(np.subtract(near[2:], near[:-2], dtype=np.int16)) >= EDGE_LEVELS
    return float(steps.mean(axis=1).max(initial=0.0))


def sticker_score(same: Mask, boxes: Sequence[Box], tracks: Sequence[Box]) -> float:
    """0 to 1: how large and how opaque the box is that is most so, of those that no text `tracks` fill."""
    sure = [box for box in boxes if box["score"] >= SURE]
    pasted = [box for box in sure if sum(covered_share(box, track) for track in tracks) < TEXT_SHARE]
    scores = [ramp(area_ratio(box), 0.01, 0.025) * ramp(opaque_share(same, box), 0.3, 0.6) for box in pasted]
    return max(scores, default=0.0)


def frame_score(image: Rgb, gray: Gray, same: Mask) -> float:
    """0 to 1: how opaque the rim is on all four sides, with a straight inner edge, while the middle moves."""
    rim, middle = rim_and_middle(image, same)
    return ramp(rim, 0.7, 0.9) * ramp(inner_edge(gray), 0.65, 0.8) * ramp(middle, 0.95, 0.8)
