"""The frozen plan of one gate: what is sampled, by which rule it is judged, and against which snapshot of the run.

It is written before the first label and never changes: a plan with other values is another review.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.tuning import fewest_labels
from review.exact import ROUNDING, Size, chance, powerful, smallest
from review.reasons import Gate

FORMAT = 1
Side = Literal["kept", "rejected"]
Rule = Literal["fixed", "sequential"]
PlantKind = Literal["black_run", "logo", "wrong_caption", "cut_inside"]
PAPER: Mapping[Gate, tuple[float, float]] = {
    "source": (0.0001, 0.15),
    "segmentation": (0.0001, 0.15),
    "pretrain": (0.0001, 0.15),
    "posttrain": (0.001, 0.03),
}
"""By gate, the share of a pool that is sampled and the share of it that may be bad: SkyReels-V2 (arXiv 2504.13074),
3.1, 0.01 % and 15 % before training, 0.1 % and 3 % after it."""
EXPECTED = 1 / 3
"""The rate of bad that a pool must be sure to pass with, as a part of the limit. Ours."""
ROOM = 2.0
"""A sequential sample may be so many times as long as the fixed one: it mostly ends sooner. Ours."""
NOTICED = 0.5
"""Of the planted faults, the part that readers must notice for a pass: of nine, who notices four of five as a rule does
so with a chance of 0.98, and who notices one of four with a chance of 0.05. Ours."""
DOUBLE = 0.2
"""Items that two people read whatever the first one says, where two read at all. Ours."""
SMALL = 0.8
"""Where the size of the pool saves more than this leaves, it is sampled as one stratum, for an exact bound. Ours."""


class PlanError(Exception):
    """This plan cannot be made, read or used; the sentence says why."""


@dataclass(frozen=True)
class Settings:
    """What a plan is made of. ValueError: a value makes no sense."""

    gate: Gate
    pool: str = ""
    limit: float | None = None
    """None: the paper's for this gate."""
    expected: float | None = None
    """None: EXPECTED of the limit."""
    power: float = 0.9
    n: int | None = None
    """None: what the limit, the power and the paper's rate ask for."""
    readers: int = 2
    rule: Rule = "fixed"
    seed: int = 0
    floor: int = 30
    """The fewest of a stratum, which show a tenth of bad ones with a chance of 95 %; a smaller one is taken whole."""
    most_strata: int = 6
    planted_ratio: float = 0.1
    """Items with a planted fault, as a ratio of n; a tenth, after the usual practice of gold items."""
    double_ratio: float | None = None
    """Items that two people read whatever the first one says; None: DOUBLE, and with one reader none, whom nobody
    could settle them with."""
    rejected_ratio: float = 0.2
    """Clips that the rules reject, as a ratio of n: what they say tunes thresholds, and never the gate."""
    noticed_ratio: float = NOTICED
    """Of the planted faults, those that readers must notice for a pass."""

    def __post_init__(self) -> None:
        limit = self.limit if self.limit is not None else PAPER[self.gate][1]
        if not 0 < limit < 1:
            raise ValueError(f"limit is {limit:g}, not a share between 0 and 1")
        if self.expected is not None and not 0 <= self.expected < limit:
            raise ValueError(
                f"expected is {self.expected:g}, and only below the limit ({limit:g}) can a pool pass"
            )
        if not 0 < self.power < 1:
            raise ValueError(f"power is {self.power:g}, not a chance between 0 and 1")
        if self.readers not in (1, 2):
            raise ValueError(f"readers is {self.readers}, not 1 or 2")
        if not 0 <= self.noticed_ratio <= 1:
            raise ValueError(f"noticed_ratio is {self.noticed_ratio:g}, not a share from 0 to 1")
        if self.n is not None and self.n < 1:
            raise ValueError(f"n is {self.n}: at least one clip is reviewed")

    @property
    def allowed(self) -> float:
        """The limit, the paper's where none is given."""
        return self.limit if self.limit is not None else PAPER[self.gate][1]

    @property
    def twice(self) -> float:
        """The share of items that two people read whatever the first one says."""
        if self.double_ratio is not None:
            return self.double_ratio
        return DOUBLE if self.readers > 1 else 0.0

    @property
    def likely(self) -> float:
        """The rate of bad that the sample is sized for."""
        return self.expected if self.expected is not None else EXPECTED * self.allowed


@dataclass(frozen=True)
class Sizing:
    """How many clips are drawn, and why."""

    n: int
    one_stratum: bool
    """The pool is so small that its size counts, which only an unstratified sample uses exactly."""
    notes: tuple[str, ...]


def size(settings: Settings, population: int) -> Sizing:
    """The sample that can conclude about a population of so many clips. PlanError: there is none."""
    if not population:
        raise PlanError("there is no clip to review: the pool is empty")
    limit, rate = settings.allowed, PAPER[settings.gate][0]
    large = powerful(limit, settings.likely, settings.power)
    found = powerful(limit, settings.likely, settings.power, population)
    one = found.n < SMALL * large.n
    best = found if one else large
    if not one and settings.most_strata > 1:  # what unequal weights cost in power, at most; ours, measured
        allowed = large.accepted + 1
        best = Size(fewest_labels(limit, allowed), allowed)
    by_rate = math.ceil(rate * population)
    none_bad = smallest(limit, 0, population)
    n = max(math.ceil(ROOM * best.n) if settings.rule == "sequential" else best.n, by_rate)
    n = min(n if settings.n is None else settings.n, population)
    if n == population:
        notes = [_whole(limit, population)]
    else:
        likely = settings.likely
        if one:  # of a small pool, no more than its limit lets pass
            likely = min(likely, math.floor(limit * population + ROUNDING) / population)
        passing = chance(best, likely, population if one else None)
        notes = [
            f"{_percent(rate)} of {population:,} clips would be {by_rate:,}; to conclude that at most {_percent(limit)}"
            f" are bad takes {_clips(none_bad or population)} without a bad one",
            f"{_clips(best.n)} with at most {best.accepted} bad: a pool of which {_percent(likely)} is bad then passes"
            f" with a chance of {_percent(passing)}",
        ]
    if settings.rule == "sequential":
        notes.append(f"sequential: up to {n:,}, and as few as the evidence takes")
    if settings.n is not None:
        notes.append(f"n was given: {settings.n:,}")
        if n < population and (none_bad is None or n < none_bad):
            notes.append("so few cannot conclude, whatever is found")
    if not settings.twice:
        notes.append("nothing is read twice: how far readers agree is not measured")
    return Sizing(n, one, tuple(notes))


def _whole(limit: float, population: int) -> str:
    """What a sample of everything can say."""
    most = math.floor(limit * population + ROUNDING)
    read = "the only clip is read" if population == 1 else f"all {population:,} clips are read"
    bad = "none is" if not most else f"at most {most:,} {'is' if most == 1 else 'are'}"
    return f"{read}: it passes when {bad} bad"


def _clips(count: int) -> str:
    return "1 clip" if count == 1 else f"{count:,} clips"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


@dataclass(frozen=True)
class Plant:
    """A known fault that the preview of a good clip is given, to see whether reviewers notice it."""

    kind: PlantKind
    donor: str | None = None
    """Id of the clip whose caption (wrong_caption) or frames (cut_inside) are shown."""
    at: float = 0.5
    """Where in the clip it is, as a ratio of its length."""


@dataclass(frozen=True)
class Item:
    """One thing to be judged. Its id says nothing about it, so that no reviewer can tell a planted one."""

    item_id: str
    clip_id: str
    stratum: str
    """Name of its stratum; empty for planted items and the rejected side."""
    inclusion: float
    """The chance in (0, 1] with which the clip was drawn."""
    side: Side = "kept"
    planted: Plant | None = None
    double: bool = False
    """Read by two people whatever the first one says."""


@dataclass(frozen=True)
class Stratum:
    """A part of the population that is sampled by itself."""

    name: str
    clips: int
    """Of the population."""
    drawn: int


@dataclass(frozen=True)
class Plan:
    """Everything that was settled before the first label."""

    gate: Gate
    pool: str
    """The pool that is judged; empty for the gates of all clips (source, segmentation)."""
    limit: float
    """Share of bad clips that the gate may let pass."""
    confidence: float
    power: float
    """Chance to pass a pool whose rate of bad is `expected`."""
    expected: float
    readers: int
    """People who must call an item bad for it to count as bad: 1 or 2."""
    seed: int
    snapshot: Mapping[str, str]
    """Fingerprints of what was judged, as the run had them."""
    strata: tuple[Stratum, ...]
    items: tuple[Item, ...]
    """In the order of review, which says nothing about them either."""
    rule: Rule = "fixed"
    """fixed: the exact bound of the whole sample decides. sequential: e-values do, at any look."""
    attempt: int = 1
    """Which sample of the same snapshot this is: the more there are, the likelier one of them passes by luck."""
    notes: tuple[str, ...] = ()
    """Why n is what it is, in sentences."""
    asked: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Of Settings, `n` and `most_strata` where they were given."""
    noticed_ratio: float = NOTICED
    """Of the planted faults, those that readers must notice for a pass."""

    @property
    def n(self) -> int:
        """Clips of the sample that the gate is decided by."""
        return sum(stratum.drawn for stratum in self.strata)

    @property
    def to_notice(self) -> int:
        """So many of the planted faults must be noticed for a pass."""
        planted = sum(item.planted is not None for item in self.items)
        return math.ceil(self.noticed_ratio * planted)

    @property
    def readers_at_most(self) -> int:
        """No item is judged by more people than this: where two must agree, a third decides between two who differ."""
        return self.readers + 1

    @property
    def digest(self) -> str:
        """sha256 (hex) of the whole plan."""
        return hashlib.sha256(self._body()).hexdigest()

    def _body(self) -> bytes:
        plain = {"format": FORMAT, **dataclasses.asdict(self)}
        return json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"

    def to_json(self) -> bytes:
        """Its one canonical text."""
        return self._body()


def item_id(gate: Gate, pool: str, seed: int, clip_id: str, what: str) -> str:
    """16 hex digits for one thing to be judged; `what` tells apart items of one clip."""
    return hashlib.sha256(f"item:{gate}:{pool}:{seed}:{clip_id}:{what}".encode()).hexdigest()[:16]


def unchanged(frozen: Plan, given: Mapping[str, Any]) -> None:
    """PlanError when a value that is given now is not the one that the plan was frozen with."""
    known = {**dict.fromkeys(("n", "most_strata")), **dataclasses.asdict(frozen), **frozen.asked}
    for name, value in given.items():
        if value is not None and known[name] != value:
            was = f"{name} {known[name]!r}" if known[name] is not None else f"{name} not given"
            raise PlanError(
                f"the plan was frozen with {was}, and it cannot become {value!r}:"
                " --anew sets it aside and begins another"
            )


def read(data: bytes) -> Plan:
    """The plan in these bytes. PlanError: damaged, or of a format that this version does not know."""
    try:
        plain: dict[str, Any] = json.loads(data)
        found = plain.pop("format")
        if found != FORMAT:
            raise PlanError(f"this plan has format {found!r}, this version reads {FORMAT}")
        plain["strata"] = tuple(Stratum(**one) for one in plain["strata"])
        plain["items"] = tuple(_item(one) for one in plain["items"])
        plain["notes"] = tuple(plain["notes"])
        plan = Plan(**plain)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PlanError(f"the plan cannot be read: {type(error).__name__}: {error}") from error
    if plan.to_json() != data:
        raise PlanError("the plan was changed by hand: it is not as it was frozen")
    return plan


def _item(plain: Mapping[str, Any]) -> Item:
    planted = plain["planted"]
    return Item(**{**plain, "planted": None if planted is None else Plant(**planted)})
