"""What the report shows of a pool's balance: shares, what goes together, what went and why, and clips of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from balance.resample import AxisResult, Label
from jobs.balancing import Outcome, shortened, unreached, weighed

if TYPE_CHECKING:
    from jobs.report import Card

MOST = 12
"""Labels of an axis that are drawn; those beyond are added up in one row that says how many they are."""
GRID = 8
"""Labels on a side of a table of what goes together, the rest likewise."""
GRIDS = 3
REASONS = 3
"""Reasons of which left-out clips are shown ..."""
CLIPS = 4
"""... and how many of each."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bars:
    """One axis, drawn: its labels, and the widest share of either side."""

    axis: AxisResult
    labels: tuple[Label, ...]
    before: int
    after: int
    widest: float


@dataclass(frozen=True)
class Together:
    """How many clips carry a label of one axis and one of another, before and after."""

    across: str
    down: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    before: tuple[tuple[int, ...], ...]
    """By row, by column."""
    after: tuple[tuple[int, ...], ...]

    @property
    def darkest(self) -> float:
        """The largest share of any cell, before or after."""
        return max(max(map(max, side)) / max(1, sum(map(sum, side))) for side in (self.before, self.after))


@dataclass(frozen=True)
class Sheet:
    """Some clips and what they have in common."""

    title: str
    clips: int
    """How many there are in all."""
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class BalanceView:
    """One pool's balance."""

    outcome: Outcome
    axes: tuple[Bars, ...]
    together: tuple[Together, ...]
    sheets: tuple[Sheet, ...]
    unreached: tuple[str, ...]
    """Sentences."""


def view(found: Outcome, table: pa.Table, other: tuple[str, pa.Array] | None, cards: Cards) -> BalanceView:
    """The view of a pool's BALANCED; `other` are labels to set beside the only axis of a balance that has one."""
    rows = table.filter(pa.array(weighed(table)))
    named = tuple(_named(axis) for axis in found.axes)
    return BalanceView(
        found,
        tuple(bars(axis) for axis in named),
        tuple(_grids(found, rows, other)) if rows.num_rows else (),
        tuple(_sheets(found, table, cards)),
        tuple(unreached(replace(found, axes=named))),
    )


Cards = Callable[[npt.NDArray[np.int64]], tuple["Card", ...]]
"""Cards of some rows of BALANCED."""


def _named(axis: AxisResult) -> AxisResult:
    labels = tuple(replace(label, name=short(axis.name, label.name)) for label in axis.labels)
    return replace(axis, labels=labels)


def short(axis: str, label: str) -> str:
    """A label as it is shown: of a source's path the last part."""
    return label.rsplit("/", 1)[-1] if axis == "source" else label


def bars(axis: AxisResult) -> Bars:
    """An axis as it is drawn: its MOST most frequent labels, and one row for the others."""
    before, after = axis.before, axis.after
    kept = shortened(axis, MOST)
    widest = max((share for label in kept for share in _shares(label, before, after)), default=0.0)
    return Bars(axis, kept, before, after, widest)


def _shares(label: Label, before: int, after: int) -> tuple[float, float, float]:
    return label.before / max(before, 1), label.after / max(after, 1), label.target or 0.0


def _grids(found: Outcome, table: pa.Table, other: tuple[str, pa.Array] | None) -> list[Together]:
    """The first axis by each of the others."""
    named = [
        (axis.name, pc.list_element(table.column("labels"), number).combine_chunks())
        for number, axis in enumerate(found.axes)
    ]
    named += [other] if other and len(named) == 1 else []
    copies = table.column("copies").to_numpy()
    return [together(named[0], one, copies) for one in named[1 : 1 + GRIDS]]


def together(
    down: tuple[str, pa.Array], across: tuple[str, pa.Array], copies: npt.NDArray[np.int8]
) -> Together:
    """The table of two label columns, each cut to its GRID most frequent labels."""
    (rows, row), (columns, column) = _cut(*down), _cut(*across)
    code = row * len(columns) + column
    sides = [
        np.bincount(code, weights, minlength=len(rows) * len(columns)).astype(np.int64).reshape(len(rows), -1)
        for weights in (None, copies)
    ]
    counts = [tuple(tuple(line) for line in side.tolist()) for side in sides]
    return Together(across[0], down[0], tuple(columns), tuple(rows), counts[0], counts[1])


def _cut(axis: str, labels: pa.Array) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The labels that are shown, the most frequent first, and (rows,) the place of each row's."""
    found = labels.dictionary_encode()
    names = found.dictionary.to_pylist()
    counts = np.bincount(found.indices.to_numpy(), minlength=len(names)).tolist()
    order = sorted(range(len(names)), key=lambda place: (-counts[place], names[place]))
    shown = order if len(order) <= GRID else order[: GRID - 1]
    place = np.full(len(names), len(shown))
    place[shown] = np.arange(len(shown))
    listed = [short(axis, names[one]) for one in shown]
    listed += [f"{len(order) - len(shown):,} more"] if len(shown) < len(order) else []
    return listed, place[found.indices.to_numpy()]


def _sheets(found: Outcome, table: pa.Table, cards: Cards) -> list[Sheet]:
    """Clips left out by each of the main reasons, and kept ones, evenly spread over the table."""
    why = table.column("why").combine_chunks()
    sheets = []
    for reason, clips in found.dropped[:REASONS]:
        gone = np.flatnonzero(pc.fill_null(pc.equal(why, reason), False).to_numpy(zero_copy_only=False))
        sheets.append(Sheet(f"Left out for {reason}", clips, cards(spread(gone))))
    stays = np.flatnonzero(table.column("balanced").to_numpy())
    sheets.append(Sheet("Kept", found.after, cards(spread(stays))))
    return sheets


def spread(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Up to CLIPS of the rows, evenly spread."""
    places = np.linspace(0, len(rows) - 1, min(CLIPS, len(rows))).round().astype(np.int64)
    return rows[places] if len(rows) else rows


def labels_of(row: Sequence[str], found: Outcome) -> str:
    """`concept Human, motion still`."""
    return ", ".join(
        f"{axis.name} {short(axis.name, label)}" for axis, label in zip(found.axes, row, strict=True)
    )
