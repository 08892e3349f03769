"""Which clips of a pool stay, so that every axis has the shares that are wanted of it, as many as possible.

Clips that no axis tells apart are a cell; balance.program says how many of each cell stay. Within a cell the better
clips stay, then those with the lower keyed hash.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from balance.cells import Cells, Floats, Ints, Wanted
from balance.concepts import UNKNOWN
from balance.program import solve
from balance.settings import REST, Axis, Balance

BALANCED = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("concept", pa.string()),  # the finest that is known of it: Human > Woman
        pa.field("concept_source", pa.string()),  # caption, object, class; null: nothing tells
        pa.field("labels", pa.list_(pa.string())),  # one for each axis, in their order
        pa.field("balanced", pa.bool_()),  # stays
        pa.field("copies", pa.int8()),  # how many times: 0 is left out, more than 1 is repeated
        pa.field("why", pa.string()),  # the axis and label for which it was left out; null when it stays
    ]
)


@dataclass(frozen=True)
class Rows:
    """What is decided about, row by row."""

    names: tuple[tuple[str, ...], ...]
    """For each axis its labels, rising."""
    codes: tuple[npt.NDArray[np.int32], ...]
    """For each axis (rows,) the place of each row's label."""
    preference: Floats
    """(rows,) the higher, the rather it stays; -inf where it is not known."""
    hashes: npt.NDArray[np.uint64]
    """(rows,) what decides between equals."""

    @classmethod
    def of(cls, batches: Iterable[Batch]) -> Rows:
        """Of batches in the order of the rows; only codes and numbers are kept of them."""
        vocabulary: list[dict[str, int]] = []
        codes: list[list[npt.NDArray[np.int32]]] = []
        preference, hashes = [np.zeros(0)], [np.zeros(0, np.uint64)]
        for batch in batches:
            vocabulary = vocabulary or [{} for _ in batch.labels]
            codes = codes or [[] for _ in batch.labels]
            for labels, known, found in zip(batch.labels, vocabulary, codes, strict=True):
                found.append(_coded(labels, known))
            preference.append(batch.preference)
            hashes.append(batch.hashes)
        return cls(
            tuple(tuple(sorted(known)) for known in vocabulary),
            tuple(
                _sorted(np.concatenate(found), known) for found, known in zip(codes, vocabulary, strict=True)
            ),
            np.concatenate(preference),
            np.concatenate(hashes),
        )

    def only(self, mask: npt.NDArray[np.bool_]) -> Rows:
        """These rows alone."""
        codes = tuple(one[mask] for one in self.codes)
        return Rows(self.names, codes, self.preference[mask], self.hashes[mask])

    def known(self, name: str, balance: Balance) -> npt.NDArray[np.bool_]:
        """(rows,) whether the label on the axis of this name is known; all where there is no such axis."""
        mask = np.ones(len(self.hashes), np.bool_)
        for axis, names, codes in zip(balance.axes, self.names, self.codes, strict=True):
            if axis.name == name and UNKNOWN in names:
                mask &= codes != names.index(UNKNOWN)
        return mask

    def said(self, step: slice, balance: Balance, chosen: Ints) -> tuple[pa.ListArray, pa.Array]:
        """Of a stretch of rows: each row's labels as a list, and `axis: label` for its axis in `chosen`."""
        starts = np.cumsum([0, *(len(names) for names in self.names)])
        table = np.stack([codes[step] for codes in self.codes], axis=1) + starts[:-1].astype(np.int32)
        labels = pa.array([name for names in self.names for name in names], pa.string())
        told = [
            f"{axis.name}: {name}"
            for axis, names in zip(balance.axes, self.names, strict=True)
            for name in names
        ]
        offsets = np.arange(0, table.size + 1, table.shape[1], dtype=np.int32)
        listed = pa.ListArray.from_arrays(pa.array(offsets), labels.take(pa.array(table.ravel())))
        one = np.take_along_axis(table, chosen[:, None], axis=1)[:, 0]
        return listed, pa.array(told, pa.string()).take(pa.array(one))

    def counts(self, copies: npt.NDArray[np.int8] | None = None) -> list[dict[str, int]]:
        """For each axis the rows of each label, or their copies, the most first."""
        found = []
        for names, codes in zip(self.names, self.codes, strict=True):
            sums = np.bincount(codes, copies, minlength=len(names)).astype(np.int64).tolist()
            listed = ((name, count) for name, count in zip(names, sums, strict=True) if count)
            found.append(dict(sorted(listed, key=lambda item: (-item[1], item[0]))))
        return found


@dataclass(frozen=True)
class Batch:
    """Some rows: their labels on each axis (a null is UNKNOWN), and what decides between them."""

    labels: tuple[pa.Array, ...]
    preference: Floats
    hashes: npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Label:
    """One label of an axis before and after. Copies count."""

    name: str
    before: int
    after: int
    target: float | None
    """Its wanted share, or its largest; None: it has none."""
    missing: int
    """Clips that the pool lacks of it: so many more, in the place of others, and the share would be as wanted."""
    others: int = 0
    """For a ceiling that it is above: so many more clips of other labels, and it would be at it."""
    own: bool = True
    """False for REST, whose clips are counted under their own labels too."""


@dataclass(frozen=True)
class AxisResult:
    """One axis before and after, the most frequent label before first, REST last."""

    name: str
    most_only: bool
    labels: tuple[Label, ...]
    deviation_ratio: float
    """Largest distance of a share from its target (how far above, for ceilings), labels without clips included."""

    @property
    def before(self) -> int:
        """Clips of the pool."""
        return sum(label.before for label in self.labels if label.own)

    @property
    def after(self) -> int:
        """Of those that stay, copies counted."""
        return sum(label.after for label in self.labels if label.own)


@dataclass(frozen=True)
class Balanced:
    """What was decided of each row, and how near to the targets it came."""

    copies: npt.NDArray[np.int8]
    """(rows,) how many times it stays: 0 is left out."""
    blamed: Ints
    """(rows,) the axis on which the row's label is the most above its share, as a multiple of it: why it may go."""
    axes: tuple[AxisResult, ...]


def resample(rows: Rows, balance: Balance) -> Balanced:
    """Which rows stay. The same rows and balance give the same answer in any order of rows."""
    counts = rows.counts()
    cell, cells = _cells(rows)
    wanted = _wanted(rows, counts, balance)
    kept = cells.counts
    if len(wanted.axis) and len(cell):
        kept = solve(cells, wanted, balance.min_kept_ratio, balance.repeat)
    quota = _whole(kept, cells)
    copies = _copies(rows, cell, cells, quota)
    after = rows.counts(copies)
    results = tuple(axis_result(axis, *both) for axis, *both in zip(balance.axes, counts, after, strict=True))
    return Balanced(copies, _blamed(rows, counts, cells, balance)[cell], results)


def axis_result(axis: Axis, before: Mapping[str, int], after: Mapping[str, int]) -> AxisResult:
    """What became of an axis, of the clips by label before and after, copies counted."""
    targets = axis.targets(before) if axis.bounded else {}
    total = sum(after.values())
    names = [*before, *(name for name in targets if name not in before)]
    labels = [Label(name, before.get(name, 0), after.get(name, 0), targets.get(name), 0) for name in names]
    labels = _short_of_others(axis, labels, total) if axis.most_only else _short(axis, labels, total)
    unnamed = [label for label in labels if label.target is None]
    if axis.shares and math.fsum(targets.values()) < 1 - 1e-9:
        target, stay = 1 - math.fsum(targets.values()), sum(label.after for label in unnamed)
        there = sum(label.before for label in unnamed)
        missing = _missing(stay, target, total, axis.tolerance_ratio * len(targets), there)
        if len(unnamed) == 1:
            place = labels.index(unnamed[0])
            labels[place] = replace(unnamed[0], target=target, missing=missing)
        else:
            labels.append(Label(REST, there, stay, target, missing, own=False))
    gaps = [after.get(name, 0) / max(total, 1) - target for name, target in targets.items()]
    worst = max((max(0.0, gap) if axis.most_only else abs(gap) for gap in gaps), default=0.0)
    return AxisResult(axis.name, axis.most_only, tuple(labels), worst if total else 0.0)


def _short(axis: Axis, labels: Sequence[Label], total: int) -> list[Label]:
    """The labels with what is missing for their wanted shares."""
    return [
        label
        if label.target is None
        else replace(
            label,
            missing=_missing(label.after, label.target, total, axis.tolerance_ratio, label.before),
        )
        for label in labels
    ]


def _missing(stay: int, target: float, total: int, tolerance: float, there: int) -> int:
    short = target * total - stay
    rounding = 1 if there else 0
    return math.ceil(short - 1e-6) if short > tolerance * total + rounding else 0


def _short_of_others(axis: Axis, labels: Sequence[Label], total: int) -> list[Label]:
    """The labels with what is missing of others for them to be at their ceilings.

    Where the ceilings of all labels that there are do not add up to the whole, no clips could be within them; else
    a clip above one is rounding.
    """
    most = [1.0 if label.target is None else label.target + axis.tolerance_ratio for label in labels]
    room = math.fsum(one for one, label in zip(most, labels, strict=True) if label.before)
    rounding = 0 if room < 1 - 1e-9 else 1
    return [
        replace(label, others=math.ceil(label.after / label.target - total - 1e-6))
        if label.target and label.after > one * total + rounding
        else label
        for one, label in zip(most, labels, strict=True)
    ]


def _coded(labels: pa.Array, known: dict[str, int]) -> npt.NDArray[np.int32]:
    """(rows,) the places of the labels in `known`, which gets those that are new."""
    found = labels.cast(pa.string()).fill_null(UNKNOWN).dictionary_encode()
    places = [known.setdefault(label, len(known)) for label in found.dictionary.to_pylist()]
    return np.array(places, np.int32)[found.indices.to_numpy()] if places else np.zeros(0, np.int32)


def _sorted(codes: npt.NDArray[np.int32], known: Mapping[str, int]) -> npt.NDArray[np.int32]:
    """The codes by the order of the labels, not of their first appearance."""
    place = np.empty(len(known), np.int32)
    place[[known[label] for label in sorted(known)]] = np.arange(len(known), dtype=np.int32)
    return place[codes]


def _cells(rows: Rows) -> tuple[Ints, Cells]:
    """(rows,) each row's cell, and the cells."""
    code = np.zeros(len(rows.hashes), np.int64)
    for names, codes in zip(rows.names, rows.codes, strict=True):
        code *= len(names)
        code += codes
    found, cell, counts = np.unique(code, return_inverse=True, return_counts=True)
    labels = []
    for names in reversed(rows.names):
        labels.append(found % len(names))
        found = found // len(names)
    sizes = tuple(len(names) for names in rows.names)
    stacked = np.array(labels[::-1], np.int64).reshape(len(sizes), len(counts))
    return cell, Cells(counts.astype(np.float64), stacked, sizes)


def _wanted(rows: Rows, counts: Sequence[Mapping[str, int]], balance: Balance) -> Wanted:
    """The bounds of all axes, on labels that have clips."""
    found: list[tuple[int, int, float, float]] = []
    for number, (axis, names, count) in enumerate(zip(balance.axes, rows.names, counts, strict=True)):
        targets = axis.reachable(count) if axis.bounded else {}
        places = {name: place for place, name in enumerate(names)}
        for name, target in sorted(targets.items()):
            low = 0.0 if axis.most_only else max(0.0, target - axis.tolerance_ratio)
            found.append((number, places[name], low, min(1.0, target + axis.tolerance_ratio)))
    table = np.array(found, np.float64).reshape(len(found), 4)
    return Wanted(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], table[:, 3])


def _whole(kept: Floats, cells: Cells) -> Ints:
    """(cells,) `kept` as whole numbers, each rounded to where it least adds to the errors so far of its labels and of
    the whole (error diffusion along all axes at once)."""
    errors = [[0.0] * size for size in (*cells.sizes, 1)]
    labels = np.vstack([cells.labels, np.zeros((1, len(kept)), np.int64)]).T.tolist()
    floors = np.floor(kept + 1e-6)
    rests = np.clip(kept - floors, 0, 1)
    up = np.zeros(len(kept), np.int64)
    for number, (rest, places) in enumerate(zip(rests.tolist(), labels, strict=True)):
        if rest <= 1e-6:
            continue
        carried = sum(error[place] for error, place in zip(errors, places, strict=True)) / len(places)
        up[number] = rest - carried > 0.5
        for error, place in zip(errors, places, strict=True):
            error[place] += float(up[number]) - rest
    whole: Ints = floors.astype(np.int64) + up
    return whole


def _copies(rows: Rows, cell: Ints, cells: Cells, quota: Ints) -> npt.NDArray[np.int8]:
    """(rows,) how many times each stays: within a cell the preferred first, then by hash."""
    order = np.lexsort((rows.hashes, -rows.preference, cell))
    sizes = cells.counts.astype(np.int64)
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    each, extra = np.divmod(quota, np.maximum(sizes, 1))
    copies = np.empty(len(order), np.int8)
    copies[order] = np.repeat(each, sizes) + (place < np.repeat(extra, sizes))
    return copies


def _blamed(rows: Rows, counts: Sequence[Mapping[str, int]], cells: Cells, balance: Balance) -> Ints:
    """(cells,) the axis on which the cell's label is the most above its target, as a multiple of it."""
    excess = [
        _excess(axis, count, names)[labels]
        for axis, count, names, labels in zip(balance.axes, counts, rows.names, cells.labels, strict=True)
    ]
    blamed: Ints = np.array(excess).argmax(axis=0).astype(np.int64)
    return blamed


def _excess(axis: Axis, counts: Mapping[str, int], names: Sequence[str]) -> Floats:
    """(labels,) the share of each label in the pool over its target; 0 where it has none."""
    targets = axis.reachable(counts) if axis.bounded else {}
    whole = sum(counts.values())
    rest = 1 - math.fsum(targets.values())
    unnamed = sum(count for name, count in counts.items() if name not in targets)
    shared = unnamed / whole / rest if axis.shares and unnamed and rest > 0 else 0.0
    return np.array([_over(counts.get(name, 0) / whole, targets.get(name), shared) for name in names])


def _over(share: float, target: float | None, without: float) -> float:
    """A share as a multiple of its target; `without` where it has none."""
    if target is None:
        return without
    return share / target if target else math.inf


def preferred(table: pa.Table, column: str) -> Floats:
    """(rows,) the values of the preferred column, -inf for nulls; zeros where none is preferred.

    ValueError: the column is missing or not of numbers.
    """
    if not column:
        return np.zeros(table.num_rows)
    if column not in table.column_names:
        raise ValueError(f"prefer is {column}, and there is no such column")
    kind = table.schema.field(column).type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise ValueError(f"prefer is {column}, which holds {kind}, not numbers")
    values: Floats = table.column(column).cast(pa.float64()).fill_null(-np.inf).to_numpy()
    return values
