"""Which clips of a pool stay, so that each concept has the share that is wanted of it, as many as possible.

Water filling: with weights w, a total T is filled by min(count, level * w) of each concept, at the level where they
add up to T. While no concept runs out the shares are the weights; beyond that the scarce ones are kept whole and the
others share what is left, so the shares drift from the targets as T grows and never come back. So the largest T
whose drift is within tolerance is found by halving. Within a concept the better clips stay, then a keyed hash.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from balance.concepts import UNKNOWN, category_of

HALVINGS = 60
"""Steps of the search for T: exact to one clip for any table."""
NAME_WIDTH = 8
"""Bytes of a clip's id that the keyed hash takes at once."""

BALANCED = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("concept", pa.string()),  # the category by which it was balanced
        pa.field("balanced", pa.bool_()),  # stays
    ]
)


@dataclass(frozen=True)
class Balance:
    """The keys of a recipe's `[balance]`: one of `shares`, `caps` and `temperature`, and how. ValueError: wrong."""

    shares: Mapping[str, float] = field(default_factory=dict)
    """Wanted share of each named category; the others divide the rest as they are."""
    caps: Mapping[str, float] = field(default_factory=dict)
    """Largest share of each named category; the others stay whole."""
    temperature: float | None = None
    """Share in proportion to count ** temperature: 1 changes nothing, 0 makes all equal (mT5's alpha)."""
    tolerance_ratio: float = 0.0005
    """How far a share may be from what is wanted: half of a tenth of a point."""
    min_kept_ratio: float = 0.0
    """Go no further towards the targets than keeps this part of the clips."""
    prefer: str = ""
    """The column whose higher values stay first; none: by chance alone."""

    def __post_init__(self) -> None:
        given = [name for name in ("shares", "caps") if getattr(self, name)]
        given += ["temperature"] if self.temperature is not None else []
        if len(given) != 1:
            raise ValueError(f"one of shares, caps and temperature is needed, not {len(given)}")
        for name in ("shares", "caps"):
            for concept, share in getattr(self, name).items():
                if not 0 < share <= 1:
                    raise ValueError(f"{name} has {concept} = {share}, which is not in (0, 1]")
        if math.fsum(self.shares.values()) > 1 + 1e-9:
            raise ValueError(f"shares add up to {math.fsum(self.shares.values()):g}, more than 1")
        if self.temperature is not None and not 0 <= self.temperature <= 1:
            raise ValueError(f"temperature is {self.temperature}, not in [0, 1]")
        for name in ("tolerance_ratio", "min_kept_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, not in [0, 1]")


def balance_from(settings: Mapping[str, Any], categories: Sequence[str]) -> Balance:
    """The settings that these TOML values describe. ValueError: a key, a type or a category that does not exist."""
    known = [field.name for field in fields(Balance)]
    for key, value in settings.items():
        if key not in known:
            raise ValueError(f"unknown key {key}; the keys are {', '.join(known)}")
        kind = {"shares": dict, "caps": dict, "prefer": str}.get(key)
        if kind is None and type(value) not in (int, float):
            raise ValueError(f"{key} is {value!r}, not a number")
        if kind is not None and not isinstance(value, kind):
            raise ValueError(f"{key} is {value!r}, not {'text' if kind is str else 'a table'}")
        for concept, share in value.items() if isinstance(value, dict) else ():
            if concept not in (*categories, UNKNOWN):
                raise ValueError(f"{key} names {concept}, which is none of {', '.join(categories)}")
            if type(share) not in (int, float):
                raise ValueError(f"{key} has {concept} = {share!r}, not a number")
    return Balance(**settings)


@dataclass(frozen=True)
class ConceptCount:
    """One concept before and after; `target` is its wanted (shares, temperature) or largest (caps) share."""

    concept: str
    before: int
    after: int
    target: float | None


@dataclass(frozen=True)
class Balanced:
    """What was decided, and how near to the targets it came."""

    table: pa.Table
    """BALANCED, in the order of the input."""
    concepts: tuple[ConceptCount, ...]
    """Most frequent before first."""
    deviation_ratio: float
    """Largest distance of a share from its target (how far above, for caps), concepts without clips included."""


def resample(table: pa.Table, balance: Balance, seed: int) -> Balanced:
    """Which rows stay, of a table with `clip_id`, `concept` (null counts as Unknown) and the preferred column.

    The same rows, balance and seed give the same answer in any order of rows. ValueError: the preferred column is
    missing or not numbers.
    """
    names, codes = _categories(table.column("concept"))
    counts = dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True))
    counts = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    kept = allocate(counts, balance)
    order = np.lexsort((keyed_hash(table.column("clip_id"), seed), _worst_last(table, balance.prefer), codes))
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(names)))])
    stays = np.zeros(table.num_rows, dtype=np.bool_)
    for code, name in enumerate(names):
        stays[order[starts[code] : starts[code] + kept[name]]] = True
    targets = _targets(counts, balance)
    concepts = pa.array(names, pa.string()).take(pa.array(codes))
    return Balanced(
        pa.table([table.column("clip_id").cast(pa.string()), concepts, stays], schema=BALANCED),
        tuple(ConceptCount(name, count, kept[name], targets.get(name)) for name, count in counts.items()),
        _deviation({name: float(number) for name, number in kept.items()}, targets, bool(balance.caps)),
    )


def _categories(concepts: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The categories that occur, and (rows,) the place of each row's among them."""
    found = concepts.cast(pa.string()).combine_chunks().fill_null(UNKNOWN).dictionary_encode()
    listed = [category_of(concept) for concept in found.dictionary.to_pylist()]
    names = sorted(set(listed))
    places = np.array([names.index(name) for name in listed], dtype=np.int64)
    return names, places[found.indices.to_numpy()]


def allocate(counts: Mapping[str, int], balance: Balance) -> dict[str, int]:
    """How many clips of each concept stay: as near to the targets as `min_kept_ratio` lets, and then the most."""
    everything = sum(counts.values())
    targets = _targets(counts, balance)
    weights = _weights(counts, balance, targets)
    reachable = targets if balance.caps else _reachable(counts, targets)

    def drift(total: float) -> float:
        return _deviation(_fill(counts, weights, total), reachable, bool(balance.caps))

    low, high = max(balance.min_kept_ratio * everything, 1e-6), float(everything)
    allowed = max(balance.tolerance_ratio, drift(low)) + 1e-12
    if drift(high) <= allowed:
        low = high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if drift(middle) <= allowed else (low, middle)
    return _whole(_fill(counts, weights, low))


def _targets(counts: Mapping[str, int], balance: Balance) -> dict[str, float]:
    """The share that each concept should have, or for caps may have at most."""
    if balance.temperature is None:
        return dict(balance.shares or balance.caps)
    powers = {name: count**balance.temperature for name, count in counts.items() if count}
    whole = math.fsum(powers.values())
    return {name: power / whole for name, power in powers.items()}


def _reachable(counts: Mapping[str, int], targets: Mapping[str, float]) -> dict[str, float]:
    """The targets without those of concepts that have no clips, the others in proportion: what a total can reach."""
    there = {name: target for name, target in targets.items() if counts.get(name)}
    unnamed = any(count for name, count in counts.items() if name not in targets)
    rest = max(0.0, 1 - math.fsum(targets.values())) if unnamed else 0.0
    whole = math.fsum(there.values()) + rest
    return {name: target / whole for name, target in there.items()}


def _weights(counts: Mapping[str, int], balance: Balance, targets: Mapping[str, float]) -> dict[str, float]:
    """What each concept's part is in proportion to; infinite: it is kept whole."""
    if balance.caps:
        return {name: targets.get(name, math.inf) for name in counts}
    rest = max(0.0, 1 - math.fsum(targets.values()))
    unnamed = sum(count for name, count in counts.items() if name not in targets)
    return {
        name: targets.get(name, rest * count / unnamed if unnamed else 0) for name, count in counts.items()
    }


def _fill(counts: Mapping[str, int], weights: Mapping[str, float], total: float) -> dict[str, float]:
    """min(count, level * weight) of each concept, at the level where they add up to `total`."""
    filled = {name: float(count) for name, count in counts.items() if math.isinf(weights[name])}
    left = total - math.fsum(filled.values())
    finite = {name: weights[name] for name in counts if 0 < weights[name] < math.inf}
    ordered = sorted(finite, key=lambda name: (counts[name] / finite[name], name))
    for number, name in enumerate(ordered):
        level = max(0.0, left) / math.fsum(finite[other] for other in ordered[number:])
        filled[name] = min(float(counts[name]), level * finite[name])
        left -= filled[name]
    return {name: filled.get(name, 0.0) for name in counts}


def _deviation(kept: Mapping[str, float], targets: Mapping[str, float], above_only: bool) -> float:
    """Largest distance of a share from its target."""
    total = math.fsum(kept.values()) or 1.0
    differences = [kept.get(name, 0.0) / total - target for name, target in targets.items()]
    return max((max(0.0, gap) if above_only else abs(gap) for gap in differences), default=0.0)


def _whole(parts: Mapping[str, float]) -> dict[str, int]:
    """The parts as whole numbers with the same total: the largest remainders are rounded up."""
    floors = {name: math.floor(part + 1e-9) for name, part in parts.items()}
    short = round(math.fsum(parts.values()) - 1e-9 - sum(floors.values()))
    by_remainder = sorted(parts, key=lambda name: (floors[name] - parts[name], name))
    return {name: floors[name] + (name in by_remainder[: max(0, short)]) for name in parts}


def keyed_hash(ids: pa.ChunkedArray, seed: int) -> npt.NDArray[np.uint64]:
    """(rows,) 64-bit hashes of (seed, id), the same on every machine: splitmix64 (Steele et al. 2014) chained."""
    column = ids.cast(pa.large_string()).combine_chunks()
    lengths = pc.binary_length(column).to_numpy()
    words = -(-int(lengths.max(initial=0)) // NAME_WIDTH)
    hashes = np.full(len(column), np.uint64(seed % 2**64))
    if words:
        # Zero bytes after the text lay the ids out as a grid; words past an id's own end are not hashed.
        padded = pc.ascii_rpad(column, width=words * NAME_WIDTH, padding="\0")
        text = np.frombuffer(padded.buffers()[2], dtype="<u8", count=len(column) * words)
        for number, word in enumerate(text.reshape(len(column), words).T):
            hashes = np.where(lengths > number * NAME_WIDTH, _mixed(hashes ^ word), hashes)
    return _mixed(hashes)


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One step of splitmix64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _worst_last(table: pa.Table, prefer: str) -> npt.NDArray[np.float64]:
    """Sort keys that put high values first and nulls last; all equal where no column is preferred."""
    if not prefer:
        return np.zeros(table.num_rows)
    if prefer not in table.column_names:
        raise ValueError(f"prefer is {prefer}, and there is no such column")
    kind = table.schema.field(prefer).type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        raise ValueError(f"prefer is {prefer}, which holds {kind}, not numbers")
    values: npt.NDArray[np.float64] = table.column(prefer).cast(pa.float64()).fill_null(-np.inf).to_numpy()
    return -values
