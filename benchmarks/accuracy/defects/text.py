"""Written words over the picture."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures
from benchmarks.accuracy.drawn import pasted, written

WORDS = ("grand opening", "seven days only", "ask inside")


def caption(pictures: Pictures, fps: float, dice: np.random.Generator, lines: int, height: float) -> Pictures:
    """Lines of text anywhere in the frame, in the same place on every picture."""
    rows, columns = pictures.shape[1:3]
    arts = [written(WORDS[i % len(WORDS)], height * rows, 2) for i in range(lines)]
    tall = sum(art.size[1] for art in arts)
    left, top = dice.uniform(0, max(1, columns - arts[0].size[0])), dice.uniform(0, max(1, rows - tall))
    whole = []
    for picture in pictures:
        for i, art in enumerate(arts):
            picture = pasted(picture, art, left, top + i * art.size[1])
        whole.append(picture)
    return np.stack(whole)


DEFECTS = (
    Defect(
        "words over the picture",
        "text",
        "text_area_ratio",
        "high",
        {
            "a line of 4% of the height": partial(caption, lines=1, height=0.04),
            "three lines of 6% of the height": partial(caption, lines=3, height=0.06),
        },
        0.005,
        "The words are English, in one font; the packaged recogniser reads English and Chinese.",
    ),
)
