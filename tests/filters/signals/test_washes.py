from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.signals.washes import flash, ramp, specks, split_px, tint


def test_a_ramp_rises_or_falls():
    assert [ramp(value, 2, 4) for value in (1, 3, 5)] == [0, 0.5, 1]
    assert [ramp(value, 4, 2) for value in (1, 3, 5)] == [1, 0.5, 0]


@pytest.mark.parametrize("shift", [2, 6, -6])
def test_the_pixels_of_a_split(studio, shift):
    image = studio.colour(640, 360)
    parted = np.stack([np.roll(image[..., 0], shift, 1), image[..., 1], image[..., 2]], -1)
    assert split_px(parted[None], 8) == abs(shift)
    assert split_px(image[None], 8) == 0
    assert split_px(parted[None, :, :24], 8) == 0  # too narrow to tell


def test_a_colour_that_follows_the_light_is_all_tint(studio):
    light = studio.texture(320, 240)[None, ..., None] / 255
    washed = (60 + light * np.array([150, 20, 80])).astype(np.uint8)
    strength, rest, shade = tint(washed)
    assert strength > 10
    assert rest < 0.15 * strength
    assert shade > 5
    assert tint(np.repeat((light * 255).astype(np.uint8), 3, axis=3)) == pytest.approx((0, 0, 0), abs=1e-6)


def test_specks_are_small_bright_and_move():
    rng = np.random.default_rng(0)

    def snow():
        image = np.full((360, 640), 90, np.uint8)
        for x, y in rng.integers(0, (640, 360), (400, 2)).tolist():
            cv2.circle(image, (x, y), 1, 250, -1)
        return image

    moving = [snow(), snow(), snow()]
    assert specks(cv2, moving, 9, 40.0) > 0.5
    assert specks(cv2, [moving[0]] * 3, 9, 40.0) == 0
    assert specks(cv2, moving[:1], 9, 40.0) == 0


def test_a_flash_is_brighter_than_before_and_after():
    levels = [50, 60, 200, 70, 90]
    images = np.stack([np.full((32, 32, 3), level, np.uint8) for level in levels])
    assert flash(images) == 130
    assert flash(images[:2]) == flash(images[:1]) == 0
    assert flash(images[[0, 1, 4]]) == 0
