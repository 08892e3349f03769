from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from filters.flow import Flow
from filters.motion import Motion

SIZE = 256, 144
UP = 3


def camera(source: np.ndarray, dx: float, dy: float, zoom: float, roll_deg: float) -> np.ndarray:
    """The view of a big texture after the content moved by shares of the view, grew and turned clockwise."""
    width, height = SIZE[0] * UP, SIZE[1] * UP
    angle = np.deg2rad(roll_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * (1 + zoom)
    centre = np.array([width / 2 - 0.5 + dx * width, height / 2 - 0.5 + dy * height])
    middle = np.array([source.shape[1] / 2 - 0.5, source.shape[0] / 2 - 0.5])
    matrix = np.hstack([turn, (centre - turn @ middle)[:, None]])
    view = cv2.warpAffine(
        source, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    return cv2.resize(view, SIZE, interpolation=cv2.INTER_AREA)


def measure(studio, pairs):
    stage = Flow()
    return stage.measure(stage.load(), studio.clip(len(pairs) / 2), studio.pairs(pairs))


@pytest.mark.parametrize("fps", [24, 60, 120, 240])
def test_a_pan_has_its_speed_at_any_rate(studio, fps):
    """At 240 frames a second the content moves a quarter of a pixel between two frames."""
    source = studio.texture(1400, 900)
    pairs = [
        tuple(camera(source, (t + step / fps) * 0.2, 0, 0, 0) for step in (0, 1))
        for t in (0.0, 0.515, 1.03, 1.545)
    ]
    frames = dataclasses.replace(studio.pairs(pairs, 0.515), step_s=np.full(4, 1 / fps))
    clip = dataclasses.replace(studio.clip(2.0), fps=fps)
    stage = Flow()
    row = stage.measure(stage.load(), clip, frames)
    assert np.mean(row["flow_dx"]) == pytest.approx(0.2, rel=0.12)


# Speeds per second: right, down, growth, clockwise degrees. Tolerances are three times the error seen on photographs.
@pytest.mark.parametrize(
    "speed",
    [
        (0.0, 0.0, 0.0, 0.0),
        (0.05, 0.0, 0.0, 0.0),
        (-0.2, 0.0, 0.0, 0.0),
        (0.0, 0.3, 0.0, 0.0),
        (0.6, -0.2, 0.0, 0.0),
        (1.5, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.2, 0.0),
        (0.0, 0.0, -0.2, 0.0),
        (0.0, 0.0, 0.0, 8.0),
        (0.0, 0.0, 0.0, -8.0),
        (0.1, 0.1, 0.1, 3.0),
    ],
)
def test_known_camera_paths_are_measured(studio, speed):
    source = studio.texture(1400, 900)
    rows = measure(
        studio,
        [
            (camera(source, *(t / 24 * v for v in speed)), camera(source, *((t + 1) / 24 * v for v in speed)))
            for t in range(4)
        ],
    )
    found = [np.mean(rows[name]) for name in ("flow_dx", "flow_dy", "flow_zoom", "flow_roll_deg_s")]
    assert found == pytest.approx(speed, abs=0.025) or (
        found[:3] == pytest.approx(speed[:3], abs=0.025) and found[3] == pytest.approx(speed[3], abs=1.0)
    )
    assert np.mean(rows["flow_inlier_share"]) > 0.8
    assert np.mean(rows["flow_residual"]) < 0.05


def test_magnitude_is_in_short_sides_a_second(studio):
    source = studio.texture(1400, 900)
    rows = measure(studio, [(camera(source, 0, 0, 0, 0), camera(source, 0.3 / 24, 0, 0, 0))])
    short_sides = 0.3 * 256 / 144
    for name in ("flow_magnitude", "flow_median", "flow_camera"):
        assert rows[name] == pytest.approx([short_sides], rel=0.08)
    assert rows["flow_still_share"][0] < 0.05


def test_an_object_before_a_still_camera_is_residual_not_camera(studio):
    before, after = studio.texture(256, 144), studio.texture(256, 144)
    thing = studio.texture(80, 60, seed=9)
    before[40:100, 60:140] = thing
    after[40:100, 63:143] = thing
    rows = measure(studio, [(before, after)])
    assert abs(rows["flow_dx"][0]) < 0.01
    assert rows["flow_camera"][0] < 0.02
    share = 80 * 60 / (256 * 144)
    assert rows["flow_residual"][0] == pytest.approx(share * 3 / 144 * 24, rel=0.4)
    assert rows["flow_still_share"][0] == pytest.approx(1 - share, abs=0.1)


def test_a_still_noisy_picture_hardly_moves(studio):
    rng = np.random.default_rng(1)
    still = studio.texture(256, 144).astype(float)
    noisy = [np.clip(still + rng.normal(0, 1, still.shape), 0, 255).astype(np.uint8) for _ in range(2)]
    rows = measure(studio, [(noisy[0], noisy[1])])
    assert rows["flow_camera"][0] < 0.01
    assert rows["flow_still_share"][0] > 0.95


def test_a_flat_picture_has_no_camera_to_tell(studio):
    flat = np.full((144, 256), 90, np.uint8)
    rows = measure(studio, [(flat, flat)])
    assert rows["flow_inlier_share"] == [0.0]
    assert rows["flow_dx"] == rows["flow_zoom"] == rows["flow_residual"] == [0.0]


def test_values_survive_storing_unchanged(studio):
    source = studio.texture(1400, 900)
    rows = measure(studio, [(camera(source, 0, 0, 0, 0), camera(source, 0.01, 0.01, 0, 0))])
    assert all(float(np.float32(value)) == value for values in rows.values() for value in values)


def steady(dx, dy=None):
    dy = dy or [0.0] * len(dx)
    lengths = [float(np.hypot(16 / 9 * x, y)) for x, y in zip(dx, dy, strict=True)]
    return {
        "flow_dx": dx,
        "flow_dy": dy,
        "flow_magnitude": lengths,
        "flow_camera": lengths,
        "flow_residual": [0.0],
    }


def test_motion_is_the_mean_of_the_flow_and_jitter_its_change(studio):
    flow = steady([0.09, 0.09, 0.09, 0.09])
    row = Motion().measure(None, studio.clip(2, upstream={"flow": flow}), None)
    assert row == pytest.approx(
        {"motion_score": 0.16, "camera_motion_score": 0.16, "object_motion_score": 0.0, "jitter": 0.0}
    )
    shaken = Motion().measure(None, studio.clip(2, upstream={"flow": steady([0.09, -0.09, 0.09])}), None)
    assert shaken["jitter"] == pytest.approx(0.32)


def test_motion_of_an_image_is_null(studio):
    flow = {name: [] for name in Flow.columns.names}
    row = Motion().measure(None, studio.clip(1, upstream={"flow": flow}), None)
    assert set(row.values()) == {None}


def test_steps_from_pair_to_pair_have_their_speed_in_the_pairs_units(studio) -> None:
    source = studio.texture(1400, 900)
    speed = (0.06, -0.03, 0.02, 2.0)
    times = (0.0, 0.5, 1.0)
    rows = measure(
        studio,
        [tuple(camera(source, *((t + step / 24) * v for v in speed)) for step in (0, 1)) for t in times],
    )
    steps = {name: values for name, values in rows.items() if "step" in name or "travel" in name}
    assert {len(values) for values in steps.values()} == {2}
    assert {len(values) for name, values in rows.items() if name not in steps} == {3}
    found = [np.mean(steps[f"flow_step_{name}"]) for name in ("dx", "dy", "zoom", "roll_deg_s")]
    assert found == pytest.approx(speed, abs=0.004, rel=0.06)
    assert min(steps["flow_step_share"]) > 0.9
    assert max(steps["flow_step_still"]) < 0.1


def test_a_picture_that_stays_has_steps_that_stay(studio) -> None:
    still = camera(studio.texture(1400, 900), 0, 0, 0, 0)
    rows = measure(studio, [(still, still)] * 3)
    assert rows["flow_step_dx"] == rows["flow_travel_zoom"] == [0.0, 0.0]
    assert rows["flow_step_still"] == rows["flow_step_share"] == [1.0, 1.0]
