"""The keys of a recipe's `[balance]`: by which axes a pool is balanced, to which shares, and how far it may go."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from balance.concepts import UNKNOWN

TARGETS = ("shares", "caps", "cap", "temperature", "reference")
"""The ways to say what an axis should look like, of which it has one, or none: it is then only counted."""
MOST_REPEAT = 4.0
"""More copies than this are no balance but memorising: repeating four times is about as good as new data, more is not
(Muennighoff et al. 2023, Scaling Data-Constrained Language Models)."""
MOTION_EDGES = (0.015, 0.05, 0.2)
"""Where motion stops being still, slow and medium, in short sides of the frame a second: slow and medium end where
SkyReels-V2 has them (arXiv 2504.13074), still where the camera expert has it."""
REST = "the others"
"""The name that is given to all labels together of which the shares say nothing."""


@dataclass(frozen=True)
class Axis:
    """One way to tell clips apart, and at most one of TARGETS. ValueError: wrong."""

    name: str
    """concept, kind, motion, bucket, source, cluster, or a column."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Wanted share of each named label; the others divide the rest as they are."""
    caps: Mapping[str, float] = field(default_factory=dict)
    """Largest share of each named label."""
    cap: float | None = None
    """Largest share of any one label."""
    temperature: float | None = None
    """Share in proportion to count ** temperature: 1 changes nothing, 0 makes all equal (mT5's alpha)."""
    reference: Mapping[str, float] = field(default_factory=dict)
    """Counts of another set of clips, whose shares are wanted here; labels that it lacks go."""
    tolerance_ratio: float = 0.0005
    """How far a share may be from what is wanted: half of a tenth of a point."""
    edges: tuple[float, ...] = ()
    """Where a column of numbers is cut into labels; `motion` has MOTION_EDGES."""
    clusters: int = 32
    """For `cluster`: how many."""
    by: str = ""
    """For `source`: the column of the manifest that names it; without one every video is a source."""

    def __post_init__(self) -> None:
        given = [name for name in TARGETS if getattr(self, name) not in (None, {})]
        if len(given) > 1:
            raise ValueError(f"{self.name}: one of {', '.join(TARGETS)} is enough, not {' and '.join(given)}")
        for name in ("shares", "caps"):
            for label, share in getattr(self, name).items():
                if not 0 < share <= 1:
                    raise ValueError(f"{self.name}: {name} has {label} = {share}, which is not in (0, 1]")
        if math.fsum(self.shares.values()) > 1 + 1e-9:
            raise ValueError(
                f"{self.name}: shares add up to {math.fsum(self.shares.values()):g}, more than 1"
            )
        if self.cap is not None and not 0 < self.cap <= 1:
            raise ValueError(f"{self.name}: cap is {self.cap}, not in (0, 1]")
        if not all(0 <= count < math.inf for count in self.reference.values()):
            raise ValueError(f"{self.name}: reference has a count that is negative or not finite")
        if self.reference and not math.fsum(self.reference.values()):
            raise ValueError(f"{self.name}: reference counts nothing")
        for name in ("temperature", "tolerance_ratio"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{self.name}: {name} is {value}, not in [0, 1]")
        if list(self.edges) != sorted(set(self.edges)) or not all(map(math.isfinite, self.edges)):
            raise ValueError(f"{self.name}: edges are numbers that rise")
        if self.name == "motion" and len(self.edges) not in (0, len(MOTION_EDGES)):
            raise ValueError(f"motion: edges are {len(MOTION_EDGES)} numbers: still, slow, medium end there")
        if self.clusters < 2:
            raise ValueError(f"{self.name}: clusters is {self.clusters}, fewer than 2")

    @property
    def bounded(self) -> bool:
        """It has a target; else it is only counted."""
        return any(getattr(self, name) not in (None, {}) for name in TARGETS)

    @property
    def most_only(self) -> bool:
        """Its targets are ceilings: a smaller share is as good."""
        return bool(self.caps) or self.cap is not None

    def targets(self, counts: Mapping[str, int]) -> dict[str, float]:
        """The share that each label should have, or for ceilings may have at most; labels that it leaves free are not
        in it."""
        if self.cap is not None:
            return dict.fromkeys(counts, self.cap)
        if self.reference:
            whole = math.fsum(self.reference.values())
            return dict.fromkeys(counts, 0.0) | {
                name: count / whole for name, count in self.reference.items()
            }
        if self.temperature is not None:
            powers = {name: count**self.temperature for name, count in counts.items() if count}
            whole = math.fsum(powers.values())
            return {name: power / whole for name, power in powers.items()}
        return dict(self.shares or self.caps)

    def reachable(self, counts: Mapping[str, int]) -> dict[str, float]:
        """The targets without those of labels that have no clips, the others in proportion."""
        targets = self.targets(counts)
        there = {name: target for name, target in targets.items() if counts.get(name)}
        if self.most_only:
            return there
        unnamed = any(count for name, count in counts.items() if name not in targets)
        rest = max(0.0, 1 - math.fsum(targets.values())) if unnamed else 0.0
        whole = math.fsum(there.values()) + rest
        return {name: target / whole for name, target in there.items()} if whole else {}


@dataclass(frozen=True)
class Balance:
    """By which axes, and how far. ValueError: wrong."""

    axes: tuple[Axis, ...]
    min_kept_ratio: float = 0.0
    """Go no further towards the targets than keeps this part of the clips."""
    repeat: float = 1.0
    """A kind of clip that is short may be kept this many times over: at 1.5 every other clip of it stands twice."""
    prefer: str = ""
    """The column whose higher values stay first; none: by chance alone."""

    def __post_init__(self) -> None:
        if not any(axis.bounded for axis in self.axes):
            raise ValueError(f"one of {', '.join(TARGETS)} is needed, not 0")
        if not 0 <= self.min_kept_ratio <= 1:
            raise ValueError(f"min_kept_ratio is {self.min_kept_ratio}, not in [0, 1]")
        if not 1 <= self.repeat <= MOST_REPEAT:
            raise ValueError(f"repeat is {self.repeat}, not in [1, {MOST_REPEAT:g}]")


_NUMBERS = ("cap", "temperature", "tolerance_ratio", "min_kept_ratio", "repeat")
_TEXTS = ("prefer", "by")
_OF_AXIS = tuple(one.name for one in fields(Axis) if one.name != "name")
_OF_ALL = ("min_kept_ratio", "repeat", "prefer")
_SHORT = (*TARGETS, "tolerance_ratio")
"""What may stand in `[balance]` itself, for its only axis: concept."""


def balance_from(settings: Mapping[str, Any], known: Mapping[str, Collection[str]], folder: Path) -> Balance:
    """The settings that these TOML values describe. ValueError: a key, a type or a label that does not exist.

    `known` has by axis the only labels that it can have; `folder` is where a file of `reference` is looked for.
    """
    tables = settings.get("axis", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ValueError("axis holds a table for each axis: [balance.axis.concept]")
    short = {key: value for key, value in settings.items() if key in _SHORT}
    rest = {key: value for key, value in settings.items() if key not in (*_SHORT, "axis")}
    if tables and set(short) - {"tolerance_ratio"}:
        raise ValueError(f"{next(iter(short))} belongs to an axis: [balance.axis.concept]")
    _check(rest, _OF_ALL, (*_OF_ALL, *_SHORT, "axis"))
    if not tables:
        axes = [_axis("concept", short, known, folder)]
    else:
        common = {key: value for key, value in short.items() if key == "tolerance_ratio"}
        axes = [_axis(name, common | table, known, folder) for name, table in tables.items()]
    return Balance(tuple(axes), **rest)


def _axis(name: str, table: Mapping[str, Any], known: Mapping[str, Collection[str]], folder: Path) -> Axis:
    _check(table, _OF_AXIS, _OF_AXIS)
    values = dict(table)
    if isinstance(values.get("reference"), str):
        values["reference"] = read_reference(folder / values["reference"])
    for key in ("shares", "caps", "reference"):
        for label, share in values.get(key, {}).items():
            if name in known and label not in (*known[name], UNKNOWN):
                raise ValueError(f"{key} names {label}, which is none of {', '.join(known[name])}")
            if type(share) not in (int, float):
                raise ValueError(f"{key} has {label} = {share!r}, not a number")
    if name == "motion":
        values = {"edges": list(MOTION_EDGES)} | values
    return replace(Axis(name), **values | {"edges": tuple(values.get("edges", ()))})


def _check(values: Mapping[str, Any], allowed: Collection[str], said: Collection[str]) -> None:
    """ValueError for a key that is not allowed here and for a value of a wrong type."""
    for key, value in values.items():
        if key not in allowed:
            raise ValueError(f"unknown key {key}; the keys are {', '.join(said)}")
        if key in _NUMBERS and type(value) not in (int, float):
            raise ValueError(f"{key} is {value!r}, not a number")
        if key in _TEXTS and not isinstance(value, str):
            raise ValueError(f"{key} is {value!r}, not text")
        if key in ("shares", "caps") and not isinstance(value, dict):
            raise ValueError(f"{key} is {value!r}, not a table")
        if key == "reference" and not isinstance(value, dict | str):
            raise ValueError(f"{key} is {value!r}, neither a table of counts nor a file of them")
        if key == "clusters" and type(value) is not int:
            raise ValueError(f"{key} is {value!r}, not a whole number")
        if key == "edges" and not (
            isinstance(value, list) and all(type(one) in (int, float) for one in value)
        ):
            raise ValueError(f"{key} is {value!r}, not a list of numbers")


def read_reference(path: Path) -> dict[str, float]:
    """Counts by label of a CSV file with the columns `label` and `count`. ValueError names what is wrong with it."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"reference {path} cannot be read: {error}") from None
    counts: dict[str, float] = {}
    for number, row in enumerate(rows, 2):
        label, count = row.get("label"), row.get("count")
        if not label or count is None or not count.strip().isdecimal() or label in counts:
            raise ValueError(f"reference {path}, line {number}: a row is a label, once, and its count")
        counts[label] = float(count)
    if not counts:
        raise ValueError(f"reference {path} has no rows")
    return counts
