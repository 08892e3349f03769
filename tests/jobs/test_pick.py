"""What experts are asked about a run's clips, and how the list of them is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from captioner.pick import Candidate, Picked, clashes
from captioner.schema import Caption, Subject, Types, dumps
from jobs.pick import experts, told
from pipeline.clip import CLIPS


def subject(kind: str, main: bool, expression: str = "") -> Subject:
    return Subject(
        TYPES=Types(type=kind, sub_type=""),
        appearance="",
        action="",
        expression=expression,
        position="",
        is_main_subject=main,
    )


def caption(*subjects: Subject) -> Caption:
    return Caption(
        subjects=subjects,
        shot_type="long_shot",
        shot_angle="",
        shot_position="front_view",
        camera_motion="The camera pans left.",
        environment="",
        lighting="",
    )


def row(said: Caption, **changes: Any) -> dict[str, Any]:
    """A clip on which every expert says something else than the model, surely."""
    clip = dict(zip(CLIPS.names, ("c", "s", "v", 0, 48, 0.0, 2.0, 24.0, 640, 360), strict=True))
    return {
        **clip,
        "vlm_caption": dumps(said),
        "shot_type": "close_up",
        "shot_type_confidence": 0.9,
        "shot_position": "side_view",
        "shot_position_confidence": 0.2,
        "camera_motion": "The camera zooms in.",
        "camera_confidence": 0.5,
        "expression": "The person smiles.",
        "expression_confidence": 0.8,
        "expression_tracks": [{"start_s": 0.0}],
        **changes,
    }


def disagreed(said: Caption, **changes: Any) -> set[str]:
    known = experts(row(said, **changes))
    return {clash.field for clash in clashes(Candidate("c", "v", "", known, said))}


WOMAN, DOG = subject("Human", True, "Sad"), subject("Dog", True)
SHOT = {"shot_type", "shot_position"}


@pytest.mark.parametrize(
    ("said", "changes", "fields"),
    [
        (caption(WOMAN), {}, SHOT | {"camera_motion", "expression"}),
        # the expert measured a person's shot, and the model speaks of the dog's
        (caption(DOG), {}, {"camera_motion"}),
        (caption(DOG, subject("Human", False, "Sad")), {}, {"camera_motion", "expression"}),
        # two faces were followed: whose was measured?
        (
            caption(WOMAN),
            {"expression_tracks": [{"start_s": 0.0}, {"start_s": 1.0}]},
            SHOT | {"camera_motion"},
        ),
        (caption(WOMAN), {"camera_confidence": None}, SHOT | {"expression"}),
    ],
)
def test_an_expert_that_measured_another_subject_disagrees_with_nobody(
    said: Caption, changes: dict[str, Any], fields: set[str]
) -> None:
    assert disagreed(said, **changes) == fields


def test_experts_that_a_run_does_not_have_say_nothing_and_each_says_how_sure_it_is() -> None:
    known = {name: value for name, value in row(caption(WOMAN)).items() if "expression" not in name}
    found = experts(known)
    assert found == {
        "shot_type": ("close_up", 0.9),
        "shot_position": ("side_view", 0.2),
        "camera_motion": ("The camera zooms in.", 0.5),
    }


def picked(videos: list[str]) -> list[Picked]:
    return [Picked(f"c{n}", video, "", 0.5, ()) for n, video in enumerate(videos)]


def test_a_list_of_another_form_than_was_asked_for_says_why() -> None:
    to = Path("next.csv")
    spread = [f"v{n % 20}" for n in range(40)]
    assert list(told(picked(spread), 40, to)) == ["40 clips of 20 videos: next.csv"]
    film, few = (
        list(told(picked(videos), 40, to)) for videos in (["film"] * 37 + ["a", "b", "c"], ["a", "b"])
    )
    assert film == [
        "40 clips of 4 videos: next.csv",
        "37 of them are of one video: too few others have clips on which experts and model disagree",
    ]
    assert few == [
        "2 clips of 2 videos: next.csv",
        "fewer than 40: on no other clip do experts and model disagree, or people have seen it",
    ]
