"""Labels of clips on an axis that is measured: motion classes, and any column of numbers, words or truths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from balance.concepts import UNKNOWN

MOTION_COLUMNS = ("motion_score", "camera_motion_score", "object_motion_score")
SPEEDS = ("slow", "medium", "fast")
MOTIONS = ("still", *(f"{speed}, {mover}" for speed in SPEEDS for mover in ("camera", "subject")))
"""How fast a clip moves, and whether its camera moves more than what it shows."""


def motion(table: pa.Table, edges: Sequence[float]) -> pa.Array:
    """(rows,) one of MOTIONS, null where motion is not measured (an image); `edges` end still, slow and medium.

    A pool that has every class has what SkyReels-V4 balances as motion diversity; its classes are not published, these
    are ours.
    """
    score, camera, subject = (_numbers(table.column(name)) for name in MOTION_COLUMNS)
    speed = np.searchsorted(np.array(edges), score, side="right")
    moving = np.where(np.nan_to_num(camera) >= np.nan_to_num(subject), 0, 1)
    place = np.where(speed == 0, 0, 2 * speed - 1 + moving)
    return pa.array(MOTIONS).take(pa.array(place, mask=np.isnan(score)))


def by_column(column: pa.ChunkedArray, edges: Sequence[float]) -> pa.Array:
    """(rows,) the column's words or truths, or for `edges` the stretch in which its number lies; null where null.

    ValueError: numbers without edges, edges of what is no number, or lists.
    """
    kind = column.type
    if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and edges):
        if not edges:
            raise ValueError(f"holds {kind}: its axis needs edges")
        values = _numbers(column)
        place = np.searchsorted(np.array(edges), values, side="right")
        return pa.array(stretches(edges)).take(pa.array(place, mask=np.isnan(values)))
    if edges:
        raise ValueError(f"holds {kind}, which edges cannot cut")
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise ValueError(f"holds {kind}, and an axis is about single values")
    return pc.cast(column, pa.string()).combine_chunks()


def stretches(edges: Sequence[float]) -> list[str]:
    """`under 2`, `2 to 5`, `5 and more`; numbers so that they sort as they rise."""
    names = [
        f"under {edges[0]:g}",
        *(f"{low:g} to {high:g}" for low, high in pairwise(edges)),
        f"{edges[-1]:g} and more",
    ]
    width = len(str(len(names) - 1))
    return [f"{number:0{width}d}: {name}" for number, name in enumerate(names)]


def known(labels: pa.Array) -> pa.Array:
    """The labels, UNKNOWN where null."""
    return labels.cast(pa.string()).fill_null(UNKNOWN)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """(rows,) the values, NaN for nulls."""
    values: npt.NDArray[np.float64] = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    return values
