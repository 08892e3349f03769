from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.blur import Blur


def measure(studio, *images):
    stage = Blur()
    return stage.measure(stage.load(), studio.clip(4), studio.batch(images, every_s=2.0))


def blurred(image, sigma):
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image


def test_both_measures_follow_a_ladder_of_blur(studio):
    picture = studio.colour(384, 384)
    rows = [measure(studio, blurred(picture, sigma)) for sigma in (0, 1, 2, 3, 4, 6, 8)]
    sharpness = [row["sharpness"] for row in rows]
    effect = [row["blur_effect"] for row in rows]
    assert sharpness == sorted(sharpness, reverse=True)
    assert effect[:5] == sorted(effect[:5])
    assert sharpness[0] > 20 * sharpness[2]
    assert effect[0] < 0.3 < 0.7 < min(effect[4:])  # beyond, it saturates: rounding to levels is left


def test_white_noise_has_the_sharpness_of_the_laplacian(studio):
    noise = np.random.default_rng(0).integers(0, 256, (384, 384), dtype=np.uint8)
    assert measure(studio, np.stack([noise] * 3, -1))["sharpness"] == pytest.approx(20, rel=0.1)


def test_contrast_and_brightness_do_not_count(studio):
    picture = studio.colour(384, 384)
    faded = (picture // 2 + 20).astype(np.uint8)
    plain, dim = measure(studio, picture), measure(studio, faded)
    assert dim["sharpness"] == pytest.approx(plain["sharpness"], rel=0.1)
    assert dim["blur_effect"] == pytest.approx(plain["blur_effect"], abs=0.02)


def test_a_sharp_subject_before_a_soft_background_is_sharp(studio):
    picture = studio.colour(384, 384)
    scene = blurred(picture, 8)
    scene[128:256, 128:256] = picture[128:256, 128:256]
    assert measure(studio, scene)["sharpness"] == pytest.approx(
        measure(studio, picture)["sharpness"], rel=0.35
    )


def test_flat_patches_say_nothing_and_are_left_out(studio):
    rng = np.random.default_rng(0)
    wall = np.clip(128 + rng.normal(0, 1.5, (384, 384, 3)), 0, 255).astype(np.uint8)
    picture = studio.colour(384, 384)
    assert measure(studio, wall) == {"sharpness": None, "blur_effect": None}
    assert measure(studio, wall, picture, wall) == measure(studio, picture)
