"""The camera expert on flow columns of known camera paths."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from captioner.experts.camera import CameraExpert, repeats, speed_word
from pipeline.clip import Clip
from pipeline.stage import checked

Flow = dict[str, list[float]]


def flow(count: int = 12, **signals: float | list[float]) -> Flow:
    """Flow columns of `count` pairs; dx, dy, zoom, roll_deg_s are the picture's motion."""
    still = {"dx": 0.0, "dy": 0.0, "zoom": 0.0, "roll_deg_s": 0.0, "inlier_share": 0.9, "still_share": 0.1}
    named = still | {"time_s": (np.arange(count) / 2).tolist()} | signals
    return {f"flow_{name}": np.broadcast_to(value, count).tolist() for name, value in named.items()}


def measure(columns: Flow, expert: CameraExpert | None = None) -> dict[str, Any]:
    clip = Clip("c", "s", "v", 0, 192, 3.0, 11.0, 24.0, 640, 360, upstream={"flow": columns})
    expert = expert or CameraExpert()
    return dict(checked(expert.columns, expert.measure(expert.load(), clip, None)))


@pytest.mark.parametrize(
    ("motion", "says", "axis", "sign"),
    [
        ({"dx": -0.03}, "The camera pans slowly to the right.", "pan", 1),
        ({"dx": 0.1}, "The camera pans to the left.", "pan", -1),
        ({"dx": -0.5}, "The camera pans quickly to the right.", "pan", 1),
        ({"dy": 0.03}, "The camera tilts slowly up.", "tilt", 1),
        ({"dy": -0.1}, "The camera tilts down.", "tilt", -1),
        ({"zoom": 0.03}, "The camera zooms slowly in.", "zoom", 1),
        ({"zoom": -0.3}, "The camera zooms quickly out.", "zoom", -1),
        ({"roll_deg_s": -6.0}, "The camera rolls clockwise.", "roll", 1),
        ({"roll_deg_s": 1.0}, "The camera rolls slowly counterclockwise.", "roll", -1),
    ],
)
def test_one_axis(motion: dict[str, float], says: str, axis: str, sign: int) -> None:
    row = measure(flow(**motion))
    assert row["camera_motion"] == says
    assert {name: row[f"camera_{name}"] for name in ("pan", "tilt", "zoom", "roll")} == {
        **{"pan": 0, "tilt": 0, "zoom": 0, "roll": 0},
        axis: sign,
    }
    assert row["camera_static"] is False
    assert row["camera_handheld"] is False


def test_speeds_and_confidence_are_numbers() -> None:
    row = measure(flow(dx=-0.12, dy=0.06, inlier_share=0.8))
    assert row["camera_motion"] == "The camera pans to the right and tilts up."
    assert row["camera_pan_speed"] == pytest.approx(0.12)
    assert row["camera_tilt_speed"] == pytest.approx(0.06)
    assert row["camera_speed"] == "medium"
    assert row["camera_confidence"] == pytest.approx(0.8)
    assert row["camera_shake"] == 0
    assert len(row["camera_phases"]) == 1


def test_three_axes_are_listed() -> None:
    row = measure(flow(dx=-0.12, dy=0.06, zoom=0.1))
    assert row["camera_motion"] == "The camera pans to the right, tilts up and zooms in."


def test_roll_speed_is_in_radians() -> None:
    assert measure(flow(roll_deg_s=-18.0))["camera_roll_speed"] == pytest.approx(np.pi / 10)


def test_a_minor_axis_is_left_out() -> None:
    assert measure(flow(dx=-0.12, dy=0.02))["camera_tilt"] == 0


def test_static() -> None:
    rng = np.random.default_rng(1)
    row = measure(flow(dx=rng.normal(0, 0.001, 12).tolist()))
    assert row["camera_motion"] == "The camera is static."
    assert row["camera_static"] is True
    assert row["camera_speed"] is None


@pytest.mark.parametrize("doubtful", [{"dx": 0.011}, {"dx": [0.007, -0.007] * 6}])
def test_between_still_and_moving_nothing_is_said(doubtful: dict[str, float | list[float]]) -> None:
    row = measure(flow(**doubtful))
    assert row["camera_motion"] == ""
    assert row["camera_static"] is None
    assert row["camera_pan"] == 0
    assert row["camera_confidence"] == pytest.approx(0.9)


def test_motion_in_sequence() -> None:
    row = measure(flow(16, dx=[-0.1] * 8 + [0.1] * 8))
    assert row["camera_motion"] == "The camera pans to the right, then pans to the left."
    assert [(phase["start_s"], phase["end_s"]) for phase in row["camera_phases"]] == [(0, 4), (4, 8)]
    assert [phase["pan"] for phase in row["camera_phases"]] == pytest.approx([0.1, -0.1])
    row = measure(flow(16, dy=[0.0] * 6 + [0.1] * 10))
    assert row["camera_motion"] == "The camera holds still, then tilts up."
    assert row["camera_tilt"] == 1


def test_a_change_of_speed_alone_is_no_new_phase() -> None:
    row = measure(flow(16, dx=[-0.06] * 8 + [-0.15] * 8))
    assert row["camera_motion"] == "The camera pans to the right."


def test_handheld_with_and_without_a_direction() -> None:
    says = {"The handheld camera stays in place.": 0, "The handheld camera pans to the right.": 0}
    for seed in range(20):
        shake = np.random.default_rng(seed).normal(0, 0.03, (2, 16))
        still = measure(flow(16, dx=shake[0].tolist(), dy=shake[1].tolist()))
        moving = measure(flow(16, dx=(shake[0] - 0.15).tolist(), dy=shake[1].tolist()))
        for row in (still, moving):
            assert row["camera_handheld"] is True
            assert row["camera_static"] is False
            assert row["camera_shake"] == pytest.approx(0.042, rel=0.6)
            says[row["camera_motion"]] = says.get(row["camera_motion"], 0) + 1
    assert says["The handheld camera stays in place."] >= 18
    assert says["The handheld camera pans to the right."] >= 18


def test_one_bad_pair_changes_nothing() -> None:
    spoiled = flow(dx=[-0.1] * 6 + [3.0] + [-0.1] * 5)
    assert measure(spoiled)["camera_motion"] == "The camera pans to the right."
    spoiled["flow_inlier_share"][6] = 0.1
    row = measure(spoiled)
    assert row["camera_motion"] == "The camera pans to the right."
    assert row["camera_confidence"] == pytest.approx(0.9 * 11 / 12)


def test_repeated_frames_neither_shake_nor_slow_the_camera() -> None:
    """12 pictures a second shown at 24: the pairs seen are still, or span two steps."""
    rng = np.random.default_rng(3)
    moving = -0.2 + rng.normal(0, 0.002, 12)
    doubled = flow(
        24,
        dx=np.stack([moving, np.zeros(12)], axis=1).ravel().tolist(),
        still_share=[0.0, 0.97] * 12,
        inlier_share=[0.8, 1.0] * 12,
    )
    row = measure(doubled)
    assert row["camera_motion"] == "The camera pans to the right."
    assert row["camera_pan_speed"] == pytest.approx(0.1, rel=0.02)
    assert row["camera_handheld"] is False


@pytest.mark.parametrize(
    ("still_share", "expected"),
    [
        ([0.1, 0.97, 0.1, 0.2], [False, True, False, False]),
        ([0.97, 0.1, 0.1, 0.97], [True, False, False, True]),
        ([0.97] * 4, [False] * 4),
        ([0.1, 0.97, 0.97, 0.1], [False] * 4),
        ([0.97], [False]),
        ([], []),
    ],
)
def test_repeats_are_lonely_still_pairs(still_share: list[float], expected: list[bool]) -> None:
    assert repeats(np.array(still_share, dtype=np.float64), 0.9, 0.5).tolist() == expected


def test_impossible_speeds_are_left_out() -> None:
    spoiled = flow(dx=[-0.1] * 9 + [250.0] * 3)
    row = measure(spoiled)
    assert row["camera_motion"] == "The camera pans to the right."
    assert row["camera_confidence"] == pytest.approx(0.9 * 9 / 12)


@pytest.mark.parametrize("columns", [flow(0), flow(12, inlier_share=0.2), flow(3, dx=0.1)])
def test_unknown_is_said_to_be_unknown(columns: Flow) -> None:
    row = measure(columns)
    assert row.pop("camera_motion") == ""
    assert set(row.values()) == {None}


def test_float64_just_measured_and_float32_read_back_give_the_same_row() -> None:
    values = np.random.default_rng(5).normal(0.05, 0.03, 16)
    stored = values.astype(np.float32).astype(np.float64)
    assert measure(flow(16, dx=values.tolist())) == measure(flow(16, dx=stored.tolist()))


def test_settings_change_the_fingerprint_and_the_answer() -> None:
    strict = CameraExpert(still_speed=0.04, moving_speed=0.05)
    assert strict.fingerprint({}) != CameraExpert().fingerprint({})
    assert measure(flow(dx=-0.03), strict)["camera_static"] is True
    assert pickle.loads(pickle.dumps(strict)) == strict


@pytest.mark.parametrize(
    ("speed", "word"), [(0.01, "slow"), (0.0499, "slow"), (0.05, "medium"), (0.2, "medium"), (0.201, "fast")]
)
def test_speed_words(speed: float, word: str) -> None:
    assert speed_word(speed) == word
