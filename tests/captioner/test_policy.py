"""The final caption: whose field stands where the model and an expert differ."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from captioner.embedded import EmbeddedCaptioner
from captioner.policy import PolicyCaptioner
from captioner.schema import dumps, loads
from captioner.serialize import prompt
from pipeline.clip import Clip
from pipeline.stage import checked

HOSTILE = Path(__file__).parent / "hostile"
MODEL = json.loads((HOSTILE / "ok_plain.json").read_text(encoding="utf-8"))
"""A woman and a dog: medium_shot, eye_level, front_view."""
POLICY = PolicyCaptioner()


def rows(said: dict[str, Any] = MODEL, language: str = "en", **changes: dict[str, Any]) -> dict[str, Any]:
    """Rows in which every expert is sure and says something else than the model."""
    known = {
        "vlm": {
            "vlm_caption": dumps(loads(json.dumps(said))),
            "vlm_engine": "server tiny",
            "vlm_language": language,
        },
        "camera": {"camera_motion": "The camera is static.", "camera_confidence": 0.9},
        "shot": {
            "shot_type": "close_up",
            "shot_type_confidence": 0.8,
            "shot_angle": "low_angle",
            "shot_angle_confidence": 0.8,
            "shot_position": "side_view",
            "shot_position_confidence": 0.8,
        },
        "expression": {
            "expression": "The person looks neutral, then happy.",
            "expression_confidence": 0.8,
            "expression_tracks": [{"start_s": 0.0}],
        },
    }
    return {name: row | changes.get(name, {}) for name, row in known.items()}


def decided(
    upstream: dict[str, Any], policy: PolicyCaptioner = POLICY
) -> tuple[dict[str, Any], dict[str, str]]:
    """The final caption, and the source of each field."""
    seen = Clip("c", "s", "v", 0, 96, 0.0, 4.0, 24.0, 1280, 720, upstream=upstream)
    row = dict(checked(policy.columns, policy.measure(None, seen, None)))
    (stored,) = pa.Table.from_pylist([row], schema=policy.columns).to_pylist()
    assert stored["caption_engine"] == "server tiny"
    assert stored["caption_status"] == "ok"
    caption = loads(stored["caption"])
    assert stored["caption_fields"] == list(caption.said())
    sources = {one["field"]: one["source"] for one in stored["caption_sources"]}
    assert all((one["confidence"] is None) == (one["source"] == "vlm") for one in stored["caption_sources"])
    return json.loads(stored["caption"]), sources


FIELDS = ("subjects", "shot_type", "shot_angle", "shot_position", "camera_motion", "environment", "lighting")
ALL_MODEL = dict.fromkeys(FIELDS, "vlm")


def test_sure_experts_replace_their_fields_and_no_others() -> None:
    caption, sources = decided(rows())
    assert caption == MODEL | {
        "shot_type": "close_up",
        "shot_angle": "low_angle",
        "shot_position": "side_view",
        "camera_motion": "The camera is static.",
        "subjects": [
            MODEL["subjects"][0] | {"expression": "Looks neutral, then happy."},
            MODEL["subjects"][1],
        ],
    }
    assert sources == ALL_MODEL | {
        "shot_type": "shot",
        "shot_angle": "shot",
        "shot_position": "shot",
        "camera_motion": "camera",
        "subjects.0.expression": "expression",
    }


@pytest.mark.parametrize(
    ("expert", "column", "field"),
    [
        ("camera", "camera_confidence", "camera_motion"),
        ("shot", "shot_type_confidence", "shot_type"),
        ("shot", "shot_angle_confidence", "shot_angle"),
        ("shot", "shot_position_confidence", "shot_position"),
        ("expression", "expression_confidence", "subjects.0.expression"),
    ],
)
def test_an_expert_counts_from_its_bound(expert: str, column: str, field: str) -> None:
    assert decided(rows(**{expert: {column: 0.6}}))[1][field] == expert
    for confidence in (0.59, 0.0, None):
        caption, sources = decided(rows(**{expert: {column: confidence}}))
        assert sources.get(field, "vlm") == "vlm"
        if field in MODEL:
            assert caption[field] == MODEL[field]


def test_an_expert_that_says_nothing_leaves_the_models_field() -> None:
    silent = {
        "camera": {"camera_motion": ""},
        "shot": {"shot_type": "", "shot_angle": "", "shot_position": ""},
        "expression": {"expression": ""},
    }
    assert decided(rows(**silent)) == (MODEL, ALL_MODEL)


def test_bounds_are_settings() -> None:
    never = PolicyCaptioner(camera_min=1.0, shot_min=1.0, expression_min=1.0)
    assert decided(rows(), never) == (MODEL, ALL_MODEL)
    assert decided(rows(), replace(never, camera_min=0.9))[1] == ALL_MODEL | {"camera_motion": "camera"}


def test_the_expert_on_shots_counts_where_the_main_subject_is_a_person() -> None:
    flipped = [one | {"is_main_subject": not one["is_main_subject"]} for one in MODEL["subjects"]]
    for subjects in (flipped, MODEL["subjects"][1:], []):
        listed = [one | {"is_main_subject": True} for one in subjects] if len(subjects) == 1 else subjects
        caption, sources = decided(rows(MODEL | {"subjects": listed}))
        assert {sources[name] for name in ("shot_type", "shot_angle", "shot_position")} == {"vlm"}
        assert caption["shot_position"] == MODEL["shot_position"]
        assert sources["camera_motion"] == "camera"


def test_an_expression_needs_one_face_and_one_person() -> None:
    two_faces = rows(expression={"expression_tracks": [{"start_s": 0.0}, {"start_s": 1.0}]})
    assert "subjects.0.expression" not in decided(two_faces)[1]
    no_faces = rows(expression={"expression_tracks": None})
    assert "subjects.0.expression" not in decided(no_faces)[1]
    second = MODEL["subjects"][0] | {"is_main_subject": False, "appearance": "He wears blue."}
    assert (
        "subjects.0.expression" not in decided(rows(MODEL | {"subjects": [MODEL["subjects"][0], second]}))[1]
    )
    dog_first = MODEL | {"subjects": MODEL["subjects"][::-1]}
    caption, sources = decided(rows(dog_first))
    assert sources["subjects.1.expression"] == "expression"
    assert [one["expression"] for one in caption["subjects"]] == ["", "Looks neutral, then happy."]
    assert " She looks neutral, then happy." in prompt(loads(json.dumps(caption)), "t2v")
    assert "subjects.0.expression" not in decided(rows(MODEL | {"subjects": []}))[1]
    for several in ("Crowd", "Group of people", "Children", "Man and woman"):
        crowd = MODEL["subjects"][0] | {"TYPES": {"type": "Human", "sub_type": several}}
        assert "subjects.0.expression" not in decided(rows(MODEL | {"subjects": [crowd]}))[1]


def test_english_sentences_stay_out_of_other_languages() -> None:
    chinese = json.loads((HOSTILE / "language_chinese.json").read_text(encoding="utf-8"))
    caption, sources = decided(rows(chinese, "zh"))
    assert caption["camera_motion"] == chinese["camera_motion"]
    assert caption["subjects"] == chinese["subjects"]
    assert (sources["shot_type"], sources["camera_motion"]) == ("shot", "vlm")


def test_the_concept_is_the_main_subjects() -> None:
    flipped = [one | {"is_main_subject": not one["is_main_subject"]} for one in MODEL["subjects"]]
    seen = Clip("c", "s", "v", 0, 96, 0.0, 4.0, 24.0, 1, 1, upstream=rows(MODEL | {"subjects": flipped}))
    row = POLICY.measure(None, seen, None)
    assert (row["concept_type"], row["concept_sub_type"]) == ("Animal", "Dog")
    empty = replace(seen, upstream=rows(MODEL | {"subjects": []}))
    assert POLICY.measure(None, empty, None)["concept_type"] is None


def test_it_writes_what_the_embedded_captioner_writes_and_the_sources() -> None:
    own = EmbeddedCaptioner.columns
    assert POLICY.name == EmbeddedCaptioner.name == "caption"
    assert POLICY.columns.names == [*own.names, "caption_sources"]
    assert all(POLICY.columns.field(name) == own.field(name) for name in own.names)
