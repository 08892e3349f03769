"""Marks that stay put: drawn and written, opaque and half-transparent, one and many."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures
from benchmarks.accuracy.drawn import Art, badge, pasted, written


def _over(pictures: Pictures, art: Art, places: list[tuple[float, float]], opacity: float) -> Pictures:
    whole = []
    for picture in pictures:
        for left, top in places:
            picture = pasted(picture, art, left, top, opacity)
        whole.append(picture)
    return np.stack(whole)


def corner(pictures: Pictures, fps: float, dice: np.random.Generator, opacity: float) -> Pictures:
    """A drawn mark in one of the corners."""
    rows, columns = pictures.shape[1:3]
    art = badge(max(16, rows // 12))
    left = float(dice.choice([0.04 * columns, 0.96 * columns - art.size[0]]))
    return _over(pictures, art, [(left, float(dice.choice([0.06, 0.86])) * rows)], opacity)


def name(pictures: Pictures, fps: float, dice: np.random.Generator, opacity: float) -> Pictures:
    """A written mark anywhere."""
    rows, columns = pictures.shape[1:3]
    art = written("@rushes_clips", max(10.0, 0.035 * rows))
    at = float(dice.uniform(0.02, 0.6)) * columns, float(dice.uniform(0.1, 0.9)) * rows
    return _over(pictures, art, [at], opacity)


def tiles(pictures: Pictures, fps: float, dice: np.random.Generator, opacity: float) -> Pictures:
    """A written mark in rows over all of the picture."""
    rows, columns = pictures.shape[1:3]
    art = written("stockpix", max(12.0, 0.05 * rows))
    places = [
        ((x + 0.12 * (i % 2)) * columns, y * rows)
        for i, y in enumerate((0.08, 0.28, 0.48, 0.68, 0.88))
        for x in (0.02, 0.29, 0.56, 0.83)
    ]
    return _over(pictures, art, places, opacity)


DEFECTS = tuple(
    Defect(
        what,
        "logo",
        "logo_score",
        "high",
        {f"opacity of {opacity:.0%}": partial(render, opacity=opacity) for opacity in (0.25, 0.5, 1.0)},
        0.5,
        "Null where the picture hardly moves: a mark cannot be told from the scene there." + note,
    )
    for what, render, note in (
        ("a mark in a corner", corner, ""),
        ("a written mark", name, " One in the middle of the upper or lower third counts as a subtitle."),
        ("marks all over", tiles, ""),
    )
)
