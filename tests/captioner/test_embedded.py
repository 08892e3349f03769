"""The embedded captioner: what it says, what it never says, and the contract of its stages."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from captioner import MODEL_STAGES, STAGES
from captioner.embedded import ENGINE, EmbeddedCaptioner, with_faces
from captioner.experts.boxes import Box
from captioner.schema import dumps, json_schema, loads
from pipeline.clip import Clip
from pipeline.stage import checked

ROOT = Path(__file__).parents[2]
LOOKED = [0, 48]
SHOT = {"shot_type": "", "shot_angle": "", "shot_position": ""}
CAMERA = {"camera_motion": "", "camera_speed": None}
EXPRESSION: dict[str, Any] = {"expression_tracks": []}


def upstream(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Rows of every stage before: a person on the right in a dim picture, a steady camera."""
    box = {"score": 0.9, "x0": 0.7, "y0": 0.1, "x1": 0.9, "y1": 0.9}
    rows: dict[str, dict[str, Any]] = {
        "flow": {
            "flow_time_s": [0.5 * i for i in range(8)],
            "flow_still_share": [0.8] * 8,
            **{f"flow_step_{name}": [0.0] * 7 for name in ("dx", "dy", "zoom", "roll_deg_s", "still")},
            **{f"flow_step_{name}": [0.02] * 7 for name in ("along", "across")},
            **{f"flow_travel_{name}": [0.0] * 7 for name in ("dx", "dy", "zoom")},
            **{f"flow_{name}_share": [0.9] * 7 for name in ("step", "travel")},
        },
        "sway": {
            "sway_time_s": [i / 12 for i in range(47)],
            "sway_step_s": [1 / 12] * 47,
            **{f"sway_{name}": [0.0] * 47 for name in ("dx", "dy")},
            "sway_share": [0.9] * 47,
        },
        "faces": {"face_frames": LOOKED, "faces": []},
        "objects": {
            "object_frames": LOOKED,
            "objects": [{"frame": frame, "label": "person", **box} for frame in LOOKED],
        },
        "bodies": {"body_frames": LOOKED, "bodies": []},
        "emotions": {"emotion_frames": [], "emotions": []},
        "horizon": {"pitch_deg": None, "roll_deg": None, "horizon_y": None, "pitch_frames_ratio": 0.0},
        "exposure": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.3, "warmth": 0.0},
    }
    return rows | changes


def caption(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The caption stage's row after all stages of the captioner ran, in their order."""
    known = dict(rows)
    row: dict[str, Any] = {}
    for stage in STAGES:
        seen = {name: known[name] for name in stage.requires}
        clip = Clip("c", "s", "v", 0, 96, 0.0, 4.0, 24.0, 1280, 720, upstream=seen)
        row = dict(checked(stage.columns, stage.measure(stage.load(), clip, None)))
        pa.Table.from_pylist([row], schema=stage.columns)
        known[stage.name] = row
    return dict(known["caption"])


def test_what_is_measured_is_said() -> None:
    row = caption(upstream())
    assert json.loads(row["caption"]) == {
        "subjects": [
            {
                "TYPES": {"type": "Human", "sub_type": "Person"},
                "appearance": "",
                "action": "",
                "expression": "",
                "position": "On the right.",
                "is_main_subject": True,
            }
        ],
        "shot_type": "full_shot",
        "shot_angle": "",
        "shot_position": "",
        "camera_motion": "The camera is static.",
        "environment": "",
        "lighting": "Dark.",
    }
    assert dumps(loads(row["caption"])) == row["caption"]
    assert row["caption_engine"] == ENGINE == "rushes-embedded/1"
    assert row["caption_status"] == "ok"
    assert row["caption_fields"] == ["subjects", "shot_type", "camera_motion", "lighting"]
    assert (row["concept_type"], row["concept_sub_type"]) == ("Human", "Person")


def test_nothing_measured_is_an_honest_empty() -> None:
    flow = {name: [] for name in upstream()["flow"]}
    exposure = {"brightness": 0.4, "contrast": 0.2, "saturation": 0.3, "warmth": 0.0}
    objects = {"object_frames": [0], "objects": []}
    row = caption(upstream(flow=flow, objects=objects, exposure=exposure))
    assert row["caption"] == (
        '{"subjects":[],"shot_type":"","shot_angle":"","shot_position":"","camera_motion":"",'
        '"environment":"","lighting":""}'
    )
    assert row["caption_fields"] == []
    assert (row["concept_type"], row["concept_sub_type"]) == (None, None)


@pytest.mark.parametrize(
    ("dx", "says"), [(0.03, ""), (0.1, "The camera pans to the left."), (0.0, "The camera is static.")]
)
def test_slow_motion_behind_a_subject_that_fills_the_picture_is_not_claimed(dx: float, says: str) -> None:
    rows = upstream()
    rows["flow"]["flow_step_dx"] = [dx] * 7
    for one in rows["objects"]["objects"]:
        one["x0"], one["x1"] = 0.2, 0.8
    assert json.loads(caption(rows)["caption"])["camera_motion"] == says


def test_a_thing_that_is_not_named_makes_slow_motion_doubtful_too() -> None:
    """A globe that turns before a still camera: a bowl to the detector, and no pan."""
    rows = upstream()
    rows["flow"]["flow_step_dx"] = [0.03] * 7
    for one in rows["objects"]["objects"]:
        one["label"], one["x0"], one["x1"] = "bowl", 0.2, 0.8
    said = json.loads(caption(rows)["caption"])
    assert (said["subjects"], said["camera_motion"]) == ([], "")


def test_a_lone_face_is_a_person() -> None:
    face = Box(0, "face", 0.9, 0.4, 0.2, 0.6, 0.6)
    assert [(one.label, one.score) for one in with_faces([], [face])] == [("person", 0.9)]


def test_a_person_is_as_sure_as_the_face_in_the_box() -> None:
    """The face is lent to the smaller of two people who both hold it, on its own frame, and never lowers a score."""
    face = Box(0, "face", 0.9, 0.4, 0.2, 0.6, 0.6)
    mother = Box(0, "person", 0.7, 0.1, 0.0, 0.9, 1.0)
    child = Box(0, "person", 0.6, 0.3, 0.1, 0.7, 1.0)
    later = Box(24, "person", 0.6, 0.3, 0.1, 0.7, 1.0)
    sure = Box(0, "person", 0.95, 0.3, 0.1, 0.7, 1.0)
    chair = Box(0, "chair", 0.6, 0.3, 0.1, 0.7, 1.0)
    assert [one.score for one in with_faces([mother, child, later, chair], [face])] == [0.7, 0.9, 0.6, 0.6]
    assert with_faces([sure], [face]) == [sure]


def test_a_face_makes_a_person_sure_beside_a_bed_and_a_plant() -> None:
    """A girl on two of three frames at 0.7, whose face is found at 0.9, a large bed and a small plant on all."""
    rows = upstream(objects={"object_frames": [0, 24, 48], "objects": []})
    for frame in (0, 24, 48):
        bed = {"label": "bed", "score": 0.6, "x0": 0.35, "y0": 0.1, "x1": 0.95, "y1": 0.9}
        plant = {"label": "potted plant", "score": 0.65, "x0": 0.13, "y0": 0.3, "x1": 0.26, "y1": 0.46}
        girl = {"label": "person", "score": 0.7, "x0": 0.5, "y0": 0.1, "x1": 0.7, "y1": 0.9}
        listed = [bed, plant] if frame == 0 else [bed, plant, girl]
        rows["objects"]["objects"] += [{"frame": frame, **one} for one in listed]
    unseen = caption(rows)
    assert (json.loads(unseen["caption"])["subjects"], unseen["concept_type"]) == ([], None)
    points = [0.585, 0.22, 0.615, 0.22, 0.6, 0.25, 0.585, 0.28, 0.615, 0.28]
    face = {"score": 0.9, "x0": 0.57, "y0": 0.17, "x1": 0.63, "y1": 0.31, "landmarks": points}
    rows["faces"] = {"face_frames": [0, 24, 48], "faces": [{"frame": frame, **face} for frame in (24, 48)]}
    row = caption(rows)
    named = [one["TYPES"]["sub_type"] for one in json.loads(row["caption"])["subjects"]]
    assert named == ["Person", "Bed", "Potted plant"]
    assert (row["concept_type"], row["concept_sub_type"]) == ("Human", "Person")


@pytest.mark.parametrize(
    ("label", "angle", "says"),
    [
        ("person", "eye_level", ("full_shot", "eye_level", "front_view")),
        ("person", "high_angle", ("full_shot", "high_angle", "front_view")),
        ("dog", "eye_level", ("", "", "")),
        ("dog", "high_angle", ("", "high_angle", "")),
        ("bowl", "low_angle", ("", "low_angle", "")),
    ],
)
def test_what_a_person_tells_of_the_shot_is_said_where_a_person_is_the_main_subject(
    label: str, angle: str, says: tuple[str, str, str]
) -> None:
    shot = {"shot_type": "full_shot", "shot_angle": angle, "shot_position": "front_view"}
    seen = upstream() | {"shot": shot, "camera": CAMERA, "expression": EXPRESSION}
    for one in seen["objects"]["objects"]:
        one["label"] = label
    clip = Clip("c", "s", "v", 0, 96, 0.0, 4.0, 24.0, 1280, 720, upstream=seen)
    captioner = EmbeddedCaptioner()
    said = json.loads(captioner.measure(captioner.load(), clip, None)["caption"])
    assert (said["shot_type"], said["shot_angle"], said["shot_position"]) == says


@pytest.mark.parametrize(
    ("brightness", "contrast", "warmth", "says"),
    [
        (0.1, 0.2, 0.0, "Dark."),
        (0.7, 0.1, 0.2, "Bright, low contrast, warm tones."),
        (0.4, 0.3, -0.2, "High contrast, cool tones."),
        (0.4, 0.2, 0.0, ""),
    ],
)
def test_lighting(brightness: float, contrast: float, warmth: float, says: str) -> None:
    row = {"brightness": brightness, "contrast": contrast, "saturation": 0.5, "warmth": warmth}
    assert EmbeddedCaptioner().lighting(row) == says


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"dark_max": 0.45}, "Dark."),
        ({"bright_min": 0.35}, "Bright."),
        ({"low_contrast_max": 0.21}, "Low contrast."),
        ({"high_contrast_min": 0.19}, "High contrast."),
        ({"cool_max": 0.01}, "Cool tones."),
        ({"warm_min": -0.01}, "Warm tones."),
    ],
)
def test_the_bounds_of_light_are_settings(setting: dict[str, float], says: str) -> None:
    row = {"brightness": 0.4, "contrast": 0.2, "saturation": 0.5, "warmth": 0.0}
    assert EmbeddedCaptioner().lighting(row) == ""
    assert EmbeddedCaptioner(**setting).lighting(row) == says


def test_the_bounds_of_place_are_settings() -> None:
    rows = upstream()
    for setting, says in (
        ({}, "On the right."),
        ({"right_min": 0.85}, "In the center."),
        ({"left_max": 0.85}, "On the left."),
    ):
        known = EmbeddedCaptioner(**setting)  # type: ignore[arg-type]
        seen = rows | {"shot": SHOT, "camera": CAMERA, "expression": EXPRESSION}
        clip = Clip("c", "s", "v", 0, 96, 0.0, 4.0, 24.0, 1280, 720, upstream=seen)
        said = json.loads(known.measure(known.load(), clip, None)["caption"])
        assert said["subjects"][0]["position"] == says


@pytest.mark.parametrize(("confidence", "says"), [(0.6, "Looks sad."), (0.4, "")])
def test_the_expression_of_the_face_in_a_persons_box_is_said_when_sure(confidence: float, says: str) -> None:
    corners = {"x0": 0.75, "y0": 0.15, "x1": 0.85, "y1": 0.3}
    moments = [{"frame": frame, **corners} for frame in LOOKED]
    track = {"sentence": "The person looks sad.", "confidence": confidence, "moments": moments}
    seen = upstream() | {"shot": SHOT, "camera": CAMERA, "expression": {"expression_tracks": [track]}}
    clip = Clip("c", "s", "v", 0, 96, 0.0, 4.0, 24.0, 1280, 720, upstream=seen)
    captioner = EmbeddedCaptioner()
    said = json.loads(captioner.measure(captioner.load(), clip, None)["caption"])
    assert said["subjects"][0]["expression"] == says


def test_stages_are_deterministic_picklable_and_follow_what_they_require() -> None:
    assert caption(upstream()) == caption(upstream())
    assert pickle.loads(pickle.dumps(STAGES)) == STAGES
    done = set(upstream())
    for stage in STAGES:
        assert set(stage.requires) <= done
        done.add(stage.name)
    names = [name for stage in STAGES for name in stage.columns.names]
    assert len(names) == len(set(names))


def test_settings_change_the_fingerprint() -> None:
    assert EmbeddedCaptioner(most_subjects=2).fingerprint({}) != EmbeddedCaptioner().fingerprint({})
    assert EmbeddedCaptioner().fingerprint({"camera": "a"}) != EmbeddedCaptioner().fingerprint(
        {"camera": "b"}
    )


def test_importing_the_captioner_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'cv2', 'av', 'onnxruntime', 'rapidocr', 'ray', 'scenedetect'}"
    code = f"import sys, captioner.engine, captioner; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_page_names_every_column_and_its_example_is_a_caption() -> None:
    page = (ROOT / "docs" / "captions.md").read_text()
    named = set(re.findall(r"`(\w+)`", page + (ROOT / "docs" / "fusion.md").read_text()))
    stages = (*STAGES, *MODEL_STAGES)
    assert [name for stage in stages for name in stage.columns.names if name not in named] == []
    assert [value for field in vocabularies() for value in field if value not in named] == []
    example = page.split("```json\n")[1].split("```")[0]
    assert loads(example).said() == (
        "subjects",
        "shot_type",
        "shot_position",
        "camera_motion",
        "lighting",
    )


def vocabularies() -> list[list[str]]:
    properties = json_schema()["properties"]
    return [properties[name]["enum"] for name in ("shot_type", "shot_angle", "shot_position")]
