from __future__ import annotations

import numpy as np
import pytest

from filters.black import Black


def gray(level):
    return np.full((144, 256), level, np.uint8)


def measure(studio, images):
    return Black().measure(
        None, studio.clip(len(images) / 2), studio.pairs([(image, image) for image in images])
    )


def test_share_and_longest_run(studio):
    levels = [0, 120, 5, 10, 3, 120, 0, 0]
    row = measure(studio, [gray(level) for level in levels])
    assert row == pytest.approx({"black_ratio": 6 / 8, "black_run_s": 1.5})


def test_a_run_at_the_end_lasts_to_the_end(studio):
    images = [gray(120), gray(0), gray(0)]
    row = Black().measure(None, studio.clip(1.9), studio.pairs([(image, image) for image in images]))
    assert row["black_run_s"] == pytest.approx(1.4)


@pytest.mark.parametrize(("level", "black"), [(25, 1.0), (26, 0.0)])
def test_the_level_is_a_tenth_of_full_range(studio, level, black):
    assert measure(studio, [gray(level)])["black_ratio"] == black


@pytest.mark.parametrize(("lit", "black"), [(0.01, 1.0), (0.03, 0.0)])
def test_two_per_cent_of_light_pixels_are_a_picture(studio, lit, black):
    image = gray(0)
    image[: round(144 * lit)] = 200
    assert measure(studio, [image])["black_ratio"] == black
