"""What a corrected caption makes of a clip's main subject, and of what else is known of it."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from captioner.schema import dumps, loads
from jobs.config import Config
from jobs.corrections import with_subjects
from jobs.subjects import concepts_of


def caption(*types: tuple[str, str], **said: str) -> str:
    subject: dict[str, Any] = {"appearance": "", "action": "", "expression": "", "position": ""}
    subjects = [
        subject | {"TYPES": {"type": kind, "sub_type": narrow}, "is_main_subject": number == 0}
        for number, (kind, narrow) in enumerate(types)
    ]
    names = ("shot_type", "shot_angle", "shot_position", "camera_motion", "environment", "lighting")
    return dumps(loads(json.dumps({"subjects": subjects} | dict.fromkeys(names, "") | said)))


def concepts(rows: pa.Table) -> tuple[list[Any], list[Any]]:
    found, sources = concepts_of(Config().taxonomy(), rows)
    return found.to_pylist(), sources.to_pylist()


ROWS = pa.table(
    {
        "clip_id": ["a", "b", "c"],
        "caption": [caption(), caption(("Human", "Woman")), None],
        "concept_type": pa.array([None, "Human", None], pa.string()),
        "concept_sub_type": pa.array([None, "Woman", None], pa.string()),
        "object_labels": [["person"], ["person"], ["dog"]],
        "object_evidence": pa.array([[0.9], [0.9], [0.9]], pa.list_(pa.float32())),
    }
)


def test_another_field_changes_nothing_of_what_the_clip_is_about() -> None:
    place = {"environment": "A sunny yard."}
    corrected = {"a": caption(**place), "b": caption(("Human", "Woman"), **place), "c": caption(**place)}
    assert with_subjects(ROWS, corrected).equals(ROWS)
    assert concepts(ROWS) == (["Human", "Human > Woman", "Animal > Dog"], ["object", "caption", "object"])


def test_another_main_subject_is_believed_and_one_taken_away_gives_way_to_what_was_detected() -> None:
    corrected = {"a": caption(("Animal", "Cat")), "b": caption(), "c": caption(("Human", "Man"))}
    found = with_subjects(ROWS, corrected)
    assert concepts(found) == (["Animal > Cat", "Human", "Human > Man"], ["caption", "object", "caption"])
    bare = with_subjects(ROWS.select(["clip_id"]), {"b": caption(("Human", "Man"))})
    assert concepts(bare) == (["Unknown", "Human > Man", "Unknown"], [None, "caption", None])
