"""Bars beside a picture: plain ones, with writing on them or without, and blurred copies of the picture. Ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Rgb

SIDES = ("left", "right", "top", "bottom")
Marks = npt.NDArray[np.bool_]
Widths = dict[str, int]
Floats = npt.NDArray[np.float32]
END_SHARE = 0.15
"""Share of a line, at each of its ends, that no writing reaches."""
EDGE_TIMES = 1.6
"""The step into the picture over the typical step inside it."""
CARD_PX = 64
"""Longer side at which a blurred bar is compared with the picture: it has no finer content."""


@dataclass(frozen=True)
class Rules:
    """What is a bar. The settings of the border stage."""

    tolerance: int
    stray_share: float
    edge_share: float
    edge_px: int
    margin_px: int
    most: float
    text_most: float
    blur_most: float
    alike_min: float


def plain(cv2: Any, images: Rgb, rules: Rules) -> Widths:
    """Pixels of one-coloured bar at each side of frames (n, height, width, 3)."""
    ends = {"left": images[:, :, 0], "right": images[:, :, -1], "top": images[:, 0], "bottom": images[:, -1]}
    marks = {side: _differs(cv2, images, ends[side], rules.tolerance) for side in SIDES}
    # Each side's lines from the edge inwards.
    left, right, top, bottom = (marks[side] for side in SIDES)
    lines = {"left": left.T, "right": right.T[::-1], "top": top, "bottom": bottom[::-1]}
    clean = {side: _extent(lines[side], rules) for side in SIDES}
    bars = dict.fromkeys(SIDES, 0)
    # A second round tests the ends between the bars that the first one found.
    for _ in range(2):
        bars = {side: _width(side, lines[side], clean[side], bars, rules) for side in SIDES}
    return {side: width + rules.margin_px if width else 0 for side, width in bars.items()}


def _differs(cv2: Any, images: Rgb, edge: Rgb, tolerance: int) -> Marks:
    """(height, width): in some frame, this pixel is not of the middle colour of the edge line (n, length, 3)."""
    colour = np.median(edge.reshape(-1, 3), axis=0)
    low, high = (tuple(float(c) for c in colour + sign * tolerance) for sign in (-1, 1))
    alike = cv2.inRange(images[0], low, high)
    for image in images[1:]:
        alike &= cv2.inRange(image, low, high)
    differs: Marks = alike == 0
    return differs


def _extent(lines: Marks, rules: Rules) -> int:
    """Lines of bar colour before the first that is not; 0 when they are too many to be a bar."""
    content = lines.mean(axis=1) > rules.stray_share
    extent = int(content.argmax()) if content.any() else 0
    return extent if extent <= rules.most * len(lines) else 0


def _width(side: str, lines: Marks, clean: int, bars: Mapping[str, int], rules: Rules) -> int:
    """Where the bar ends, counting what is written on it; 0 when there is none or its end is ragged."""
    before, after = ("top", "bottom") if side in ("left", "right") else ("left", "right")
    between = lines[:, bars[before] : lines.shape[1] - bars[after]]
    return (_written(between, clean, rules) or _end(between, clean, rules)) if clean else 0


def _written(lines: Marks, clean: int, rules: Rules) -> int:
    """The end of a bar with writing: both ends of its lines are clean farther in than the middle; 0 when none is."""
    reach = max(1, round(END_SHARE * lines.shape[1]))
    ends = np.concatenate([lines[:, :reach], lines[:, -reach:]], axis=1)
    extent = _extent(ends, rules)
    middle = lines[clean:extent].mean(axis=1) > rules.stray_share
    if extent <= clean + rules.edge_px or middle.sum() > rules.text_most * len(lines):
        return 0
    halves = _end(ends[:, :reach], extent, rules), _end(ends[:, reach:], extent, rules)
    return max(halves) if min(halves) and _end(lines, extent, rules) else 0


def _end(lines: Marks, extent: int, rules: Rules) -> int:
    """The line from `extent` on that differs over half as much as it must; 0 when the end is ragged."""
    inside = lines[extent : extent + rules.edge_px]
    if inside.any(axis=0).mean() < rules.edge_share:
        return 0
    return extent + int((inside.mean(axis=1) >= rules.edge_share / 2).argmax())


def blurred(cv2: Any, images: Rgb, rules: Rules) -> Widths:
    """Pixels at each side that a blurred, enlarged copy of the picture fills: left and right, or top and bottom."""
    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    rows, columns = _profiles(cv2, grays), _profiles(cv2, [np.ascontiguousarray(gray.T) for gray in grays])
    found = dict.fromkeys(SIDES, 0)
    # Columns: the steps across them are those along the rows, and their detail is that along themselves.
    for low, high, steps, detail in (("left", "right", rows, columns), ("top", "bottom", columns, rows)):
        ends = _blur_ends(steps[0], detail[1], rules)
        turned = grays if low == "left" else [gray.T for gray in grays]
        if ends and _likeness(cv2, turned, *ends) >= rules.alike_min:
            found[low] = ends[0] + rules.margin_px
            found[high] = len(detail[1]) - ends[1] + rules.margin_px
            break
    return found


def _profiles(cv2: Any, grays: list[Any]) -> tuple[Floats, Floats]:
    """Mean steps between neighbouring pixels of the rows: between each two columns, and in each row."""
    along = [cv2.absdiff(gray[:, 1:], gray[:, :-1]) for gray in grays]
    between, within = (
        np.mean(
            [cv2.reduce(steps, axis, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel() for steps in along], axis=0
        )
        for axis in (0, 1)
    )
    return between, within


def _blur_ends(steps: Floats, detail: Floats, rules: Rules) -> tuple[int, int] | None:
    """Where the picture starts and stops: at lines that are steps, as far from both sides, with little detail beyond.

    `steps` are the mean steps across each line between two lines, `detail` the mean ones along each line.
    """
    count = len(detail)
    least, most = max(4, round(0.06 * count)), round(rules.most * count)
    near = np.lib.stride_tricks.sliding_window_view(np.pad(steps, 2), 5)
    both = np.minimum(near.max(axis=1), near.max(axis=1)[::-1])[least:most]
    if not len(both):
        return None
    place = least + int(both.argmax())
    start = place - 1 + int(near[place].argmax())
    stop = len(steps) - place - 2 + int(near[len(steps) - 1 - place].argmax())
    if stop - start < 8:
        return None
    beyond = np.concatenate([detail[: max(1, start - 4)], detail[stop + 4 :]])
    clear = both.max() >= EDGE_TIMES * np.median(steps[start + 4 : stop - 4])
    blunt = np.percentile(beyond, 90) <= rules.blur_most * detail[start:stop].mean() if len(beyond) else False
    return (start, stop) if clear and blunt and detail[start:stop].mean() >= 1 else None


def _likeness(cv2: Any, grays: list[Any], start: int, stop: int) -> float:
    """Correlation of what is outside with the inside enlarged, to cover the frame or to fill it: the better one."""
    height, width = grays[0].shape
    card = (CARD_PX, max(2, round(CARD_PX * height / width)))
    outside = np.ones(card[0], bool)
    outside[int(start / width * CARD_PX) : -int(-stop / width * CARD_PX // 1)] = False
    keep = min(height, round(height * (stop - start) / width))
    top = (height - keep) // 2
    fills = []
    for rows in (slice(top, top + keep), slice(None)):
        pairs = [(_card(cv2, gray, card), _card(cv2, gray[rows, start:stop], card)) for gray in grays]
        bars, copies = (np.stack(side)[..., outside].ravel() for side in zip(*pairs, strict=True))
        spread = float(bars.std() * copies.std())
        fills.append(
            float(((bars - bars.mean()) * (copies - copies.mean())).mean()) / spread if spread else 0.0
        )
    return max(fills)


def _card(cv2: Any, gray: Any, size: tuple[int, int]) -> Floats:
    """Small and blurred, as float32."""
    small = cv2.resize(np.ascontiguousarray(gray), size, interpolation=cv2.INTER_AREA)
    card: Floats = cv2.GaussianBlur(small, (0, 0), 2).astype(np.float32)
    return card
