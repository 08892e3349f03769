"""The camera expert on flow and sway columns of known camera paths."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from captioner.experts.camera import CameraExpert, repeats
from captioner.experts.camera_moves import AXES
from captioner.experts.camera_words import speed_word
from pipeline.clip import Clip
from pipeline.stage import checked

Columns = dict[str, Any]
STEP_S = 1 / 12


def flow(count: int = 12, **signals: float | list[float]) -> Columns:
    """Flow columns of `count` steps; dx, dy, zoom, roll_deg_s are the picture's motion, and travel follows them."""
    named: Columns = {
        **{"dx": 0.0, "dy": 0.0, "zoom": 0.0, "roll_deg_s": 0.0},
        **{"share": 0.95, "travel_share": 0.9, "along": 0.02, "across": 0.02, "still": 0.0},
        **signals,
    }
    columns = {
        f"flow_step_{name}": np.broadcast_to(value, count).tolist()
        for name, value in named.items()
        if not name.startswith("travel")
    }
    for name in ("dx", "dy", "zoom"):
        columns[f"flow_travel_{name}"] = np.broadcast_to(
            named.get(f"travel_{name}", named[name]), count
        ).tolist()
    columns["flow_travel_share"] = np.broadcast_to(named["travel_share"], count).tolist()
    return columns | {
        "flow_time_s": (np.arange(count + 1) / 2).tolist(),
        "flow_still_share": [0.1] * (count + 1),
    }


def sway(dx: Any = 0.0, dy: Any = 0.0, count: int = 72, share: float = 0.9) -> Columns:
    """Sway columns of steps of a twelfth of a second."""
    times = (np.arange(count) * STEP_S).tolist()
    shifts = {
        f"sway_{name}": np.broadcast_to(value, count).tolist() for name, value in (("dx", dx), ("dy", dy))
    }
    return {"sway_time_s": times, "sway_step_s": [STEP_S] * count, "sway_share": [share] * count, **shifts}


def measure(
    steps: Columns, shaken: Columns | None = None, expert: CameraExpert | None = None
) -> dict[str, Any]:
    upstream = {"flow": steps, "sway": sway() if shaken is None else shaken}
    clip = Clip("c", "s", "v", 0, 192, 3.0, 11.0, 24.0, 640, 360, upstream=upstream)
    expert = expert or CameraExpert()
    return dict(checked(expert.columns, expert.measure(expert.load(), clip, None)))


PARALLAX = {"share": 0.5, "along": 0.25, "across": 0.08, "travel_share": 0.95}


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
        ({"dx": -0.03, **PARALLAX}, "The camera trucks slowly to the right.", "truck", 1),
        ({"dy": 0.3, **PARALLAX}, "The camera pedestals quickly up.", "pedestal", 1),
        ({"zoom": -0.1, **PARALLAX}, "The camera dollies out.", "dolly", -1),
    ],
)
def test_one_axis(motion: dict[str, Any], says: str, axis: str, sign: int) -> None:
    row = measure(flow(**motion))
    assert row["camera_motion"] == says
    assert {name: row[f"camera_{name}"] for name in AXES} == {**dict.fromkeys(AXES, 0), axis: sign}
    assert row["camera_pattern"] == "single"
    assert (row["camera_static"], row["camera_handheld"], row["camera_abrupt"]) == (False, False, False)


def test_what_a_turn_and_travel_cannot_be_told_by_is_null_and_moves() -> None:
    row = measure(flow(dx=-0.1, share=0.8, along=0.08, across=0.07))
    assert row["camera_motion"] == "The camera moves to the right."
    assert (row["camera_kind"], row["camera_pan"], row["camera_truck"], row["camera_right"]) == (
        None,
        None,
        None,
        1,
    )
    assert (row["camera_tilt"], row["camera_dolly"], row["camera_pan_confidence"]) == (0, 0, None)


def test_parallax_of_some_steps_is_travel() -> None:
    """Before a wall alone a truck looks like a pan; what passes before it tells."""
    some = {name: [value if i % 3 else low for i in range(12)] for (name, value), low in zip(
        PARALLAX.items(), (0.95, 0.02, 0.02, 0.9), strict=True
    )}  # fmt: skip
    assert measure(flow(dx=-0.1, **some))["camera_motion"] == "The camera trucks to the right."


def test_roll_and_growth_that_parallax_feigns_are_not_said() -> None:
    feigned = {**PARALLAX, "zoom": 0.06, "travel_zoom": 0.0, "roll_deg_s": 3.0}
    row = measure(flow(dx=0.12, **feigned))
    assert row["camera_motion"] == "The camera trucks to the left."
    assert row["camera_truck_speed"] == pytest.approx(-0.12)


def test_an_object_of_its_own_is_no_travel() -> None:
    row = measure(flow(dx=0.1, share=0.55, along=0.8, across=0.1, travel_share=0.6))
    assert row["camera_motion"] == ""
    assert row["camera_static"] is None


def test_a_rim_that_stays_is_a_camera_that_stands() -> None:
    row = measure(flow(dx=-0.05, share=0.6, along=0.7, still=0.4), sway(dx=0.05))
    assert row["camera_motion"] == "The camera is static."
    assert (row["camera_static"], row["camera_pattern"], row["camera_speed"]) == (True, "static", None)


def test_a_rim_of_which_a_part_stays_decides_nothing() -> None:
    assert measure(flow(dx=-0.05, still=0.25, share=0.8, travel_share=0.8))["camera_motion"] == ""
    whole = flow(dx=-0.05, still=0.25, share=0.9)  # edges that lie along the motion seem to stay
    assert measure(whole)["camera_motion"] == "The camera pans to the right."


def test_speeds_and_confidence_are_numbers() -> None:
    row = measure(flow(dx=-0.12, dy=0.06, share=0.8, travel_share=0.7))
    assert row["camera_motion"] == "The camera pans to the right and tilts up."
    assert row["camera_pan_speed"] == pytest.approx(0.12)
    assert row["camera_tilt_speed"] == pytest.approx(0.06)
    assert (row["camera_speed"], row["camera_pattern"], row["camera_kind"]) == ("medium", "composite", "turn")
    assert row["camera_confidence"] == pytest.approx(0.8)
    assert row["camera_pan_confidence"] == row["camera_truck_confidence"] == pytest.approx(0.8)
    assert row["camera_shake"] == 0
    assert len(row["camera_phases"]) == 1


def test_an_axis_is_as_sure_as_its_steps_agree() -> None:
    row = measure(flow(dx=[-0.1] * 4 + [0.02] + [-0.1] * 7, share=1.0))
    assert (row["camera_pan"], row["camera_pan_confidence"]) == (1, pytest.approx(11 / 12))


def test_three_axes_are_listed() -> None:
    row = measure(flow(dx=-0.12, dy=0.06, zoom=0.1))
    assert row["camera_motion"] == "The camera pans to the right, tilts up and zooms in."
    both = measure(flow(dx=-0.12, dy=0.1, share=0.8, along=0.08, across=0.08))
    assert both["camera_motion"] == "The camera moves to the right and up."


def test_roll_speed_is_in_radians() -> None:
    assert measure(flow(roll_deg_s=-18.0))["camera_roll_speed"] == pytest.approx(np.pi / 10)


def test_a_minor_axis_is_left_out() -> None:
    assert measure(flow(dx=-0.12, dy=0.02))["camera_tilt"] == 0


def test_static() -> None:
    row = measure(flow(dx=np.random.default_rng(1).normal(0, 0.001, 12).tolist()))
    assert row["camera_motion"] == "The camera is static."
    assert row["camera_static"] is True
    assert row["camera_speed"] is None


@pytest.mark.parametrize("doubtful", [{"dx": 0.011}, {"dx": [0.009, -0.009] * 6}])
def test_between_still_and_moving_nothing_is_said(doubtful: dict[str, Any]) -> None:
    row = measure(flow(**doubtful), sway(dx=np.tile([0.0085, 0.0085, -0.0085, -0.0085], 18)))
    assert row["camera_motion"] == ""
    assert (row["camera_static"], row["camera_handheld"], row["camera_pattern"]) == (None, None, None)
    assert row["camera_pan"] == 0


def test_motion_in_sequence() -> None:
    row = measure(flow(16, dx=[-0.1] * 8 + [0.1] * 8))
    assert row["camera_motion"] == "The camera pans to the right, then pans to the left."
    assert row["camera_pattern"] == "sequential"
    assert [(phase["start_s"], phase["end_s"]) for phase in row["camera_phases"]] == [(0, 4), (4, 8)]
    assert [phase["right"] for phase in row["camera_phases"]] == pytest.approx([0.1, -0.1])
    assert [phase["kind"] for phase in row["camera_phases"]] == ["turn", "turn"]
    row = measure(flow(16, dy=[0.0] * 6 + [0.1] * 10))
    assert row["camera_motion"] == "The camera holds still, then tilts up."
    assert row["camera_tilt"] == 1


def test_a_change_of_speed_alone_is_no_new_phase() -> None:
    assert measure(flow(16, dx=[-0.06] * 8 + [-0.15] * 8))["camera_motion"] == "The camera pans to the right."


def test_handheld_with_and_without_a_direction() -> None:
    says = {"The handheld camera stays in place.": 0, "The handheld camera pans to the right.": 0}
    for seed in range(20):
        dice = np.random.default_rng(seed)
        slow, fast = dice.normal(0, 0.012, (2, 16)), np.repeat(dice.normal(0, 0.05, (2, 36)), 2, axis=1)
        still = measure(flow(16, dx=slow[0].tolist(), dy=slow[1].tolist()), sway(*fast))
        moving = measure(
            flow(16, dx=(slow[0] - 0.15).tolist(), dy=slow[1].tolist()), sway(fast[0] - 0.15, fast[1])
        )
        for row in (still, moving):
            assert row["camera_handheld"] is True
            assert row["camera_static"] is False
            assert row["camera_shake"] == pytest.approx(0.07, rel=0.6)
            says[row["camera_motion"]] = says.get(row["camera_motion"], 0) + 1
    assert says["The handheld camera stays in place."] >= 18
    assert says["The handheld camera pans to the right."] >= 18


def test_shake_that_fast_motion_may_explain_is_no_hand() -> None:
    noise = np.repeat(np.random.default_rng(2).normal(0, 0.025, (2, 36)), 2, axis=1)
    assert measure(flow(dx=-0.9), sway(noise[0] - 0.9, noise[1]))["camera_handheld"] is False
    assert measure(flow(), sway(*noise))["camera_handheld"] is True


def knock(count: int = 72) -> Any:
    """A jolt in the middle: there and back within a third of a second."""
    speed = np.zeros(count)
    speed[36:40] = [0.4, -0.3, -0.2, 0.1]
    return speed


def test_a_jolt_a_whip_and_a_sudden_start() -> None:
    row = measure(flow(still=0.9), sway(dx=knock()))
    assert row["camera_motion"] == "The camera holds still, and jolts."
    assert (row["camera_abrupt"], row["camera_static"]) == (True, False)
    assert row["camera_abrupt_s"] == pytest.approx(3.1, abs=0.1)

    whip = np.zeros(72)
    whip[36:40] = -1.5
    unseen = {"still": [0.9] * 5 + [0.0] + [0.9] * 6, "share": [0.95] * 5 + [0.0] + [0.95] * 6}
    unseen["travel_share"] = unseen["share"]
    assert (
        measure(flow(**unseen), sway(dx=whip))["camera_motion"]
        == "The camera holds still, and whips to the right."
    )
    # What flies over a screen whose rim stays is no whip.
    assert measure(flow(still=0.9), sway(dx=whip))["camera_abrupt"] is False

    late = np.where(np.arange(72) < 36, 0.0, -0.35)
    row = measure(flow(dx=[0.0] * 6 + [-0.35] * 6), sway(dx=late))
    assert row["camera_motion"] == "The camera holds still, then abruptly pans quickly to the right."


def test_one_long_step_is_a_lost_frame_and_no_knock() -> None:
    speed = np.zeros(72)
    speed[40] = 0.6
    assert measure(flow(still=0.9), sway(dx=speed))["camera_abrupt"] is False


def test_a_shaking_hand_is_no_knock() -> None:
    shake = np.repeat(np.random.default_rng(4).normal(0, 0.1, (2, 36)), 2, axis=1)
    row = measure(flow(), sway(*shake))
    assert (row["camera_handheld"], row["camera_abrupt"]) == (True, False)


def test_repeated_frames_do_not_shake_the_camera() -> None:
    """12 pictures a second shown at 24: the picture moves in every second step, twice as far."""
    columns = flow(dx=-0.15)
    columns["flow_still_share"] = [0.97 if i % 2 else 0.0 for i in range(13)]
    row = measure(columns, sway(dx=np.where(np.arange(72) % 2, 0.0, -0.3)))
    assert row["camera_motion"] == "The camera pans to the right."
    assert (row["camera_handheld"], row["camera_abrupt"]) == (False, False)


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


def test_bad_steps_are_left_out_and_cost_confidence() -> None:
    spoiled = flow(dx=[-0.1] * 9 + [250.0] * 3)
    row = measure(spoiled)
    assert row["camera_motion"] == "The camera pans to the right."
    assert row["camera_confidence"] == pytest.approx(0.95 * 9 / 12)
    spoiled["flow_step_share"][0] = spoiled["flow_travel_share"][0] = 0.1
    assert measure(spoiled)["camera_confidence"] == pytest.approx(0.95 * 8 / 12)


@pytest.mark.parametrize("columns", [flow(0), flow(12, share=0.2, travel_share=0.3), flow(2, dx=0.1)])
def test_unknown_is_said_to_be_unknown(columns: Columns) -> None:
    row = measure(columns)
    assert row.pop("camera_motion") == ""
    assert set(row.values()) == {None}


def test_without_a_pair_nothing_is_known() -> None:
    columns = flow(0)
    columns["flow_time_s"] = columns["flow_still_share"] = []
    assert measure(columns, sway(count=0))["camera_motion"] == ""


def test_without_enough_of_the_sway_neither_shake_nor_knock_is_claimed() -> None:
    row = measure(flow(dx=-0.1), sway(share=0.2))
    assert row["camera_motion"] == "The camera pans to the right."
    assert (row["camera_handheld"], row["camera_shake"]) == (None, None)


def test_float64_just_measured_and_float32_read_back_give_the_same_row() -> None:
    values = np.random.default_rng(5).normal(0.05, 0.03, 16)
    stored = values.astype(np.float32).astype(np.float64)
    assert measure(flow(16, dx=values.tolist())) == measure(flow(16, dx=stored.tolist()))


def test_settings_change_the_fingerprint_and_the_answer() -> None:
    strict = CameraExpert(still_speed=0.04, moving_speed=0.05)
    assert strict.fingerprint({}) != CameraExpert().fingerprint({})
    assert measure(flow(dx=-0.03), expert=strict)["camera_static"] is True
    assert pickle.loads(pickle.dumps(strict)) == strict


@pytest.mark.parametrize(
    ("speed", "word"), [(0.01, "slow"), (0.0499, "slow"), (0.05, "medium"), (0.2, "medium"), (0.201, "fast")]
)
def test_speed_words(speed: float, word: str) -> None:
    assert speed_word(speed) == word
