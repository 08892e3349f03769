"""Panels of a composed picture: what straight lines that stay cut apart, and rectangles set into a picture. Ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Gray

Floats = npt.NDArray[np.float32]
Rect = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the last two exclusive."""
STEP_LEVELS = 8
"""Luma step of an edge: about what coding leaves of a faint line."""
THIN_PX = 7
"""A line's step is at least twice the mean step over so many pixels: it is one edge, not texture."""
FAR_PX = 15
"""Lines around a line that it is compared with."""
CUT_TIMES, INSET_TIMES = 1.5, 1.25
"""Difference over a line, over that between places as far apart in one panel, for a cut and for an inset's sides
together: a line drawn over a picture is neither."""
SHORT_SHARE = 0.7
"""Of the frame's side: a shorter line needs more support, as edges of things reach so far."""
SIDES_MOST = 14
"""Lines of each direction tried as the sides of an inset."""


@dataclass(frozen=True)
class Edges:
    """(height, width) each: share of the frames with a thin edge just left of the pixel, and just above it."""

    upright: Floats
    level: Floats


@dataclass(frozen=True)
class Scene:
    """A clip's frames as the search sees them."""

    grays: npt.NDArray[np.uint8]
    edges: Edges
    line_min: float
    short_min: float
    side_min: float

    @property
    def whole(self) -> Rect:
        return 0, 0, self.grays.shape[2], self.grays.shape[1]


def edges(cv2: Any, grays: Sequence[Gray]) -> Edges:
    """The edges of frames of one size that stay where they are."""
    height, width = grays[0].shape
    upright, level = np.zeros((height, width), np.uint16), np.zeros((height, width), np.uint16)
    for gray in grays:
        upright[:, 1:] += _thin(cv2, cv2.absdiff(gray[:, 1:], gray[:, :-1]), (THIN_PX, 1))
        level[1:] += _thin(cv2, cv2.absdiff(gray[1:], gray[:-1]), (1, THIN_PX))
    share = np.float32(1 / len(grays))
    return Edges(upright * share, level * share)


def _thin(cv2: Any, steps: Gray, window: tuple[int, int]) -> Gray:
    """1 where a step stands out of its neighbours, and a pixel beside it: scaling moves an edge by as much."""
    mean = cv2.blur(steps, window)
    sharp = ((steps >= STEP_LEVELS) & (steps >= 2 * mean.astype(np.uint16))).astype(np.uint8)
    wide: Gray = cv2.dilate(sharp, np.ones((3, 1) if window[0] == 1 else (1, 3), np.uint8))
    return wide


def panels(scene: Scene, least: float) -> tuple[list[Rect], float, set[str]]:
    """The rectangles that full lines cut the picture into, the weakest line's support, and the directions cut.

    No panel is narrower than `least` of the frame's side, and a cut has a picture on both sides.
    """
    found, score, directions = [], 1.0, set[str]()
    waiting = [scene.whole]
    while waiting:
        rect = waiting.pop()
        cut = _best_cut(scene, rect, least)
        if cut is None:
            found.append(rect)
            continue
        support, parts, direction = cut
        waiting += parts
        score = min(score, support)
        directions.add(direction)
    return sorted(found), score, directions


def _best_cut(scene: Scene, rect: Rect, least: float) -> tuple[float, tuple[Rect, Rect], str] | None:
    x0, y0, x1, y1 = rect
    height, width = scene.edges.upright.shape
    inside = slice(y0, y1), slice(x0, x1)
    cuts: list[tuple[float, tuple[Rect, Rect], str]] = []
    place = _line(scene, scene.edges.upright[inside].mean(axis=0), least * width, (y1 - y0) / height)
    if place and _stepped(scene.grays[:, y0:y1, x0:x1], place[0]):
        x = x0 + place[0]
        cuts.append((place[1], ((x0, y0, x, y1), (x, y0, x1, y1)), "across"))
    place = _line(scene, scene.edges.level[inside].mean(axis=1), least * height, (x1 - x0) / width)
    if place and _stepped(scene.grays[:, y0:y1, x0:x1].transpose(0, 2, 1), place[0]):
        y = y0 + place[0]
        cuts.append((place[1], ((x0, y0, x1, y), (x0, y, x1, y1)), "down"))
    good = [cut for cut in cuts if all(_pictured(scene, part) for part in cut[1])]
    return max(good, key=lambda cut: cut[0], default=None)


def _line(scene: Scene, profile: Floats, margin_px: float, length_share: float) -> tuple[int, float] | None:
    """Where the strongest line stands and its support, when it is strong enough for its length."""
    margin = max(2, round(margin_px))
    if len(profile) <= 2 * margin:
        return None
    place = margin + int(profile[margin:-margin].argmax())
    support = float(profile[place])
    around = float(np.median(profile[max(0, place - FAR_PX) : place + FAR_PX + 1]))
    wanted = scene.line_min if length_share > SHORT_SHARE else scene.short_min
    return (place, support) if support >= wanted and support - around >= scene.line_min / 2 else None


def _stepped(grays: npt.NDArray[np.uint8], place: int) -> bool:
    """Whether what lies left of the line differs from what lies right of it, and more than either does in itself."""
    seen, across, within = _differences(grays, place)
    return seen >= 0.5 and across >= CUT_TIMES * within


def _differences(grays: npt.NDArray[np.uint8], place: int) -> tuple[float, float, float]:
    """Share of an upright line whose two sides differ visibly, the mean difference, and that within each side."""
    last = grays.shape[2] - 3
    near = [min(max(0, x), last) for x in (place - 15, place - 6, place + 3, place + 12)]
    strips = [grays[:, :, x : x + 3].astype(np.float32).mean(axis=2) for x in near]
    across = np.abs(strips[1] - strips[2])
    within = (np.abs(strips[1] - strips[0]).mean() + np.abs(strips[3] - strips[2]).mean()) / 2
    return float((across >= STEP_LEVELS).mean()), float(across.mean()), float(within)


def _pictured(scene: Scene, rect: Rect) -> bool:
    """Whether it is a picture, not a bar or a plain card: much of its rows and of its columns has texture."""
    x0, y0, x1, y1 = rect
    cut = scene.grays[len(scene.grays) // 2, y0:y1, x0:x1].astype(np.float32)
    lines = min(float((cut.std(axis=axis) >= 3).mean()) for axis in (0, 1))
    return float(cut.std()) >= 6 and lines >= 0.4


def change(scene: Scene, rect: Rect) -> float:
    """Mean luma levels by which the picture in it changes from one frame to the next; 0 for one frame."""
    x0, y0, x1, y1 = rect
    cut = scene.grays[:, y0:y1:2, x0:x1:2].astype(np.int16)
    return float(np.abs(np.diff(cut, axis=0)).mean()) if len(cut) > 1 else 0.0


def inset(scene: Scene, least: float, most: float) -> tuple[Rect, float] | None:
    """The rectangle inside the picture with lines at all its sides, and its weakest side's support.

    Its sides are at least `least` of the frame's, its area at most `most`. A side may lie on the frame's own.
    """
    xs, ys = _ends(scene.edges.upright, least), _ends(scene.edges.level.T, least)
    height, width = scene.edges.upright.shape
    if len(xs) + len(ys) < 6:  # two sides are not the frame's
        return None
    x0, x1 = (np.array(side) for side in zip(*combinations(xs, 2), strict=True))
    y0, y1 = (np.array(side) for side in zip(*combinations(ys, 2), strict=True))
    wide, tall = x1 - x0 >= least * width, y1 - y0 >= least * height
    x0, x1, y0, y1 = x0[wide], x1[wide], y0[tall], y1[tall]
    if not len(x0) or not len(y0):
        return None
    down = np.pad(np.cumsum(scene.edges.upright, axis=0), ((1, 0), (0, 1)))
    along = np.pad(np.cumsum(scene.edges.level, axis=1), ((0, 1), (1, 0)))
    spans_y, spans_x = (y1 - y0)[None, :], (x1 - x0)[:, None]
    sides = []
    for x in (x0, x1):
        support = (down[y1[None, :], x[:, None]] - down[y0[None, :], x[:, None]]) / spans_y
        sides.append(np.where(((x == 0) | (x == width))[:, None], 1, support))
    for y in (y0, y1):
        support = (along[y[None, :], x1[:, None]] - along[y[None, :], x0[:, None]]) / spans_x
        sides.append(np.where(((y == 0) | (y == height))[None, :], 1, support))
    weakest = np.minimum.reduce(sides)
    own = [(x0 == 0)[:, None], (x1 == width)[:, None], (y0 == 0)[None, :], (y1 == height)[None, :]]
    on_frame = np.sum(np.broadcast_arrays(*own), axis=0)
    across = (own[0] & own[1]) | (own[2] & own[3])
    fits = (spans_x * spans_y <= most * width * height) & (on_frame <= 2) & ~across
    weakest = np.where(fits, weakest, 0)
    i, j = np.unravel_index(int(weakest.argmax()), weakest.shape)
    rect = int(x0[i]), int(y0[j]), int(x1[i]), int(y1[j])
    good = weakest[i, j] >= scene.side_min and _pictured(scene, rect) and _set_in(scene, rect)
    return (rect, float(weakest[i, j])) if good else None


def _set_in(scene: Scene, rect: Rect) -> bool:
    """Whether the picture steps at those sides of a rectangle that are not the frame's."""
    left, top, right, bottom = rect
    rows, columns = scene.grays[:, top:bottom], scene.grays[:, :, left:right].transpose(0, 2, 1)
    inner = [(rows, x) for x in (left, right) if 0 < x < rows.shape[2]]
    inner += [(columns, y) for y in (top, bottom) if 0 < y < columns.shape[2]]
    _, across, within = np.mean([_differences(*side) for side in inner], axis=0).tolist()
    return bool(across >= INSET_TIMES * within)


def _ends(support: Floats, least: float) -> list[int]:
    """Where lines as long as `least` of the side stand, the longest first chosen, and the frame's own two ends."""
    length, count = support.shape
    # Lines are long: a quarter of their points is enough to find them.
    fewer = support[: length // 4 * 4].reshape(-1, 4, count).mean(axis=1) if length >= 64 else support
    run = max(2, round(least * len(fewer)))
    sums = np.pad(np.cumsum(fewer, axis=0), ((1, 0), (0, 0)))
    best = ((sums[run:] - sums[:-run]) / run).max(axis=0)
    chosen: list[int] = []
    for place in np.argsort(-best, kind="stable"):
        if best[place] < 0.5 or len(chosen) == SIDES_MOST:
            break
        if all(abs(int(place) - other) > 2 for other in chosen) and 0 < place < count:
            chosen.append(int(place))
    return sorted({0, count, *chosen})
