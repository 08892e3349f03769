"""What was measured, as docs/accuracy.json keeps it, and what it says about each filter."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy import scores
from benchmarks.accuracy.defect import Defect
from benchmarks.accuracy.scores import Floats, Numbers, Share

DIGITS = 5
"""Significant digits that are kept of a value."""
TELLS = 0.9
"""AUC from which a value tells; a threshold that finds little all the same is loose."""
NOT_YET = "new since the last `make accuracy`"
Values = Mapping[str, float | None]
"""By clip; None: the measurement says nothing about it."""


@dataclass(frozen=True)
class Measured:
    """One defect's values: of the clean clips, and of some or all of them at each strength."""

    family: str
    name: str
    stage: str
    column: str
    bad: str
    threshold: float
    note: str
    clean: Values
    strengths: Mapping[str, Values]
    """Mildest first."""
    errors: tuple[str, ...] = ()
    """Clips that the stage failed on: "clip, strength: message"."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """The clips that the defect was rendered on."""
        return tuple(next(iter(self.strengths.values()), {}))

    def found(self, value: float | None) -> bool:
        """Whether the threshold sees a defect in this value."""
        if value is None:
            return False
        return value >= self.threshold if self.bad == "high" else value <= self.threshold

    def false_alarms(self) -> Share:
        """Clean clips in which the defect is found."""
        return self._share(self.clean)

    def recall(self) -> dict[str, Share]:
        """By strength: clips in which it is found."""
        return {strength: self._share(values) for strength, values in self.strengths.items()}

    def _share(self, values: Values) -> Share:
        return Share(sum(map(self.found, values.values())), len(values))

    @property
    def silent(self) -> tuple[int, int]:
        """Nulls among the clean values, and among those with the defect."""
        of_bad = [value for values in self.strengths.values() for value in values.values()]
        return sum(v is None for v in self.clean.values()), sum(v is None for v in of_bad)

    def precision(self) -> tuple[float, tuple[float, float]]:
        """Defects among what is found, were half of all clips clean and half have it (each strength as often)."""
        bad = np.asarray(
            [list(map(self.found, values.values())) for values in self.strengths.values()], float
        )
        clean = np.asarray(list(map(self.found, self.clean.values())), float)

        def of(subjects: Numbers, controls: Numbers) -> float:
            hits, alarms = float(bad[:, subjects].mean()), float(clean[controls].mean())
            return hits / (hits + alarms) if hits + alarms else math.nan

        return self._with_interval(of)

    def auc(self) -> tuple[float, tuple[float, float]]:
        """The chance that the value tells a clip with the defect, of any strength, from a clean one."""
        clean = self._numbers(self.clean, tuple(self.clean))
        bad = [self._numbers(self.strengths[name], self.subjects) for name in self.strengths]
        each = np.stack([scores.order(values, clean) for values in bad])

        def of(subjects: Numbers, controls: Numbers) -> float:
            return scores.mean(each[:, subjects][:, :, controls])

        return self._with_interval(of)

    def tells(self, strength: str) -> float:
        """The AUC of one strength by itself."""
        clean = self._numbers(self.clean, tuple(self.clean))
        return scores.mean(scores.order(self._numbers(self.strengths[strength], self.subjects), clean))

    def _with_interval(self, of: Callable[[Numbers, Numbers], float]) -> tuple[float, tuple[float, float]]:
        """A statistic of subjects and controls by number, and its interval; NaN without any of either."""
        counts = len(self.subjects), len(self.clean)
        if not all(counts):
            return math.nan, (math.nan, math.nan)
        return of(np.arange(counts[0]), np.arange(counts[1])), scores.bootstrap(counts, of)

    def rank(self) -> tuple[float, tuple[float, float]] | None:
        """Mean over clips of the rank correlation between strength (clean is 0) and value; None under 2 strengths."""
        if len(self.strengths) < 2:
            return None
        graded = (self.clean, *self.strengths.values())
        ranks = scores.monotony(np.stack([self._numbers(values, self.subjects) for values in graded]))
        return self._with_interval(lambda subjects, controls: scores.mean(ranks[subjects]))

    def _numbers(self, values: Values, clips: Sequence[str]) -> Floats:
        """(clips,) with the defect's side up; NaN for null."""
        sign = 1.0 if self.bad == "high" else -1.0
        return np.asarray([math.nan if (v := values[clip]) is None else sign * v for clip in clips], float)


def verdict(one: Measured) -> str:
    """In a word or two how far the filter may be trusted: the rule is on the page."""
    shares = list(one.recall().values())
    alarms = one.false_alarms().value
    strongest, mildest = shares[-1].value, shares[0].value
    if alarms > 0.2:
        return "**weak**"
    if strongest < 0.5:
        return "*loose*" if one.tells(list(one.strengths)[-1]) >= TELLS else "**weak**"
    if alarms > 0.1 or strongest < 0.8:
        return "*fair*"
    return "good" if mildest >= 0.5 else "good, misses the mild"


@dataclass(frozen=True)
class Results:
    """All that one run of the harness found."""

    clips: Mapping[str, Mapping[str, Any]]
    """By clip: width, height, fps, frames, traits."""
    defects: tuple[Measured, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Defects that were not measured, and why."""
    spots: tuple[str, ...] = ()
    """Sheets of real clips, by the names that benchmarks.accuracy.spot gives them."""
    duplicates: tuple[Mapping[str, Any], ...] = ()
    """Rows of benchmarks.accuracy.duplicates."""
    people: tuple[Mapping[str, Any], ...] = ()
    """Counts of benchmarks.accuracy.people."""
    camera: tuple[Mapping[str, Any], ...] = ()
    """Rows of benchmarks.accuracy.camera."""

    def families(self) -> dict[str, list[Measured]]:
        found: dict[str, list[Measured]] = {}
        for one in self.defects:
            found.setdefault(one.family, []).append(one)
        return found


def empty(family: str, defect: Defect) -> dict[str, Any]:
    """The fields of a Measured that come from its Defect."""
    return {
        "family": family,
        "name": defect.name,
        "stage": defect.stage,
        "column": defect.column,
        "bad": defect.bad,
        "threshold": defect.threshold,
        "note": defect.note,
    }


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def write(results: Results, path: Path) -> None:
    plain = asdict(results)
    path.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> Results:
    plain = json.loads(path.read_text(encoding="utf-8"))
    defects = tuple(Measured(**{**one, "errors": tuple(one["errors"])}) for one in plain.pop("defects"))
    return Results(
        plain["clips"],
        defects,
        plain["skipped"],
        tuple(plain["spots"]),
        tuple(plain["duplicates"]),
        tuple(plain.get("people", ())),
        tuple(plain.get("camera", ())),
    )


def merged(old: Results, new: Results, families: Iterable[str]) -> Results:
    """`new` for these families, `old` for the others and for all that is not about defects."""
    again = set(families)
    kept = [one for one in old.defects if one.family not in again]
    skipped = {name: why for name, why in old.skipped.items() if name.split(":")[0] not in again}
    return replace(
        old,
        clips={**old.clips, **new.clips},
        defects=tuple(sorted([*kept, *new.defects], key=lambda one: one.family)),
        skipped={**skipped, **new.skipped},
        duplicates=new.duplicates or old.duplicates,
    )


def refreshed(old: Results, known: Mapping[str, Sequence[Defect]]) -> Results:
    """The same values under the defects' present thresholds and notes; what is new or renders otherwise is skipped."""
    measured = {(one.family, one.name): one for one in old.defects}
    kept: list[Measured] = []
    skipped = {}
    for family, ones in sorted(known.items()):
        for defect in ones:
            one = measured.get((family, defect.name))
            if (
                one is not None
                and list(one.strengths) == list(defect.strengths)
                and one.column == defect.column
            ):
                kept.append(replace(one, **empty(family, defect)))
            else:
                name = f"{family}: {defect.name}"
                skipped[name] = old.skipped.get(name, NOT_YET)
    return replace(old, defects=tuple(kept), skipped=skipped)
