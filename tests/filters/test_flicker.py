from __future__ import annotations

import numpy as np
import pytest

from filters.flicker import Flicker


def measure(studio, pairs):
    stage = Flicker()
    return stage.measure(stage.load(), studio.clip(len(pairs) / 2), studio.pairs(pairs))


def gray(level):
    return np.full((144, 256), level, np.uint8)


def test_the_score_is_the_mean_jump(studio):
    lamp = [(gray(100), gray(100))] * 9 + [(gray(100), gray(151))]
    assert measure(studio, lamp) == {"flicker_score": pytest.approx(0.02), "flash_count": 1}
    assert measure(studio, [(gray(100), gray(100))] * 4) == {"flicker_score": 0.0, "flash_count": 0}


def test_stronger_pumping_scores_higher_over_a_moving_picture(studio):
    rng = np.random.default_rng(0)
    wide = studio.texture(400, 144)
    scores = []
    for strength in (0, 0.01, 0.02, 0.04, 0.08):
        pairs = []
        for i in range(10):
            gains = 1 + strength * rng.choice([-1, 1], 2)
            views = wide[:, 12 * i : 12 * i + 256], wide[:, 12 * i + 1 : 12 * i + 257]
            one, two = (
                np.clip(view * gain, 0, 255).astype(np.uint8) for view, gain in zip(views, gains, strict=True)
            )
            pairs.append((one, two))
        scores.append(measure(studio, pairs)["flicker_score"])
    assert scores == sorted(scores)
    assert scores[0] < 0.002 < 0.004 < scores[1]


def test_a_fade_is_no_flicker(studio):
    levels = [200 - 36 * i for i in range(6)]  # 36 levels in half a second: 3 a frame
    fade = [(gray(level), gray(level - 3)) for level in levels]
    row = measure(studio, fade)
    assert row["flicker_score"] < 0.001
    assert row["flash_count"] == 0


def test_what_moves_through_the_picture_is_no_flicker(studio):
    def with_square(x):
        image = gray(60)
        image[20:90, x : x + 70] = 250
        return image

    pairs = [(with_square(10 + 12 * i), with_square(16 + 12 * i)) for i in range(8)]
    assert measure(studio, pairs)["flicker_score"] == 0


def test_the_lit_part_of_a_dark_picture_counts(studio):
    def lit(level):
        image = gray(0)
        image[50:90, 100:160] = level
        return image

    assert measure(studio, [(lit(100), lit(130))] * 4)["flicker_score"] > 0.05
    assert measure(studio, [(gray(0), gray(2))] * 4)["flicker_score"] == 0
    assert measure(studio, [(gray(0), gray(0)), (gray(0), gray(255))] * 2)["flash_count"] == 2


def test_an_image_has_none_and_one_pair_is_enough(studio):
    pair = studio.pairs([(gray(100), gray(130))])
    stage = Flicker()
    assert stage.measure(stage.load(), studio.clip(0.3), pair)["flash_count"] == 1
    nothing = type(pair)(
        pair.images[:0], pair.times_s[:0], pair.frames[:0], pair.following[:0], pair.step_s[:0]
    )
    assert stage.measure(stage.load(), studio.clip(0), nothing) == {
        "flicker_score": None,
        "flash_count": None,
    }
