"""A camera's pitch and roll on bars that stand upright in the world."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from filters.horizon import Horizon
from filters.signals.verticals import uprights

WIDTH, HEIGHT = 640, 360


def bars(up_deg, roll_deg=0.0, count=16):
    """RGB of upright bars on a wall before a camera of 53 degrees that looks up and is tilted clockwise."""
    up, roll = math.radians(up_deg), math.radians(roll_deg)
    pitch = np.array([[1, 0, 0], [0, math.cos(up), math.sin(up)], [0, -math.sin(up), math.cos(up)]])
    tilt = np.array([[math.cos(roll), math.sin(roll), 0], [-math.sin(roll), math.cos(roll), 0], [0, 0, 1]])
    camera = np.array([[WIDTH, 0, WIDTH / 2], [0, WIDTH, HEIGHT / 2], [0, 0, 1]])
    image = np.full((HEIGHT, WIDTH, 3), 180, np.uint8)
    for x in np.linspace(-0.45, 0.45, count):
        corners = np.array([[x + dx, y, 1.0] for dx, y in ((0, -0.6), (0.02, -0.6), (0.02, 0.6), (0, 0.6))])
        seen = camera @ tilt @ pitch @ corners.T
        cv2.fillPoly(
            image, [np.round((seen[:2] / seen[2]).T * 16).astype(np.int32)], (40, 50, 60), cv2.LINE_AA, 4
        )
    return image


@pytest.mark.parametrize("up_deg", [-30, -15, 0, 8, 25])
def test_the_pitch_is_that_of_the_camera(studio, up_deg):
    row = Horizon().measure(None, studio.clip(1, WIDTH, HEIGHT), studio.batch([bars(up_deg)]))
    assert row["pitch_deg"] == pytest.approx(up_deg, abs=0.5)
    assert row["roll_deg"] == pytest.approx(0, abs=0.3)
    assert row["horizon_y"] == pytest.approx(0.5 + math.tan(math.radians(up_deg)) * WIDTH / HEIGHT, abs=0.03)
    assert row["pitch_frames_ratio"] == 1.0


@pytest.mark.parametrize("roll_deg", [-6.0, 4.0])
def test_the_roll_is_that_of_the_camera(roll_deg):
    found = uprights(cv2.cvtColor(bars(0, roll_deg), cv2.COLOR_RGB2GRAY))
    assert found.pitch_deg == pytest.approx(0, abs=0.7)
    assert found.roll_deg == pytest.approx(roll_deg, abs=0.4)


def test_frames_that_disagree_are_counted(studio):
    images = [bars(up) for up in (20, 20, 20, -20)]
    row = Horizon().measure(None, studio.clip(8, WIDTH, HEIGHT), studio.batch(images, every_s=2.0))
    assert row["pitch_deg"] == pytest.approx(20, abs=0.5)
    assert row["pitch_frames_ratio"] == 0.75


def test_noise_clouds_and_too_few_lines_tell_nothing(studio):
    empty = {"pitch_deg": None, "roll_deg": None, "horizon_y": None, "pitch_frames_ratio": 0.0}
    for image in (studio.colour(WIDTH, HEIGHT), np.zeros((HEIGHT, WIDTH, 3), np.uint8), bars(10, count=2)):
        assert Horizon().measure(None, studio.clip(1), studio.batch([image])) == empty


def test_the_edges_of_bars_at_the_side_are_no_lines(studio):
    image = studio.colour(WIDTH, HEIGHT)
    image[:, :3] = image[:, -3:] = 0
    assert Horizon().measure(None, studio.clip(1), studio.batch([image]))["pitch_deg"] is None


@pytest.mark.parametrize(
    "setting", [{"lines_min": 99}, {"share_min": 1.01}, {"spread_min": 0.99}, {"length_min": 99.0}]
)
def test_what_is_enough_is_a_setting(studio, setting):
    row = Horizon(**setting).measure(None, studio.clip(1), studio.batch([bars(10)]))
    assert row["pitch_deg"] is None
