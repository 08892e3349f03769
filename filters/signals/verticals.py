"""How far a camera looks up or down, from lines that stand upright in life and run together in the picture.

A point where they meet at (xv, yv) gives each segment with its middle at (x, y) the slope dx/dy = (x - xv) / (y - yv).
With k = 1 / yv and c = xv k that is dx/dy = k (y dx/dy - x) + c, linear in k and c, and k is 0 for a level camera. In
units of the focal length k = -tan(pitch) and c = tan(roll), for small turns (Hartley and Zisserman 2004, 8.6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.base import Gray, one_thread_cv2

Floats = npt.NDArray[np.float64]
FOCAL = 1.0
"""Focal length over the picture's longer side: a field of view of 53 degrees, the middle of what cameras have."""
LEAN_MAX_DEG = 32.0
"""Segments that lean more are no candidates."""
PITCH_MAX_DEG, ROLL_MAX_DEG = 50.0, 12.0
NEAR_DEG = 1.5
"""A segment belongs to the upright ones when it leans so little otherwise than these would."""
LONGEST = 40
"""Pairs of the longest candidates propose a solution: at most 780 of them."""
EDGE = 0.01
"""Segments so near to the picture's border, as a share of its side, are the edge of a bar."""


@dataclass(frozen=True)
class Uprights:
    """The upright lines of a picture."""

    pitch_deg: float
    """+ is up."""
    roll_deg: float
    lines: int
    share: float
    """Their length over that of all candidates."""
    spread: float
    """Width of the picture between the first and the last of them, as a share."""
    length: float
    """Theirs together, in heights of the picture."""


def uprights(gray: Gray) -> Uprights | None:
    """What a picture's upright lines say of the camera; None where there are fewer than four that agree."""
    height, width = gray.shape
    focal_px = FOCAL * max(height, width)
    x0, y0, x1, y1 = segments(gray).T
    dx, dy, long_px = x1 - x0, y1 - y0, np.hypot(x1 - x0, y1 - y0)
    lean = math.tan(math.radians(LEAN_MAX_DEG))
    margin = EDGE * width
    inside = (np.minimum(x0, x1) > margin) & (np.maximum(x0, x1) < width - margin)
    fits = (long_px > 0.07 * min(height, width)) & (np.abs(dx) < lean * np.abs(dy)) & inside
    x, y = ((a + b)[fits] / 2 for a, b in ((x0, x1), (y0, y1)))
    x, y = (x - width / 2) / focal_px, (y - height / 2) / focal_px
    slope, long_px = dx[fits] / dy[fits], long_px[fits]
    terms = np.stack([y * slope - x, np.ones_like(x)], axis=1)
    belongs = _proposed(terms, slope, long_px)
    k = c = 0.0
    for _ in range(3):  # the lines that belong fit the solution, which says which lines belong
        if belongs.sum() < 4:
            return None
        weight = np.sqrt(long_px[belongs])[:, None]
        k, c = np.linalg.lstsq(terms[belongs] * weight, slope[belongs] * weight[:, 0], rcond=None)[0]
        belongs = np.abs(slope - terms @ (k, c)) < math.tan(math.radians(NEAR_DEG))
    if belongs.sum() < 4:
        return None
    return Uprights(
        pitch_deg=-math.degrees(math.atan(k)),
        roll_deg=math.degrees(math.atan(c)),
        lines=int(belongs.sum()),
        share=float(long_px[belongs].sum() / long_px.sum()),
        spread=float(np.ptp(x[belongs]) * focal_px / width),
        length=float(long_px[belongs].sum() / height),
    )


def segments(gray: Gray) -> Floats:
    """(n, 4) x0, y0, x1, y1 of straight edges, in pixels (LSD: Grompone von Gioi et al. 2012)."""
    cv2 = one_thread_cv2()
    found = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(gray)[0]
    return np.zeros((0, 4)) if found is None else found.reshape(-1, 4).astype(np.float64)


def _proposed(terms: Floats, slope: Floats, long_px: Floats) -> npt.NDArray[np.bool_]:
    """The candidates that belong to the solution, through two of them, to which the greatest length belongs."""
    nobody = np.zeros(len(slope), np.bool_)
    order = np.argsort(-long_px, kind="stable")[:LONGEST]
    i, j = (order[one] for one in np.triu_indices(len(order), 1))
    determinant = terms[i, 0] - terms[j, 0]
    apart = np.abs(determinant) > 0.1  # lines near to each other say nothing of where they meet
    i, j, determinant = i[apart], j[apart], determinant[apart]
    k = (slope[i] - slope[j]) / determinant
    c = slope[i] - k * terms[i, 0]
    likely = (np.abs(k) < math.tan(math.radians(PITCH_MAX_DEG))) & (
        np.abs(c) < math.tan(math.radians(ROLL_MAX_DEG))
    )
    if not likely.any():
        return nobody
    off = np.abs(slope - (np.outer(k[likely], terms[:, 0]) + c[likely, None]))
    near: npt.NDArray[np.bool_] = off < math.tan(math.radians(NEAR_DEG))
    best: npt.NDArray[np.bool_] = near[int(np.argmax(near @ long_px))]
    return best
