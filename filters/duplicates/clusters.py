"""Clusters from pairs: the best clip stands for those that were compared with it and are its copies.

Chains do not glue: where A is near B and B near C but not A, the best of the three takes its own neighbours and the
rest is left. So a cluster is a star, and every member is a copy of its representative.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates.columns import Ints

SMALLEST = 1e-6
"""Values nearer to zero count as zero when they are compared."""


def components(count: int, one: Ints, two: Ints) -> Ints:
    """(count,) the lowest row that each row is connected with."""
    label = np.arange(count)
    while True:
        low = np.minimum(label[one], label[two])
        before = label.copy()
        # Hooking the labels, not only the rows, halves long chains at each round.
        for rows in (label[one], label[two]):
            np.minimum.at(label, rows, low)
        label = label[label]
        if np.array_equal(label, before):
            return label


def preference(table: pa.Table, prefer: Sequence[str], tie_ratio: float) -> Ints:
    """(rows,) 0 for the row that is preferred to all others, and so on.

    `prefer` are columns, the most important first; higher is better, lower after a "-"; those that the table does not
    have are left out. Values within `tie_ratio` of each other may count as equal, so that the next column is asked;
    null is worst. The last word has clip_id.
    """
    ids = table.column("clip_id").combine_chunks()
    keys = [pc.rank(ids, tiebreaker="first").to_numpy().astype(np.float64)]
    for name in reversed(prefer):
        column = name.removeprefix("-")
        if column in table.column_names:
            values = table.column(column).cast(pa.float64()).to_numpy()
            keys.append(_steps(values, tie_ratio, -1 if name.startswith("-") else 1))
    order = np.lexsort(keys)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return place


def _steps(values: npt.NDArray[np.float64], tie_ratio: float, sign: int) -> npt.NDArray[np.float64]:
    """Sort keys that put preferred values first and nulls last, equal within steps of `tie_ratio`."""
    size = np.maximum(np.abs(np.nan_to_num(values)), SMALLEST)
    steps = np.round(np.log(size / SMALLEST) / np.log1p(tie_ratio)) * np.sign(values) * sign
    keys: npt.NDArray[np.float64] = np.where(np.isnan(values), np.inf, -np.nan_to_num(steps))
    return keys


def best_of(label: Ints, place: Ints) -> Ints:
    """(rows,) the row with the lowest `place` among those of the same label."""
    best = np.full(len(label), np.iinfo(np.int64).max)
    np.minimum.at(best, label, place)
    by_place = np.empty(len(place), np.int64)
    by_place[place] = np.arange(len(place))
    found: Ints = by_place[best[label]]
    return found


def stars(place: Ints, one: Ints, two: Ints) -> Ints:
    """(rows,) the representative of each row, itself for one that stands alone or for others.

    Rows are taken in order of `place`: one that no other has taken yet becomes a representative and takes all its
    neighbours that are still free.
    """
    representative = np.arange(len(place))
    ends = np.concatenate([one, two])
    others = np.concatenate([two, one])[np.argsort(ends, kind="stable")]
    starts = np.searchsorted(np.sort(ends), np.arange(len(place) + 1))
    taken = np.zeros(len(place), np.bool_)
    linked = np.unique(ends)
    for row in linked[np.argsort(place[linked])]:
        if not taken[row]:
            taken[row] = True
            near = others[starts[row] : starts[row + 1]]
            free = near[~taken[near]]
            taken[free] = True
            representative[free] = row
    return representative
