"""Synthetic content: slideshows and zooms over a still, a game's display, a screen, a drawn look."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures

INK, PAPER, BAR = (40, 40, 45), (244, 244, 240), (50, 90, 160)


def panned(pictures: Pictures, fps: float, dice: np.random.Generator, grows: float, moves: float) -> Pictures:
    """The first frame alone, zoomed into and moved over evenly: shares of the frame over the clip."""
    import cv2

    frames, height, width = pictures.shape[:3]
    result = np.empty_like(pictures)
    for number in range(frames):
        done = number / max(1, frames - 1)
        scale = 1.12 + grows * done
        x, y = (1 - scale) * width / 2 + (done - 0.5) * moves * width, (1 - scale) * height / 2
        matrix = np.array([[scale, 0, x], [0, scale, y]], np.float32)
        result[number] = cv2.warpAffine(pictures[0], matrix, (width, height), flags=cv2.INTER_CUBIC)
    return result


def display(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    """Bars, a map, a row of slots and numbers, as a game lays them over its world."""
    import cv2

    result = pictures.copy()
    height, width = result.shape[1:3]
    unit = min(height, width) / 360

    def box(picture: Pictures, corners: tuple[float, ...], colour: tuple[int, int, int], line: int) -> None:
        x0, y0, x1, y1 = (round(corner) for corner in corners)
        cv2.rectangle(picture, (x0, y0), (x1, y1), colour, line)

    def write(picture: Pictures, text: str, x: float, y: float) -> None:
        thick = max(1, round(2 * unit))
        cv2.putText(
            picture, text, (round(x), round(y)), cv2.FONT_HERSHEY_SIMPLEX, 0.7 * unit, (255,) * 3, thick
        )

    for number, picture in enumerate(result):
        right, low = width - 20 * unit, height - 10 * unit
        box(picture, (20 * unit, 20 * unit, 170 * unit, 36 * unit), (30, 30, 30), -1)
        box(picture, (22 * unit, 22 * unit, (165 - number % 40) * unit, 34 * unit), (210, 50, 50), -1)
        box(picture, (right - 90 * unit, 20 * unit, right, 110 * unit), (20, 60, 30), -1)
        box(picture, (right - 90 * unit, 20 * unit, right, 110 * unit), (230, 230, 230), round(2 * unit))
        for slot in range(5):
            x = width / 2 + (48 * slot - 120) * unit
            box(picture, (x, low - 40 * unit, x + 40 * unit, low), (60, 60, 60), -1)
            box(picture, (x, low - 40 * unit, x + 40 * unit, low), (210, 210, 210), round(2 * unit))
        write(picture, f"LAP {1 + number // 50}", 20 * unit, low)
        write(picture, f"{120 + number % 9} km/h", right - 90 * unit, low)
    return result


def screen(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    """An editor's window in which lines are written; nothing of the clip is left."""
    import cv2

    frames, height, width = pictures.shape[:3]
    unit = min(height, width) / 360
    words = [f"value_{a} = compute({b}, {c})" for a, b, c in dice.integers(0, 999, (40, 3))]
    line_px = 20 * unit
    rows = int((height - 40 * unit) / line_px)
    result = np.empty_like(pictures)
    for number in range(frames):
        picture = result[number]
        picture[:] = PAPER
        picture[: round(24 * unit)], picture[round(24 * unit) :, : round(0.2 * width)] = BAR, 220
        for row in range(rows):
            y = round(44 * unit + row * line_px)
            shown = row <= rows // 2 + number * rows // frames
            for x, text in ((10 * unit, f"file_{row}"), (0.24 * width, words[row % 40] if shown else "")):
                cv2.putText(
                    picture, text, (round(x), y), cv2.FONT_HERSHEY_SIMPLEX, 0.45 * unit, INK, 1, cv2.LINE_AA
                )
    return result


def drawn(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    """Flat colours within dark outlines, two frames a drawing, traced from the clip."""
    import cv2

    result = np.empty_like(pictures)
    for number in range(len(pictures)):
        if number % 2:
            result[number] = result[number - 1]
            continue
        soft = cv2.medianBlur(cv2.GaussianBlur(pictures[number], (0, 0), 4), 15)
        flat = (soft // 48 * 48 + 24).astype(np.uint8)
        tone = flat.max(axis=2)
        outline = cv2.morphologyEx(tone, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        flat[outline] = 20
        result[number] = flat
    return result


DEFECTS = (
    Defect(
        "slideshow",
        "synthetic",
        "slideshow_score",
        "high",
        {
            "moved by 12%": partial(panned, grows=0.0, moves=0.12),
            "zoomed by 6%": partial(panned, grows=0.06, moves=0.0),
            "still": partial(panned, grows=0.0, moves=0.0),
        },
        0.5,
        "A camera on a slider or a drone that moves as evenly over a scene that stands still looks the same.",
        leave_out=("dark",),
    ),
    Defect(
        "game display",
        "synthetic",
        "hud_score",
        "high",
        {"over the clip": display},
        0.5,
        "Found only where the picture moves under it.",
        leave_out=("still",),
    ),
    Defect("screen recording", "synthetic", "screen_score", "high", {"an editor": screen}, 0.5),
    Defect(
        "animation, flat colours",
        "synthetic",
        "animation_score",
        "high",
        {"traced from the clip": drawn},
        0.5,
        "Only pictures of few, large, flat areas are found: not busy drawings, nor rendered films with texture.",
        leave_out=("animation",),
    ),
)
