"""Subjects of a clip from boxes on a few frames: what stays in view, where, and which is the main one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from captioner.concepts import TYPE_OF
from captioner.experts.boxes import Box
from captioner.schema import Subject, Types

PROPS = frozenset({"Accessory", "Furniture", "Electronics", "Kitchenware", "Street", "Household"})
"""Types that are named beside a subject and never alone: the packaged detector takes a globe for a bowl and a bollard
for a fire hydrant, surely and on every frame."""


@dataclass(frozen=True)
class Limits:
    """When detections make a subject, and where it is said to be."""

    evidence_min: float
    """Share of the frames looked at on which it is found, times its mean detection score there."""
    area_min: float
    """Share of the picture under which a box does not count."""
    most: int
    left_max: float
    """Share of the width up to which a subject's middle is on the left ..."""
    right_min: float
    """... and from which it is on the right."""
    nearer_ratio: float
    """A subject as many times as high as another of its kind is nearer."""
    main_area_min: float
    """Share of the picture under which no kind of thing is the main subject; people are at any size."""


@dataclass(frozen=True)
class Track:
    """One subject's boxes, at most one a frame, and the share of the frames that have one."""

    label: str
    boxes: tuple[Box, ...]
    seen: float

    @property
    def area(self) -> float:
        return float(np.median([box.area for box in self.boxes]))

    @property
    def height(self) -> float:
        return float(np.median([box.height for box in self.boxes]))

    @property
    def evidence(self) -> float:
        return self.seen * float(np.mean([box.score for box in self.boxes]))

    @property
    def weight(self) -> float:
        """How much of the clip it fills: area times persistence."""
        return self.area * self.seen


def tracks(boxes: Sequence[Box], frames: Sequence[int], limits: Limits) -> list[Track]:
    """What is in the picture, the main one first, then the others by weight; equals in the order of label and place.

    Main is the heaviest of the label that weighs most in all, so that a crowd outweighs the bus behind it; a prop, or
    what is tiny, only where there is nothing else.
    """
    large = [box for box in boxes if box.area >= limits.area_min]
    labels = sorted({box.label for box in large})
    found = [track for label in labels for track in _of_label(label, large, frames, limits.evidence_min)]
    if not found:
        return []
    total = {label: sum(track.weight for track in found if track.label == label) for label in labels}
    main = max(found, key=lambda one: (_leads(one.label, found, limits), total[one.label], one.weight))
    others = sorted((track for track in found if track is not main), key=lambda track: -track.weight)
    return [main, *others][: limits.most]


def _leads(label: str, found: Sequence[Track], limits: Limits) -> bool:
    """Whether the main subject may be of this label: people, or what is no prop and not tiny, all of them together."""
    kind = TYPE_OF[label]
    area = sum(track.area for track in found if track.label == label)
    return kind == "Human" or (kind not in PROPS and area >= limits.main_area_min)


def _of_label(label: str, boxes: Sequence[Box], frames: Sequence[int], evidence_min: float) -> list[Track]:
    """As many tracks as have the evidence: each frame's largest boxes, told apart from left to right.

    A frame with fewer boxes than tracks belongs to none: which of them is missing there is not known.
    """
    named = [[box for box in boxes if (box.frame, box.label) == (frame, label)] for frame in frames]
    by_size = [sorted(listed, key=lambda box: -box.area) for listed in named]
    for count in range(max(map(len, by_size)), 0, -1):
        rows = [
            sorted(listed[:count], key=lambda b: b.x0 + b.x1) for listed in by_size if len(listed) >= count
        ]
        found = [Track(label, one, len(rows) / len(frames)) for one in zip(*rows, strict=True)]
        if all(track.evidence >= evidence_min for track in found):
            return found
    return []


def subjects(found: Sequence[Track], limits: Limits, expressions: Sequence[str] = ()) -> tuple[Subject, ...]:
    """The caption's subjects of tracks, the first as the main one; none where it is a prop or tiny.

    Type and place are said, and of people what their faces show: `expressions` has a sentence a track, or empty.
    """
    if not found or not _leads(found[0].label, found, limits):
        return ()
    return tuple(
        Subject(
            TYPES=Types(type=TYPE_OF[track.label], sub_type=track.label.capitalize()),
            appearance="",
            action="",
            expression=expressions[i] if expressions and TYPE_OF[track.label] == "Human" else "",
            position=position(track, found, limits),
            is_main_subject=i == 0,
        )
        for i, track in enumerate(found)
    )


def position(track: Track, others: Sequence[Track], limits: Limits) -> str:
    """Where a subject stays: side and depth, as far as every frame agrees; else empty."""
    sides = {_side(box, limits) for box in track.boxes}
    said = [f"on the {side}" if side != "center" else "in the center" for side in sides if len(sides) == 1]
    said += [f"in the {depth}" for depth in [_depth(track, others, limits.nearer_ratio)] if depth]
    return f"{', '.join(said).capitalize()}." if said else ""


def _side(box: Box, limits: Limits) -> str:
    middle = box.centre[0]
    return "left" if middle < limits.left_max else "right" if middle > limits.right_min else "center"


def _depth(track: Track, others: Sequence[Track], nearer_ratio: float) -> str:
    """Nearer and farther than another of its kind, which is about as large in life, by their heights."""
    heights = [other.height for other in others if other.label == track.label]
    if track.height * nearer_ratio <= max(heights):
        return "background"
    return "foreground" if track.height >= nearer_ratio * min(heights) else ""
