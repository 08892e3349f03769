"""How right captions are, field by field, beside captions that people have checked: the layout of the paper's table.

SkyReels-V2 (arXiv 2504.13074) reports one accuracy a field and their average. Here an accuracy counts what was not said
and who was made up as not right, shows beside it how often anything was said, and has a 95 % interval; an average says
of which fields it is, and two engines are compared on the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from captioner.assignment import best_pairs
from captioner.intervals import Difference, Marks, resampled, wilson
from captioner.judging import Judge, Score, overlap
from captioner.lexicon import CLAIMS, places
from captioner.schema import Caption, ShotAngleValue, ShotPositionValue, ShotTypeValue, Subject
from captioner.serialize import tidy

PAPER = (
    *("shot_type", "shot_angle", "shot_position", "camera_motion"),
    *("expression", "type", "sub_type", "appearance", "action"),
)
"""The fields of the paper's table, in its order; its average is taken over them."""
OTHERS = ("position", "environment", "lighting", "main_subject")
FIELDS = (*PAPER, *OTHERS)
CLOSED = {
    "shot_type": get_args(ShotTypeValue),
    "shot_angle": get_args(ShotAngleValue),
    "shot_position": get_args(ShotPositionValue),
}
NAMES = ("type", "sub_type", "main_subject")
TEXTS = tuple(name for name in FIELDS if name not in CLOSED and name not in NAMES)
OF_SUBJECT = ("expression", "appearance", "action", "position")
JUDGED_LEAST = 0.5
"""Share of what was said of a field that must be judged, or the field has no accuracy. Ours."""
Names = Callable[[str, str], tuple[str, str]]
"""Type and sub-type of a subject in one spelling, so that `Lady` is a `Woman`."""


def folded(kind: str, sub_type: str) -> tuple[str, str]:
    """The names in lower case."""
    return kind.casefold().strip(), sub_type.casefold().strip().replace("_", " ")


@dataclass(frozen=True)
class Item:
    """One thing that is true of a clip, and what a caption says of it; empty: nothing. Nothing true: it is made up."""

    clip_id: str
    field: str
    true: str
    said: str


@dataclass(frozen=True)
class Rate:
    """An accuracy."""

    items: int
    """Things that are true, and were judged."""
    right: float
    """Accuracy, 0 to 1; what was not said is not right, nor what was made up."""
    low: float
    high: float
    said: float
    """Share of what is true of which anything was said."""
    right_of_said: float
    """Accuracy among what was said."""
    unjudged: int = 0
    made_up: int = 0
    """Subjects that are not there: each is one more thing that is not right."""
    alike: bool = False
    """It is no accuracy: texts count that are like the true one, and opposites are."""


@dataclass(frozen=True)
class Scored:
    """One engine's captions against the truth."""

    engine: str
    items: tuple[Item, ...]
    scores: tuple[Score, ...]
    missing: int
    """Clips of the truth without a caption of this engine."""
    extra: int
    """Subjects that no true one matches."""
    alike: frozenset[str] = frozenset()
    """Fields that nothing could judge: their scores say only which texts are alike."""

    def rates(self) -> dict[str, Rate]:
        """The rate of each field that the truth says anything of, and that was judged."""
        return {name: found for name in FIELDS if (found := self._rate(name)) is not None}

    def unjudged(self) -> dict[str, tuple[int, int]]:
        """By field that has no rate for it: how many of the texts that were said were judged, and of how many."""
        found = {}
        for name in FIELDS:
            spoken = [score for item, score in self._of(name) if item.said]
            if not self.counted(name) and spoken:
                found[name] = (sum(score is not None for score in spoken), len(spoken))
        return found

    def counted(self, name: str) -> list[tuple[Item, float, float]]:
        """The items of a field that count, with score and weight; none where less than JUDGED_LEAST was judged.

        Where a part of what was said could not be judged, what was not said weighs less by the same part: else a
        judge that fails would look like an engine that is silent.
        """
        found = self._of(name)
        spoken = [score for item, score in found if item.said]
        share = sum(score is not None for score in spoken) / len(spoken) if spoken else 1.0
        if share < JUDGED_LEAST:
            return []
        return [(item, score, 1.0 if item.said else share) for item, score in found if score is not None]

    def _of(self, name: str) -> list[tuple[Item, Score]]:
        """Items and scores of a field; none where the truth says nothing of it, whatever was made up."""
        found = self._by_field.get(name, [])
        return found if any(item.true for item, _ in found) else []

    @cached_property
    def _by_field(self) -> dict[str, list[tuple[Item, Score]]]:
        found: dict[str, list[tuple[Item, Score]]] = {}
        for item, score in zip(self.items, self.scores, strict=True):
            found.setdefault(item.field, []).append((item, score))
        return found

    def _rate(self, name: str) -> Rate | None:
        judged, found = self.counted(name), self._of(name)
        if not judged:
            return None
        count = sum(weight for _, _, weight in judged)
        right = sum(score * weight for _, score, weight in judged) / count
        spoken = [score for item, score, _ in judged if item.said]
        true = [item for item, _ in found if item.true]
        low, high = wilson(right, count)
        made_up = len(found) - len(true)
        return Rate(
            len(judged) - made_up,
            right,
            low,
            high,
            sum(bool(item.said) for item in true) / len(true),
            sum(spoken) / len(spoken) if spoken else 0.0,
            len(found) - len(judged),
            made_up,
            name in self.alike,
        )


def evaluate(
    truth: Mapping[str, Caption],
    engine: str,
    captions: Mapping[str, Caption],
    judge: Judge,
    names: Names = folded,
) -> Scored:
    """One engine's captions against the truth, by clip id; clips that the truth does not have are not looked at."""
    items: list[Item] = []
    extra = 0
    for clip_id in sorted(truth):
        found, more = compared(clip_id, truth[clip_id], captions.get(clip_id), names)
        items += found
        extra += more
    missing = len(truth.keys() - captions.keys())
    alike = frozenset() if judge.sure else frozenset(TEXTS) - CLAIMS.keys()
    return Scored(engine, tuple(items), tuple(_scores(items, judge)), missing, extra, alike)


def compared(
    clip_id: str, true: Caption, said: Caption | None, names: Names = folded
) -> tuple[list[Item], int]:
    """Everything that is true of a clip beside what is said of it, and how many subjects were made up."""
    items = [
        Item(clip_id, name, value, _value(said, name) if said else "")
        for name in (*CLOSED, "camera_motion", "environment", "lighting")
        if (value := _value(true, name))
    ]
    subjects = said.subjects if said else ()
    pairs = matched(true.subjects, subjects, names)
    for subject, other in pairs:
        items += _of_subject(clip_id, subject, other, names)
    meant = {id(other) for _, other in pairs}
    made_up = [subject for subject in subjects if id(subject) not in meant]
    for subject in made_up:
        told = zip(NAMES, names(subject.TYPES.type, subject.TYPES.sub_type), strict=False)
        items += [Item(clip_id, name, "", text) for name, text in told if text]
    return items, len(made_up)


def _value(caption: Caption, name: str) -> str:
    value = str(getattr(caption, name))
    return value if name in CLOSED else tidy(value)


def _of_subject(clip_id: str, true: Subject, said: Subject | None, names: Names) -> list[Item]:
    """What is true of a subject, and what is said of the one that was matched to it."""
    kind, sub_type = names(true.TYPES.type, true.TYPES.sub_type)
    other = names(said.TYPES.type, said.TYPES.sub_type) if said else ("", "")
    items = [Item(clip_id, "type", kind, other[0])]
    items += [Item(clip_id, "sub_type", sub_type, other[1])] if sub_type else []
    items += [
        Item(clip_id, name, text, tidy(getattr(said, name)) if said else "")
        for name in OF_SUBJECT
        if (text := tidy(getattr(true, name)))
    ]
    if true.is_main_subject:
        main = "" if said is None else "main" if said.is_main_subject else "not main"
        items.append(Item(clip_id, "main_subject", "main", main))
    return items


def matched(
    true: Sequence[Subject], said: Sequence[Subject], names: Names = folded
) -> list[tuple[Subject, Subject | None]]:
    """Each true subject with the one that is meant, so that all pairs together are as alike as can be.

    Type counts most, then sub-type, then place, looks, action and which is the main one; two that share none of type,
    place and words are no pair.
    """
    alike = [[_likeness(one, other, names) for other in said] for one in true]
    found = {row: column for row, column in best_pairs(alike) if alike[row][column] > MAIN}
    return [(subject, said[found[n]] if n in found else None) for n, subject in enumerate(true)]


MAIN = 0.25
"""What being the main one in both adds to a likeness: a hint, and no reason by itself."""


def _likeness(one: Subject, other: Subject, names: Names) -> float:
    kinds, others = names(one.TYPES.type, one.TYPES.sub_type), names(other.TYPES.type, other.TYPES.sub_type)
    here, there = places(one.position), places(other.position)
    place = len(here & there) / len(here | there) if here | there else 0.0
    words = overlap(f"{one.appearance} {one.action}", f"{other.appearance} {other.action}")
    main = MAIN * (one.is_main_subject and other.is_main_subject)
    return (kinds[0] == others[0]) + 0.5 * (kinds[1] == others[1]) + 0.3 * place + words + main


def _scores(items: Sequence[Item], judge: Judge) -> list[Score]:
    """One score an item: names by equality, texts by the judge, nothing said is not right."""
    scores: list[Score] = [0.0] * len(items)
    for name in FIELDS:
        asked = [n for n, item in enumerate(items) if item.field == name and item.said]
        if name not in TEXTS:
            for n in asked:
                scores[n] = float(items[n].true == items[n].said)
        else:
            told = judge.scores(name, [(items[n].true, items[n].said) for n in asked])
            for n, score in zip(asked, told, strict=True):
                scores[n] = score
    return scores


# --- averages


def firm(*engines: Scored, fields: Sequence[str] = PAPER) -> tuple[str, ...]:
    """Those of the fields on which every engine was judged, by more than likeness: what an average is taken over."""
    return tuple(
        name for name in fields if all(one.counted(name) and name not in one.alike for one in engines)
    )


def average(scored: Scored, fields: Sequence[str] = PAPER) -> Difference | None:
    """The mean of the accuracies of the fields that are `firm`, each counting the same; None where there is none."""
    chosen = firm(scored, fields=fields)
    return resampled([_marks(scored, chosen)]) if chosen else None


def difference(scored: Scored, other: Scored, fields: Sequence[str] = PAPER) -> Difference | None:
    """How much higher the first's average is than the other's, over the fields that are `firm` for both."""
    chosen = firm(scored, other, fields=fields)
    return resampled([_marks(scored, chosen), _marks(other, chosen)]) if chosen else None


def _marks(scored: Scored, fields: Sequence[str]) -> Marks:
    return {
        name: [(item.clip_id, score, weight) for item, score, weight in scored.counted(name)]
        for name in fields
    }
