"""Stickers, frames, particles, tints, flashes and RGB splits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures, Render
from benchmarks.accuracy.drawn import pasted, smiley


def sticker(pictures: Pictures, fps: float, dice: np.random.Generator, share: float) -> Pictures:
    """A drawn face that stays in its place, its side a share of the picture's height."""
    rows, columns = pictures.shape[1:3]
    art = smiley(round(share * rows))
    left, top = float(dice.uniform(0.05, 0.65)) * columns, float(dice.uniform(0.05, 0.6)) * rows
    return np.stack([pasted(picture, art, left, top) for picture in pictures])


def bouncing(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    """A drawn face that crosses the picture and comes back."""
    rows, columns = pictures.shape[1:3]
    art = smiley(round(0.28 * rows))
    there = [
        (abs((i / fps * 0.37) % 2 - 1), abs((i / fps * 0.53 + 0.3) % 2 - 1)) for i in range(len(pictures))
    ]
    places = [((0.05 + 0.65 * x) * columns, (0.05 + 0.6 * y) * rows) for x, y in there]
    return np.stack([pasted(one, art, *place) for one, place in zip(pictures, places, strict=True)])


def frame(pictures: Pictures, fps: float, dice: np.random.Generator, share: float) -> Pictures:
    """A pink frame with confetti around the picture, its width a share of the height."""
    import cv2

    rows, columns = pictures.shape[1:3]
    width = round(share * rows)
    drawn = np.full((rows, columns, 3), (250, 180, 200), np.uint8)
    for _ in range(600):
        at = int(dice.integers(columns)), int(dice.integers(rows))
        ink = tuple(int(level) for level in dice.integers(0, 256, 3))
        cv2.circle(drawn, at, max(2, rows // 90), ink, -1, cv2.LINE_AA)
    whole = np.repeat(drawn[None], len(pictures), axis=0)
    whole[:, width:-width, width:-width] = pictures[:, width:-width, width:-width]
    return whole


def particles(pictures: Pictures, fps: float, dice: np.random.Generator, count: int) -> Pictures:
    """White spots, elsewhere on every picture."""
    import cv2

    rows, columns = pictures.shape[1:3]
    whole = pictures.copy()
    for picture in whole:
        for x, y in dice.integers(0, (columns, rows), (count, 2)).tolist():
            cv2.circle(picture, (x, y), max(1, rows // 150), (255, 255, 255), -1, cv2.LINE_AA)
    return whole


def tint(pictures: Pictures, fps: float, dice: np.random.Generator, share: float) -> Pictures:
    """So much of each picture replaced by its light in pink."""
    pink = np.array([255, 60, 120]) * (0.4 + 0.6 * pictures.mean(axis=-1, keepdims=True) / 255)
    tinted: Pictures = np.rint((1 - share) * pictures + share * pink).astype(np.uint8)
    return tinted


def flash(pictures: Pictures, fps: float, dice: np.random.Generator, last_s: float) -> Pictures:
    """Nearly white for a while in the middle."""
    whole, middle = pictures.copy(), len(pictures) // 2
    for picture in whole[middle : middle + max(1, round(last_s * fps))]:
        picture[:] = np.rint(0.15 * picture + 0.85 * 255)
    return whole


def split(pictures: Pictures, fps: float, dice: np.random.Generator, share: float) -> Pictures:
    """Red to the right and blue to the left, together by a share of the height."""
    shift = max(1, round(share * pictures.shape[1] / 2))
    red, green, blue = (pictures[..., channel] for channel in range(3))
    return np.stack([np.roll(red, shift, 2), green, np.roll(blue, -shift, 2)], axis=-1)


def effect(name: str, strengths: Mapping[str, Render], note: str = "") -> Defect:
    """A kind of effect; from 0.5 on its kind is named."""
    return Defect(name, "effects", "effects_score", "high", strengths, 0.5, note)


DEFECTS = (
    effect(
        "a sticker",
        {f"{share:.0%} of the height": partial(sticker, share=share) for share in (0.15, 0.3)},
        "Told where the picture moves; one of 15% is as small as a logo, and counts as that.",
    ),
    effect(
        "a sticker that moves", {"28% of the height": bouncing}, "Not measured: what moves is no overlay."
    ),
    effect("a frame", {f"{share:.0%} of the height": partial(frame, share=share) for share in (0.06, 0.12)}),
    effect("particles", {f"{count} of them": partial(particles, count=count) for count in (40, 150)}),
    effect(
        "a tint",
        {f"opacity of {share:.0%}": partial(tint, share=share) for share in (0.35, 0.6)},
        "A scene in which all has one colour scores as well.",
    ),
    effect(
        "a flash",
        {f"of {last_s} s": partial(flash, last_s=last_s) for last_s in (0.2, 1.0)},
        "One frame a second is looked at: a flash of 0.2 s is met one time in five.",
    ),
    effect("an RGB split", {f"{s:.1%} of the height": partial(split, share=s) for s in (0.006, 0.015)}),
)
