"""Subtitles that change every two seconds, and a ticker."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures
from benchmarks.accuracy.drawn import pasted, written

SPOKEN = (
    "where are you going",
    "I told you to wait",
    "nobody knows why",
    "come back before dawn",
    "it was not yours",
)
NEWS = (
    "storm reaches the coast   team wins the cup again   markets fall after the vote   strike ends today   "
    * 3
)
UP_S = 2.0
"""How long a line is up."""


def subtitles(
    pictures: Pictures, fps: float, dice: np.random.Generator, lines: int, middle: float
) -> Pictures:
    """Centred lines around a height, a share of the picture's; other words every UP_S seconds."""
    rows, columns = pictures.shape[1:3]
    height_px = min(0.05 * rows, 0.04 * columns)
    first, whole = int(dice.integers(len(SPOKEN))), []
    for i, picture in enumerate(pictures):
        for j in range(lines):
            said = SPOKEN[(first + int(i / fps / UP_S) * lines + j) % len(SPOKEN)]
            art = written(said, height_px, 2)
            width, height = art.size
            picture = pasted(picture, art, (columns - width) / 2, middle * rows + (j - lines / 2) * height)
        whole.append(picture)
    return np.stack(whole)


def ticker(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    """A bar along the bottom with words that run to the left."""
    rows, columns = pictures.shape[1:3]
    news = written(NEWS, 0.045 * rows)
    start, room = float(dice.uniform(0, 200)), news.size[0] - columns
    whole = pictures.copy()
    top = round(0.9 * rows) - news.size[1] // 2
    whole[:, top : top + news.size[1]] = (20, 30, 120)
    offsets = [int(start + i / fps * 0.2 * columns) % max(1, room) for i in range(len(pictures))]
    return np.stack(
        [pasted(one, news.crop(at, columns), 0, top) for one, at in zip(whole, offsets, strict=True)]
    )


DEFECTS = (
    Defect(
        "subtitles",
        "subtitle",
        "subtitle_ratio",
        "high",
        {
            "a line in the upper third": partial(subtitles, lines=1, middle=0.1),
            "a line in the lower third": partial(subtitles, lines=1, middle=0.88),
            "two lines in the lower third": partial(subtitles, lines=2, middle=0.86),
            "a news ticker": ticker,
        },
        0.01,
        "A line that stays over a picture that stays as well cannot be told from a sign: null.",
    ),
)
