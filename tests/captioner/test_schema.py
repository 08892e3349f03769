"""The caption schema: round trips, JSON Schema, cross-field rules, hostile text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from captioner.schema import (
    MAX_CAPTION_CHARS,
    MAX_CHARS,
    MAX_SUBJECTS,
    Caption,
    clean,
    dumps,
    json_schema,
    loads,
)

FIELDS = [
    "subjects",
    "shot_type",
    "shot_angle",
    "shot_position",
    "camera_motion",
    "environment",
    "lighting",
]
SUBJECT_FIELDS = ["TYPES", "appearance", "action", "expression", "position", "is_main_subject"]


def subject(kind: str = "Human", main: bool = True, **texts: str) -> dict[str, Any]:
    said = {"appearance": "", "action": "", "expression": "", "position": ""} | texts
    return {"TYPES": {"type": kind, "sub_type": ""}, **said, "is_main_subject": main}


def caption(*subjects: dict[str, Any], **fields: str) -> dict[str, Any]:
    empty = dict.fromkeys(FIELDS[1:], "")
    return {"subjects": list(subjects), **empty, **fields}


def parse(value: dict[str, Any]) -> Caption:
    return loads(json.dumps(value))


def full() -> dict[str, Any]:
    return caption(
        subject(expression="Smiles.", position="On the left."),
        subject("Vehicles", main=False),
        shot_type="close_up",
        shot_angle="low_angle",
        shot_position="front_view",
        camera_motion="The camera pans slowly to the right.",
        environment="A street – 夜の街.",
        lighting="Dim.",
    )


def test_canonical_text_is_exact_and_round_trips() -> None:
    text = dumps(parse(caption(subject("Animal", position="Left — é"), shot_type="full_shot")))
    assert text == (
        '{"subjects":[{"TYPES":{"type":"Animal","sub_type":""},"appearance":"","action":"","expression":"",'
        '"position":"Left — é","is_main_subject":true}],"shot_type":"full_shot","shot_angle":"",'
        '"shot_position":"","camera_motion":"","environment":"","lighting":""}'
    )
    assert dumps(loads(text)) == text


def test_key_order_and_spacing_of_the_source_do_not_matter() -> None:
    value = full()
    reversed_keys = dict(reversed(value.items()))
    assert dumps(loads(json.dumps(reversed_keys, indent=3))) == dumps(parse(value))


def test_captions_are_frozen_hashable_and_say_what_they_say() -> None:
    one = parse(full())
    assert hash(one) == hash(parse(full()))
    assert one.said() == tuple(FIELDS)
    assert parse(caption(lighting="Dim.")).said() == ("lighting",)
    with pytest.raises(ValidationError):
        one.lighting = "x"  # type: ignore[misc]


def test_json_schema_is_valid_closed_and_in_skycaptioners_order() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(schema["properties"]) == FIELDS == schema["required"]
    assert list(schema["$defs"]["Subject"]["properties"]) == SUBJECT_FIELDS
    objects = [schema, *schema["$defs"].values()]
    assert [node["additionalProperties"] for node in objects] == [False] * len(objects)
    assert "Length" not in json.dumps(schema)  # length bounds loosen guided decoding's strings
    jsonschema.validate(full(), schema)


@pytest.mark.parametrize("field", ["shot_type", "shot_angle", "shot_position"])
def test_not_said_is_allowed_in_a_caption_but_not_to_a_guided_model(field: str) -> None:
    value = full() | {field: ""}
    assert getattr(parse(value), field) == ""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(value, json_schema())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: v.update(mood="calm"), "mood"),
        (lambda v: v.pop("lighting"), "lighting"),
        (lambda v: v.update(shot_type="closeup"), "shot_type"),
        (lambda v: v.update(lighting=3), "lighting"),
        (lambda v: v.update(lighting=None), "lighting"),
        (lambda v: v["subjects"][0].update(is_main_subject="true"), "is_main_subject"),
        (lambda v: v["subjects"][0]["TYPES"].update(type="\u202e"), "a subject needs a type"),
        (lambda v: v["subjects"][1].update(is_main_subject=True), "2 main subjects among 2"),
        (lambda v: v["subjects"][0].update(is_main_subject=False), "0 main subjects among 2"),
        (lambda v: v["subjects"][1].update(expression="Happy."), "type Vehicles has no expression"),
        (lambda v: v["subjects"].extend([subject(main=False)] * MAX_SUBJECTS), "subjects"),
        (lambda v: v.update(environment="a" * (MAX_CHARS + 1)), f"at most {MAX_CHARS}"),
    ],
)
def test_a_caption_outside_the_schema_is_refused(change: Callable[[dict[str, Any]], Any], says: str) -> None:
    value = full()
    change(value)
    with pytest.raises(ValidationError, match=says):
        parse(value)


@pytest.mark.parametrize("kind", ["Human", "human", "Animal"])
def test_people_and_animals_have_expressions(kind: str) -> None:
    assert parse(caption(subject(kind, expression="Happy."))).subjects[0].expression == "Happy."


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "null",
        "[]",
        '{"subjects":[',
        "[" * 100_000,
        '"\ud800"',
        '{"subjects":[],"lighting":"\\ud800"}',
        " " * (MAX_CAPTION_CHARS + 1),
    ],
)
def test_texts_that_are_no_caption_are_value_errors(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(text)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("a\x00b\x1b[31m", "ab[31m"),
        ("one\r\n\ttwo\u2028three\u00a0 four ", "one two three four"),
        ("evil\u202egpj.exe\u2066\u2069", "evilgpj.exe"),
        ("\ufeffzero\u200bwidth\u00ad", "zerowidth"),
        ("\ud83d lone", "lone"),
        ("\ufffe\ufdd0\U0001ffff\ue000x", "x"),
        ("tag\U000e0041\U000e007f", "tag"),
        ("e\u0301", "é"),
        ("می\u200cخواهم 👩\u200d🚀", "می\u200cخواهم 👩\u200d🚀"),
        ("\x00", ""),
    ],
)
def test_text_guard(raw: str, kept: str) -> None:
    assert clean(raw) == kept


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=60))
def test_cleaned_text_is_stable_encodable_and_survives_a_round_trip(raw: str) -> None:
    once = clean(raw)
    assert clean(once) == once
    assert once.encode().decode() == once
    assert "\n" not in once
    value = parse(caption(environment=once))
    assert value.environment == once
    assert dumps(loads(dumps(value))) == dumps(value)
