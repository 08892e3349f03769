"""Subjects from boxes: which stay, which is the main one, and where they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from captioner.concepts import TYPE_OF
from captioner.experts.boxes import Box
from captioner.subjects import Limits, Track, position, subjects, tracks
from filters.detectors.coco import LABELS

LIMITS = Limits(
    evidence_min=0.5,
    area_min=0.005,
    most=4,
    left_max=0.37,
    right_min=0.63,
    nearer_ratio=2.0,
    main_area_min=0.03,
)
FRAMES = (0, 48, 96, 144)


def box(label: str, frame: int, x: float, size: float = 0.3, score: float = 0.9) -> Box:
    """A square (in shares) box of a side around x, standing on 0.9."""
    return Box(frame, label, score, x - size / 2, 0.9 - size, x + size / 2, 0.9)


def test_every_label_of_the_detector_has_a_type() -> None:
    assert set(TYPE_OF) == set(LABELS)


def test_two_people_are_told_apart_by_place_whatever_their_order() -> None:
    left = [
        box("person", frame, 0.2, size) for frame, size in zip(FRAMES, (0.3, 0.32, 0.3, 0.32), strict=True)
    ]
    right = [box("person", frame, 0.8, 0.31) for frame in FRAMES]
    found = tracks([*right, *left], FRAMES, LIMITS)
    assert [position(track, found, LIMITS) for track in found] == ["On the left.", "On the right."]
    assert [track.seen for track in found] == [1.0, 1.0]


def test_evidence_is_persistence_times_score() -> None:
    assert tracks([box("cat", frame, 0.5, score=0.6) for frame in FRAMES], FRAMES, LIMITS) != []
    assert tracks([box("cat", frame, 0.5, score=0.6) for frame in FRAMES[:3]], FRAMES, LIMITS) == []
    assert tracks([box("cat", 0, 0.5)], FRAMES, LIMITS) == []
    assert tracks([box("cat", 0, 0.5)], (0,), LIMITS)[0].evidence == pytest.approx(0.9)


def test_a_second_person_on_few_frames_does_not_cost_the_first() -> None:
    boxes = [*(box("person", frame, 0.4) for frame in FRAMES), box("person", 0, 0.8, 0.2)]
    assert len(tracks(boxes, FRAMES, LIMITS)) == 1


def test_tiny_boxes_do_not_count() -> None:
    assert tracks([box("car", frame, 0.5, 0.06) for frame in FRAMES], FRAMES, LIMITS) == []


def test_the_main_subject_is_the_largest_that_is_no_prop() -> None:
    table = [box("dining table", frame, 0.5, 0.6) for frame in FRAMES]
    woman = [box("person", frame, 0.3, 0.3) for frame in FRAMES]
    said = subjects(tracks([*table, *woman], FRAMES, LIMITS), LIMITS)
    assert [(one.TYPES.type, one.TYPES.sub_type, one.is_main_subject) for one in said] == [
        ("Human", "Person", True),
        ("Furniture", "Dining table", False),
    ]
    assert subjects(tracks(table, FRAMES, LIMITS), LIMITS) == ()  # a prop alone is as likely something else


def test_a_crowd_outweighs_the_bus_behind_it() -> None:
    bus = [box("bus", frame, 0.5, 0.35) for frame in FRAMES]
    crowd = [box("person", frame, x, 0.2) for frame in FRAMES for x in (0.1, 0.3, 0.5, 0.7, 0.9)]
    found = tracks([*bus, *crowd], FRAMES, LIMITS)
    assert found[0].label == "person"
    assert len(found) == LIMITS.most


def test_a_tiny_thing_is_no_main_subject_but_a_person_is() -> None:
    """0.15 of both sides is 2.25 % of the picture."""

    def named(*boxes: Box) -> list[str]:
        return [one.TYPES.sub_type for one in subjects(tracks(boxes, FRAMES, LIMITS), LIMITS)]

    plant = [box("potted plant", frame, 0.2, 0.15) for frame in FRAMES]
    bed = [box("bed", frame, 0.6, 0.6) for frame in FRAMES]
    dog = [box("dog", frame, 0.8, 0.18) for frame in FRAMES]
    assert named(*plant) == named(*plant, *bed) == []
    assert named(*dog, *plant, *bed) == ["Dog", "Bed", "Potted plant"]
    assert named(*(box("potted plant", frame, 0.2, 0.18) for frame in FRAMES)) == ["Potted plant"]
    assert named(*(box("person", frame, 0.2, 0.15) for frame in FRAMES), *bed) == ["Person", "Bed"]
    flock = [box("bird", frame, x, 0.15) for frame in FRAMES for x in (0.2, 0.8)]
    assert named(*flock) == ["Bird", "Bird"]


def test_nothing_is_found_in_nothing() -> None:
    assert tracks([], FRAMES, LIMITS) == []
    assert subjects([], LIMITS) == ()


@pytest.mark.parametrize(
    ("xs", "says"),
    [
        ((0.2, 0.2), "On the left."),
        ((0.5, 0.45), "In the center."),
        ((0.8, 0.9), "On the right."),
        ((0.2, 0.8), ""),
    ],
)
def test_side_is_said_when_every_frame_agrees(xs: tuple[float, ...], says: str) -> None:
    track = Track("dog", tuple(box("dog", i, x) for i, x in enumerate(xs)), 1.0)
    assert position(track, [track], LIMITS) == says


def test_depth_is_said_of_two_of_a_kind() -> None:
    near = Track("person", (box("person", 0, 0.2, 0.8),), 1.0)
    far = Track("person", (box("person", 0, 0.8, 0.3),), 1.0)
    car = Track("car", (box("car", 0, 0.5, 0.2),), 1.0)
    found = [near, far, car]
    assert [position(track, found, LIMITS) for track in found] == [
        "On the left, in the foreground.",
        "On the right, in the background.",
        "In the center.",
    ]
    near_only = replace(LIMITS, nearer_ratio=3.0)
    assert position(near, found, near_only) == "On the left."
