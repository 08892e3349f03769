"""The shot expert on faces and figures of known size and turn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from captioner.experts.boxes import Box
from captioner.experts.heads import eyes_ratio, nose_ratio, yaw_ratio
from captioner.experts.shot import ShotExpert, agreed
from pipeline.clip import Clip
from pipeline.stage import checked

WIDTH, HEIGHT = 1280, 720
Rows = list[dict[str, Any]]


def face(
    frame: int, height: float, yaw_deg: float = 0.0, centre: tuple[float, float] = (0.5, 0.4)
) -> dict[str, Any]:
    """A face seen by a far camera: eyes 64 mm apart, the nose tip 35 mm before them, 160 mm from brow to chin."""
    mm = height * HEIGHT / 160
    turn = math.radians(yaw_deg)

    def point(across: float, down: float, ahead: float) -> tuple[float, float]:
        x_px = (across * math.cos(turn) + ahead * math.sin(turn)) * mm
        return centre[0] + x_px / WIDTH, centre[1] + down * mm / HEIGHT

    points = [point(-32, -35, 0), point(32, -35, 0), point(0, 10, 35), point(-25, 45, 0), point(25, 45, 0)]
    half = height / 2 * 0.75 * HEIGHT / WIDTH
    return {
        "frame": frame,
        "score": 0.9,
        "x0": centre[0] - half,
        "y0": centre[1] - height / 2,
        "x1": centre[0] + half,
        "y1": centre[1] + height / 2,
        "landmarks": [value for xy in points for value in xy],
    }


def person(frame: int, y0: float, y1: float, x0: float = 0.4, x1: float = 0.6) -> dict[str, Any]:
    return {"frame": frame, "label": "person", "score": 0.8, "x0": x0, "y0": y0, "x1": x1, "y1": y1}


UNTOLD = {"pitch_deg": None, "roll_deg": None, "horizon_y": None, "pitch_frames_ratio": 0.0}


def body(
    frame: int, turn: float, centre_x: float = 0.5, torso: float = 0.24, score: float = 0.9
) -> dict[str, Any]:
    """A standing body whose left shoulder is so many torsos to the right of its right one; the head is at 0.2."""
    points = np.zeros((17, 3))
    points[:, 2] = score
    points[:5, :2] = centre_x, 0.2
    half = turn * torso * HEIGHT / WIDTH / 2
    for left, right, y in ((5, 6, 0.3), (11, 12, 0.3 + torso)):
        points[left, :2], points[right, :2] = (centre_x + half, y), (centre_x - half, y)
    box = {"x0": centre_x - 0.1, "x1": centre_x + 0.1, "y0": 0.1, "y1": 0.1 + torso / 0.3}
    return {"frame": frame, "score": 0.7, **box, "points": points.ravel().tolist()}


def horizon(pitch_deg: float, ratio: float = 1.0) -> dict[str, Any]:
    y = 0.5 + math.tan(math.radians(pitch_deg)) * WIDTH / HEIGHT
    return {"pitch_deg": pitch_deg, "roll_deg": 0.0, "horizon_y": y, "pitch_frames_ratio": ratio}


def measure(
    faces: Rows,
    objects: Rows,
    looked: tuple[int, ...] = (0, 48),
    expert: ShotExpert | None = None,
    bodies: Rows | None = None,
    lines: dict[str, Any] | None = None,
) -> dict[str, Any]:
    upstream = {
        "faces": {"face_frames": list(looked), "faces": faces},
        "objects": {"object_frames": list(looked), "objects": objects},
        "bodies": {"body_frames": list(looked), "bodies": bodies or []},
        "horizon": lines or UNTOLD,
    }
    clip = Clip("c", "s", "v", 0, 96, 0.0, 4.0, 24.0, WIDTH, HEIGHT, upstream=upstream)
    expert = expert or ShotExpert()
    return dict(checked(expert.columns, expert.measure(expert.load(), clip, None)))


@pytest.mark.parametrize(
    ("height", "shot_type"),
    [
        (0.04, "long_shot"),
        (0.10, "full_shot"),
        (0.20, "medium_shot"),
        (0.45, "close_up"),
        (0.95, "extreme_close_up"),
    ],
)
def test_shot_type_by_face_height(height: float, shot_type: str) -> None:
    row = measure([face(0, height), face(48, height)], [])
    assert row["shot_type"] == shot_type
    assert row["shot_scale"] == pytest.approx(height)
    assert row["shot_type_confidence"] == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("y0", "y1", "shot_type"),
    [(0.4, 0.7, "long_shot"), (0.1, 0.95, "full_shot"), (0.3, 1.0, ""), (0.0, 0.9, "")],
)
def test_shot_type_by_a_whole_figure_without_a_face(y0: float, y1: float, shot_type: str) -> None:
    figures = [person(frame, y0, y1, 0.46, 0.54) for frame in (0, 48)]
    assert measure([], figures)["shot_type"] == shot_type


def test_a_row_read_back_is_the_row() -> None:
    row = measure([face(0, 0.2), face(48, 0.21)], [])
    columns = ShotExpert.columns
    assert pa.Table.from_pylist([row], schema=columns).to_pylist() == [row]


def test_a_figure_that_does_not_stand_says_nothing() -> None:
    assert measure([], [person(frame, 0.3, 0.8, 0.2, 0.8) for frame in (0, 48)])["shot_type"] == ""


def test_the_face_of_someone_behind_the_main_person_does_not_count() -> None:
    behind = [face(frame, 0.08, centre=(0.9, 0.2)) for frame in (0, 48)]
    main = [person(frame, 0.1, 1.0, 0.2, 0.7) for frame in (0, 48)]
    row = measure(behind, main)
    assert (row["shot_type"], row["shot_position"]) == ("", "")


@pytest.mark.parametrize(
    ("yaw_deg", "position"),
    [
        (0, "front_view"),
        (30, "front_view"),
        (-30, "front_view"),
        (45, ""),
        (65, "side_view"),
        (-80, "side_view"),
    ],
)
def test_shot_position_by_the_heads_turn(yaw_deg: float, position: str) -> None:
    row = measure([face(0, 0.3, yaw_deg), face(48, 0.3, yaw_deg)], [])
    assert row["shot_position"] == position


@pytest.mark.parametrize("yaw_deg", [0.0, 30.0, -45.0, 70.0])
def test_yaw_ratio_is_the_tangent(yaw_deg: float) -> None:
    clip = Clip("c", "s", "v", 0, 96, 0.0, 4.0, 24.0, WIDTH, HEIGHT)
    one = face(0, 0.3, yaw_deg)
    box = Box(0, "face", 0.9, one["x0"], one["y0"], one["x1"], one["y1"], tuple(one["landmarks"]))
    assert yaw_ratio(box, clip) == pytest.approx(35 / 64 * math.tan(math.radians(yaw_deg)), abs=1e-6)


@pytest.mark.parametrize(
    ("yaw_deg", "setting", "position"),
    [
        (45, {"front_yaw_max": 0.6}, "front_view"),
        (45, {"side_yaw_min": 0.5}, "side_view"),
        (30, {"front_yaw_max": 0.2}, ""),
    ],
)
def test_the_bounds_of_a_turn_are_settings(yaw_deg: float, setting: dict[str, float], position: str) -> None:
    row = measure([face(0, 0.3, yaw_deg), face(48, 0.3, yaw_deg)], [], expert=ShotExpert(**setting))
    assert row["shot_position"] == position


@pytest.mark.parametrize(
    ("setting", "shot_type"), [({}, "full_shot"), ({"cut_max": 0.11}, ""), ({"upright_max": 0.15}, "")]
)
def test_the_bounds_of_a_figure_are_settings(setting: dict[str, float], shot_type: str) -> None:
    figures = [person(frame, 0.1, 0.95, 0.46, 0.54) for frame in (0, 48)]
    assert measure([], figures, expert=ShotExpert(**setting))["shot_type"] == shot_type


def test_a_degenerate_face_is_finite() -> None:
    clip = Clip("c", "s", "v", 0, 96, 0.0, 4.0, 24.0, WIDTH, HEIGHT)
    assert math.isfinite(yaw_ratio(Box(0, "face", 0.9, 0, 0, 0, 0, (0.5,) * 10), clip))


def test_without_people_nothing_is_said() -> None:
    row = measure([], [{**person(0, 0.1, 0.9), "label": "dog"}])
    assert (row["shot_type"], row["shot_angle"], row["shot_position"]) == ("", "", "")
    numbers = ("shot_scale", "shot_type_confidence", "shot_angle_confidence", "shot_position_confidence")
    assert {row[name] for name in numbers} == {None}


def test_frames_that_disagree_say_nothing() -> None:
    assert measure([face(0, 0.1), face(48, 0.4)], [])["shot_type"] == ""
    assert measure([face(0, 0.3)], [])["shot_type"] == ""  # found on one frame of two


def test_agreement_counts_every_frame_looked_at() -> None:
    votes = [("front_view", 0.8), ("front_view", 1.0), ("side_view", 0.9)]
    assert agreed(votes, 3, 0.6) == ("front_view", pytest.approx(0.6))
    assert agreed(votes, 4, 0.6) == ("", None)
    assert agreed([], 4, 0.6) == ("", None)


@pytest.mark.parametrize(
    ("turn", "position"),
    [(0.7, "front_view"), (-0.7, "back_view"), (0.05, "side_view"), (-0.3, ""), (0.25, "")],
)
def test_position_by_the_order_of_the_shoulders(turn: float, position: str) -> None:
    figures = [person(frame, 0.1, 0.9) for frame in (0, 48)]
    row = measure([], figures, bodies=[body(frame, turn) for frame in (0, 48)])
    assert row["shot_position"] == position


def test_unsure_leaning_and_crouching_bodies_say_nothing() -> None:
    figures = [person(frame, 0.1, 0.9) for frame in (0, 48)]
    unsure = [body(frame, -0.7, score=0.4) for frame in (0, 48)]
    crouching = [{**body(frame, -0.7), "y0": 0.0, "y1": 1.3} for frame in (0, 48)]
    leaning = [body(frame, -0.7) for frame in (0, 48)]
    for one in leaning:
        for hip in (11, 12):
            one["points"][3 * hip] += 0.12
    for bodies in (unsure, crouching, leaning, [body(0, -0.7)]):
        assert measure([], figures, bodies=bodies)["shot_position"] == ""


def test_a_face_and_shoulders_that_tell_two_things_say_nothing() -> None:
    faces = [face(frame, 0.1, centre=(0.5, 0.2)) for frame in (0, 48)]
    figures = [person(frame, 0.1, 0.9) for frame in (0, 48)]
    both = [body(frame, 0.7) for frame in (0, 48)]
    assert measure(faces, figures, bodies=both)["shot_position"] == "front_view"
    behind = [body(frame, -0.7) for frame in (0, 48)]
    assert measure(faces, figures, bodies=behind)["shot_position"] == ""
    elsewhere = [body(frame, -0.7, centre_x=0.9) for frame in (0, 48)]
    assert measure(faces, figures, bodies=elsewhere)["shot_position"] == "front_view"


def test_shot_type_by_the_torso_of_a_figure_that_is_cut_off() -> None:
    figures = [person(frame, 0.1, 1.0) for frame in (0, 48)]
    row = measure([], figures, bodies=[body(frame, -0.7, torso=0.4) for frame in (0, 48)])
    assert row["shot_type"] == "medium_shot"
    assert row["shot_scale"] == pytest.approx(0.4 * 0.12 / 0.288)


def test_a_whole_figure_makes_a_full_shot_whatever_the_size_of_the_head() -> None:
    faces = [face(frame, 0.15, centre=(0.5, 0.2)) for frame in (0, 48)]
    whole = [person(frame, 0.07, 0.97, 0.46, 0.54) for frame in (0, 48)]
    assert measure(faces, whole)["shot_type"] == "full_shot"
    at_a_desk = [face(frame, 0.25, centre=(0.5, 0.25)) for frame in (0, 48)]
    assert measure(at_a_desk, whole)["shot_type"] == "medium_shot"


@pytest.mark.parametrize(
    ("pitch_deg", "ratio", "angle"),
    [(20, 1.0, "low_angle"), (-15, 1.0, "high_angle"), (20, 0.5, ""), (3, 1.0, ""), (54, 1.0, "")],
)
def test_angle_by_upright_lines_without_people(pitch_deg: float, ratio: float, angle: str) -> None:
    row = measure([], [], lines=horizon(pitch_deg, ratio))
    assert (row["shot_angle"], row["shot_angle_confidence"]) == (angle, ratio if angle else None)


@pytest.mark.parametrize(
    ("pitch_deg", "eyes_y", "angle"),
    [
        (0, 0.4, "eye_level"),
        (-14, 0.1, "eye_level"),
        (0, 0.05, ""),
        (-14, 0.6, "high_angle"),
        (25, 0.5, "low_angle"),
    ],
)
def test_eye_level_is_a_camera_as_high_as_the_eyes(pitch_deg: float, eyes_y: float, angle: str) -> None:
    faces = [face(frame, 0.1, centre=(0.5, eyes_y)) for frame in (0, 48)]
    assert measure(faces, [], lines=horizon(pitch_deg))["shot_angle"] == angle


def test_a_level_face_alone_makes_eye_level_with_less_confidence() -> None:
    level = measure([face(0, 0.3), face(48, 0.3)], [])
    assert level["shot_angle"] == "eye_level"
    assert level["shot_angle_confidence"] == pytest.approx(0.6 * 0.9)
    assert measure([face(0, 0.3, 60), face(48, 0.3, 60)], [])["shot_angle"] == ""
    tilted = [face(0, 0.3), face(48, 0.3)]
    for one in tilted:  # the left eye lower by as much as it is aside: 45 degrees
        one["landmarks"][3] += 64 * 0.3 / 160
    assert measure(tilted, [])["shot_angle"] == ""
    bowed = [face(0, 0.3), face(48, 0.3)]
    for one in bowed:
        one["landmarks"][5] += 0.05
    assert measure(bowed, [])["shot_angle"] == ""
    assert measure(bowed, [], expert=ShotExpert(nose_max=0.9))["shot_angle"] == "eye_level"


def test_a_profile_whose_nose_is_guessed_is_no_front_view() -> None:
    profile = [face(0, 0.3, 80), face(48, 0.3, 80)]
    for one in profile:
        one["landmarks"][4] = one["landmarks"][0]
    assert measure(profile, [])["shot_position"] == "side_view"


def test_ratios_of_a_face_are_those_of_the_head() -> None:
    clip = Clip("c", "s", "v", 0, 96, 0.0, 4.0, 24.0, WIDTH, HEIGHT)
    for yaw_deg in (0.0, 50.0):
        one = face(0, 0.3, yaw_deg)
        box = Box(0, "face", 0.9, one["x0"], one["y0"], one["x1"], one["y1"], tuple(one["landmarks"]))
        assert eyes_ratio(box, clip) == pytest.approx(64 / 160 * math.cos(math.radians(yaw_deg)))
        assert nose_ratio(box, clip) == pytest.approx(45 / 80)
