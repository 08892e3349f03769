"""How right captions are, field by field, beside captions that people have checked: the layout of the paper's table.

SkyReels-V2 (arXiv 2504.13074) reports one accuracy a field and their average. Here an accuracy counts what was not said
as not right, shows beside it how often anything was said, and has a 95 % interval; two engines are compared on the
same items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from captioner.assignment import best_pairs
from captioner.judging import Judge, Score, overlap
from captioner.lexicon import places
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
OF_SUBJECT = ("expression", "appearance", "action", "position")
Z = 1.959963984540054
"""Of a two-sided 95 % interval."""
RESAMPLES = 1_000
MOST_DRAWN = 1 << 23
"""Clips that are drawn at once, 64 MiB of counts."""

Names = Callable[[str, str], tuple[str, str]]
"""Type and sub-type of a subject in one spelling, so that `Lady` is a `Woman`."""


def folded(kind: str, sub_type: str) -> tuple[str, str]:
    """The names in lower case."""
    return kind.casefold().strip(), sub_type.casefold().strip().replace("_", " ")


@dataclass(frozen=True)
class Item:
    """One thing that is true of a clip, and what a caption says of it; empty: nothing."""

    clip_id: str
    field: str
    true: str
    said: str


@dataclass(frozen=True)
class Rate:
    """An accuracy."""

    items: int
    """Things that are true and were judged."""
    right: float
    """Accuracy, 0 to 1; what was not said is not right."""
    low: float
    high: float
    said: float
    """Share of the items of which anything was said."""
    right_of_said: float
    """Accuracy among those."""
    unjudged: int = 0


@dataclass(frozen=True)
class Difference:
    """How much more often one engine is right than another on the same items, with its 95 % interval."""

    mean: float
    low: float
    high: float


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

    def rates(self) -> dict[str, Rate]:
        """The rate of each field that the truth says anything of."""
        return {name: found for name in FIELDS if (found := self._rate(name)) is not None}

    def _rate(self, name: str) -> Rate | None:
        chosen = [
            (item, score) for item, score in zip(self.items, self.scores, strict=True) if item.field == name
        ]
        judged = [(item, score) for item, score in chosen if score is not None]
        if not judged:
            return None
        right = sum(score for _, score in judged) / len(judged)
        spoken = [score for item, score in judged if item.said]
        low, high = wilson(right, len(judged))
        of_said = sum(spoken) / len(spoken) if spoken else 0.0
        return Rate(
            len(judged), right, low, high, len(spoken) / len(judged), of_said, len(chosen) - len(judged)
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
    return Scored(engine, tuple(items), tuple(_scores(items, judge)), missing, extra)


def compared(
    clip_id: str, true: Caption, said: Caption | None, names: Names = folded
) -> tuple[list[Item], int]:
    """Everything that is true of a clip beside what is said of it, and how many subjects were made up."""
    items = [
        Item(clip_id, name, value, _value(said, name) if said else "")
        for name in (*CLOSED, "camera_motion", "environment", "lighting")
        if (value := _value(true, name))
    ]
    pairs = matched(true.subjects, said.subjects if said else (), names)
    for subject, other in pairs:
        items += _of_subject(clip_id, subject, other, names)
    return items, (len(said.subjects) if said else 0) - sum(other is not None for _, other in pairs)


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
        if name in CLOSED or name in ("type", "sub_type", "main_subject"):
            for n in asked:
                scores[n] = float(items[n].true == items[n].said)
        else:
            told = judge.scores(name, [(items[n].true, items[n].said) for n in asked])
            for n, score in zip(asked, told, strict=True):
                scores[n] = score
    return scores


# --- how sure


def wilson(share: float, count: int, z: float = Z) -> tuple[float, float]:
    """The interval of a share of `count` items (Wilson 1927), which holds at the ends of the scale too."""
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


Table = npt.NDArray[np.float64]


def average(scored: Scored, fields: Sequence[str] = PAPER) -> Difference | None:
    """The mean of the fields' accuracies, each counting the same, with its interval; None where there is no field."""
    return _resampled([scored], fields, 0)


def difference(scored: Scored, other: Scored, fields: Sequence[str] = PAPER) -> Difference | None:
    """How much higher the first's average is than the other's, over items that both were judged on."""
    return _resampled([scored, other], fields, 0)


def _resampled(engines: Sequence[Scored], fields: Sequence[str], seed: int) -> Difference | None:
    """An average, or the first's less the second's, and its interval by drawing clips again with replacement (Efron
    1979): items of one clip hang together."""
    clips = {clip: n for n, clip in enumerate(sorted({item.clip_id for item in engines[0].items}))}
    both = [
        all(one.scores[n] is not None for one in engines) and item.field in fields
        for n, item in enumerate(engines[0].items)
    ]
    place = {name: n for n, name in enumerate(fields)}
    counts = np.zeros((len(clips), len(fields)))
    sums = np.zeros((len(clips), len(fields)))
    for n, item in enumerate(engines[0].items):
        if both[n]:
            counts[clips[item.clip_id], place[item.field]] += 1
            values = [float(one.scores[n] or 0.0) for one in engines]
            sums[clips[item.clip_id], place[item.field]] += values[0] - (
                values[1] if len(values) > 1 else 0.0
            )
    if not counts.any():
        return None
    random = np.random.default_rng(seed)
    at_once = max(1, MOST_DRAWN // len(clips))
    means = [
        _means(sums, counts, random.multinomial(len(clips), [1 / len(clips)] * len(clips), size=size))
        for start in range(0, RESAMPLES, at_once)
        for size in [min(at_once, RESAMPLES - start)]
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Difference(float(_means(sums, counts, np.ones((1, len(clips))))[0]), float(low), float(high))


def _means(sums: Table, counts: Table, weights: npt.NDArray[np.floating] | npt.NDArray[np.integer]) -> Table:
    """(draws,) means over the fields that each draw of clips (draws, clips) has; 0 where it has none."""
    of_field = weights @ counts
    there = of_field > 0
    shares = np.divide(weights @ sums, of_field, out=np.zeros_like(of_field), where=there)
    found: Table = shares.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return found
