"""Cells: clips that no axis of a balance tells apart, and the shares that the axes want of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FREE = 8192
"""Cells that are decided one by one: the largest; a linear program of so many takes seconds."""


@dataclass(frozen=True)
class Cells:
    """The cells of a pool that have clips."""

    counts: Floats
    """(cells,) clips in each."""
    labels: Ints
    """(axes, cells) the number of each cell's label on each axis."""
    sizes: tuple[int, ...]
    """(axes,) how many labels each axis has."""

    def sums(self, amounts: Floats) -> list[Floats]:
        """For each axis (its labels,) the amounts of the cells added up."""
        return [
            np.bincount(labels, amounts, minlength=size).astype(np.float64)
            for labels, size in zip(self.labels, self.sizes, strict=True)
        ]


@dataclass(frozen=True)
class Wanted:
    """Bounds on the share of some labels: (rows,) each."""

    axis: Ints
    label: Ints
    low: Floats
    """Least share, the tolerance taken off; 0 where only a ceiling is wanted."""
    high: Floats
    """Largest share, the tolerance added."""


def grouped(cells: Cells) -> Ints:
    """(cells,) the column of the program that decides each cell: the FREE largest have one of their own.

    The others are thinned together in groups that share all labels but those of the axis with the most labels, or of
    as few axes more as make FREE groups at most: exact in every share, and not far from the best for tiny cells.
    """
    count = len(cells.counts)
    if count <= FREE:
        return np.arange(count)
    column = np.empty(count, np.int64)
    order = np.argsort(-cells.counts, kind="stable")
    column[order[:FREE]] = np.arange(FREE)
    small = order[FREE:]
    by_size = np.argsort(cells.sizes, kind="stable")
    for kept in range(len(by_size) - 1, -1, -1):
        _, groups = np.unique(cells.labels[by_size[:kept]][:, small], axis=1, return_inverse=True)
        if groups.size == 0 or groups.max() < FREE:
            break
    column[small] = FREE + groups.ravel()
    return column


def membership(cells: Cells, column: Ints, wanted: Wanted) -> csr_array:
    """(rows of `wanted`, columns) the part of each column's clips that has the label of the row."""
    from scipy.sparse import csr_array, vstack

    columns = int(column.max()) + 1
    whole = np.bincount(column, cells.counts, minlength=columns)
    rows = []
    for axis, size in enumerate(cells.sizes):
        part = csr_array(
            (cells.counts / whole[column], (cells.labels[axis], column)), shape=(size, columns)
        )  # entries of one place are added up
        rows.append(part[wanted.label[wanted.axis == axis]])
    return csr_array(vstack(rows))
