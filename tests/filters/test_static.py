from __future__ import annotations

import numpy as np
import pytest

from filters.static import Static


def measure(studio, images):
    clip = studio.clip(len(images) / 2)
    return Static().measure(None, clip, studio.pairs([(image, image) for image in images]))


def test_a_frozen_span_is_found(studio):
    moving = [studio.texture(256, 144, seed) for seed in range(4)]
    row = measure(studio, [*moving, moving[-1], moving[-1], moving[-1], moving[-1]])
    assert row["static_ratio"] == pytest.approx(4 / 7)
    assert row["static_run_s"] == pytest.approx(2.5)  # from the last moving sample's step to the clip's end
    assert row["change_ratio"] == pytest.approx(3 / 7, abs=0.05)


def test_coding_noise_is_still_and_a_slow_pan_is_not(studio):
    rng = np.random.default_rng(0)
    picture = studio.texture(300, 144)
    noisy = [
        np.clip(picture[:, :256] + rng.normal(0, 1, (144, 256)), 0, 255).astype(np.uint8) for _ in range(6)
    ]
    assert measure(studio, noisy)["static_ratio"] == 1.0
    assert measure(studio, [picture[:, i : i + 256] for i in range(6)])["static_ratio"] == 0.0


def test_doubled_frames_are_not_static(studio):
    frames = [studio.texture(256, 144, seed) for seed in range(4)]
    assert measure(studio, frames)["static_ratio"] == 0.0  # though every adjacent pair is equal


def test_one_sample_is_compared_with_the_frame_after_it(studio):
    one, two = studio.texture(256, 144, 1), studio.texture(256, 144, 2)
    still = Static().measure(None, studio.clip(0.3), studio.pairs([(one, one)]))
    moving = Static().measure(None, studio.clip(0.3), studio.pairs([(one, two)]))
    assert (still["static_ratio"], still["static_run_s"]) == (1.0, 0.3)
    assert (moving["static_ratio"], moving["static_run_s"]) == (0.0, 0.0)
