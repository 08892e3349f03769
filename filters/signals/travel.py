"""What the picture did between two frames half a second apart: turned and zoomed as a whole, or with parallax.

A camera that only turns or zooms moves all points by one law, whatever their depth; one that travels moves near points
more than far ones (Longuet-Higgins & Prazdny 1980). So the law of a turn and zoom is fitted, and what it leaves is
split into the part along its own motion, where parallax lies, and the part across, where none can. That is the epipolar
constraint for small motions: beyond the turn, a point moves along the line through the focus of expansion alone. No
fundamental matrix is fitted: with the short baseline of half a second its rotation and translation are hard to tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Gray
from filters.signals.camera_model import Textured, quantile

Floats = npt.NDArray[np.float64]
MIN_POINTS, MIN_RIM_POINTS = 20, 12
"""Points that a law needs, and points of the rim by which it is called still."""
MIN_TEXTURE = 0.12
"""Share of the picture with texture that a law needs: with less, a car on an empty road is all there is. Ours."""
BORDER_PX = 4
"""What comes to lie this near to the border, or outside, was guessed by the flow."""
FOCAL = 1.2
"""Focal length over the longer side, of a view 45 degrees wide: between a phone's and a portrait lens. Ours."""
ROUNDS, TRAVEL_ROUNDS = 4, 3
"""Of reweighting: more change nothing that is read here."""
SAME_LEVELS = 0.4
"""Mean difference in luma below which two pictures are one, coding noise apart. Ours."""
NOISE_PX = 0.3
"""What DIS is off by on its coarser level: no residual is told from nothing below it."""
STILL_PX, STILL_LEVELS = 0.35, 0.7
"""A point stays where it is when its surroundings change by less than such a shift of their texture and coding noise
explain. Not asked of the flow: what fills the picture may lead it astray elsewhere. Ours."""
STILL_ENOUGH = 0.5
"""Share of the rim that stays where it is from which no flow is asked what the camera does: it stands. Ours."""
EDGE_SHARE = 0.15
"""Width of the frame's rim over its sides: subjects are seldom there on all sides. Ours."""
TOLERANCE_PX, TOLERANCE_RATIO = 0.5, 0.12
"""Distance from the law, the larger of a length and a share of the motion, within which a point follows it. Ours."""
NEAR_PX, BELIEVED = 4.0, 0.4
"""Where the law of so much of the texture ends this far from the first guess, the flow is found again from there."""
SHIFTED_PEAK, SHIFTED_PX = 0.15, 1.0
"""Phase correlation's peak and shift, on the quarter-size picture, from which its answer improves the first guess."""
TAIL = 1.2816
"""80th percentile of the absolute value of a normal variable, over its standard deviation."""


@dataclass(frozen=True)
class Travel:
    """The same motion, explained by a camera that travels and does not turn: as the points of median depth move."""

    dx_px: float = 0.0
    dy_px: float = 0.0
    zoom: float = 0.0
    share: float = 0.0
    """Of the textured points that go the way that travel takes them, at whatever depth in front of the camera."""


@dataclass(frozen=True)
class Step:
    """What the content did from one frame to another, about the frame's centre."""

    dx_px: float = 0.0
    dy_px: float = 0.0
    zoom: float = 0.0
    """Growth: 0.01 is 1 % larger."""
    roll_rad: float = 0.0
    """Clockwise."""
    share: float = 0.0
    """Of the textured points that follow; 0 too where there are too few."""
    along: float = 0.0
    """What is left along the motion, over the motion's length: about 0.02 for a turn, 0.1 and more for travel."""
    across: float = 0.0
    """The same across the motion: noise, and things that move by themselves."""
    still_rim: float = 0.0
    """Share of the textured points of the frame's rim that stay where they are."""
    travel: Travel = Travel()


def similarity(dx_px: float, dy_px: float, zoom: float, roll_rad: float, shape: tuple[int, ...]) -> Floats:
    """(2, 3) the shift, growth and clockwise turn about the middle of a picture of this shape."""
    middle = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    scale = np.exp(zoom)
    cosine, sine = scale * np.cos(roll_rad), scale * np.sin(roll_rad)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return np.hstack([turn, (middle + np.array([dx_px, dy_px]) - turn @ middle)[:, None]])


def step(cv2: Any, dis: Any, one: Gray, two: Gray, textured: Textured, guess: Floats, steady: bool) -> Step:
    """What happened between two pictures of one size; nothing is known where they or their rim have no texture.

    `textured` are points of `one`. `guess` is a first (2, 3) estimate that `two` is taken back by, so that the flow
    that is left is short; unless it is `steady`, a shift is looked for first.
    """
    points = textured.points_px
    size = np.array(one.shape[::-1]) - 1
    rim = (np.minimum(points, size - points) < EDGE_SHARE * size).any(axis=1)
    if rim.sum() < MIN_RIM_POINTS:
        return Step()
    if cv2.norm(one, two, cv2.NORM_L1) < SAME_LEVELS * one.size:
        return Step(share=1.0, still_rim=1.0)
    x, y = points[rim].T
    change = cv2.subtract(two, one, dtype=cv2.CV_16S)
    change = cv2.blur(np.abs(change - np.median(change[y, x]).astype(np.int16)), (9, 9))[y, x]
    still_rim = float((change < STILL_PX * textured.level[rim] + STILL_LEVELS).mean())
    if still_rim >= STILL_ENOUGH:
        return Step(share=still_rim, still_rim=still_rim)
    if textured.share < MIN_TEXTURE:
        return Step(still_rim=still_rim)
    for _ in range(2):
        back, guess = _taken_back(cv2, one, two, guess, steady)
        flow = dis.calc(one, back, None)[points[:, 1], points[:, 0]].astype(np.float64)
        target = (points + flow) @ guess[:, :2].T + guess[:, 2]
        inside = (np.abs(target - size / 2) < size / 2 - BORDER_PX).all(axis=1)
        if inside.sum() < MIN_POINTS:
            return Step()
        found = _split(
            points[inside] - size / 2, (target - points)[inside], FOCAL * float(size.max()), still_rim
        )
        better = similarity(found.dx_px, found.dy_px, found.zoom, found.roll_rad, one.shape)
        if found.share < BELIEVED or _parted(guess, better, size) < NEAR_PX:
            break
        guess, steady = better, True
    return found


def _parted(one: Floats, other: Floats, size: Floats) -> float:
    """The longest way, in pixels, between where two transforms take the corners of a picture."""
    corners = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]]) * [*size, 1.0]
    return float(np.hypot(*((one - other) @ corners.T)).max())


def _taken_back(cv2: Any, one: Gray, two: Gray, guess: Floats, steady: bool) -> tuple[Gray, Floats]:
    """`two` warped towards `one` by the guess, mended by the shift that phase correlation still finds."""

    def taken(matrix: Floats) -> Gray:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped: Gray = cv2.warpAffine(
            two, matrix, one.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
        return warped

    back = taken(guess)
    if steady:
        return back, guess
    small = [cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA) for image in (one, back)]
    first, second = (image.astype(np.float32) for image in small)
    window = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
    (dx, dy), peak = cv2.phaseCorrelate(first, second, window)
    if peak < SHIFTED_PEAK or np.hypot(dx, dy) < SHIFTED_PX:
        return back, guess
    guess = np.hstack([guess[:, :2], guess[:, 2:] + guess[:, :2] @ [[4 * dx], [4 * dy]]])
    return taken(guess), guess


def _split(points: Floats, moves: Floats, focal: float, still_rim: float) -> Step:
    """The turn and zoom that most (n, 2) moves of (n, 2) points about the centre follow, and what they leave."""
    x, y = points.T
    one = np.ones_like(x)
    # A column for pan, tilt, zoom and roll each, the first two with the perspective of a turning camera.
    bend_x, bend_y, both = (x / focal) ** 2, (y / focal) ** 2, x * y / focal**2
    law = np.concatenate([np.stack([one + bend_x, both, x, -y], 1), np.stack([both, one + bend_y, y, x], 1)])
    wanted = moves.T.ravel()
    weight = np.concatenate([one, one])
    for _ in range(ROUNDS):
        heavy = (law * weight[:, None]).T
        found = np.linalg.solve(heavy @ law + 1e-9 * np.eye(4), heavy @ wanted)
        left = (wanted - law @ found).reshape(2, -1)
        error = np.hypot(*left)
        close = 1 / (1 + (error / max(NOISE_PX, 1.4826 * quantile(error, 0.5))) ** 2) ** 2
        weight = np.concatenate([close, close])
    model = (law @ found).reshape(2, -1)
    length = np.hypot(*model)
    share = float((error < np.maximum(TOLERANCE_PX, TOLERANCE_RATIO * length)).mean())
    along = across = 0.0
    far = length > max(NOISE_PX, 0.25 * quantile(length, 0.5))
    if far.sum() >= MIN_RIM_POINTS:
        way, rest = model[:, far] / length[far] ** 2, left[:, far]
        along = _tail((rest * way).sum(axis=0))
        across = _tail(rest[0] * way[1] - rest[1] * way[0])
    dx, dy, zoom, roll = (float(value) for value in found)
    return Step(dx, dy, zoom, roll, share, along, across, still_rim, _travel(points, moves))


def _travel(points: Floats, moves: Floats) -> Travel:
    """The travel whose ways (n, 2) moves follow: all point to or from one place, near points more than far ones.

    Least squares over the moves across their ways, which is linear in the travel; weighted anew twice.
    """
    reach = float(np.abs(points).max())
    (x, y), (u, v) = points.T / reach, moves.T
    # The cross product of a move with its way (z x - t, z y - s) is linear in (t, s, z).
    rows = np.stack([v, -u, y * u - x * v], axis=1)
    size = np.hypot(u, v)
    weight = 1 / np.maximum(size, 1.0)
    for _ in range(TRAVEL_ROUNDS):
        heavy = rows * weight[:, None]
        right, down, inward = np.linalg.eigh(heavy.T @ heavy)[1][:, 0]
        way = np.stack([inward * x - right, inward * y - down])
        length = np.maximum(np.hypot(*way), 1e-6)
        off = np.abs(way[0] * v - way[1] * u) / length
        weight = 1 / np.maximum(size, 1.0) / (1 + (off / max(NOISE_PX, 1.4826 * quantile(off, 0.5))) ** 2)
    nearness = (way[0] * u + way[1] * v) / length**2
    middle = quantile(nearness, 0.5)
    right, down, inward = float(right), float(down), float(inward)
    forward = nearness * np.sign(middle) * length > -TOLERANCE_PX
    share = float((forward & (off < np.maximum(TOLERANCE_PX, TOLERANCE_RATIO * size))).mean())
    return Travel(-right * middle, -down * middle, inward * middle / reach, share)


def _tail(values: Floats) -> float:
    """The standard deviation that the 80th percentile of the absolute values tells of."""
    return quantile(np.abs(values), 0.8) / TAIL
