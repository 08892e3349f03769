from __future__ import annotations

import numpy as np
import pytest

from filters.exposure import Exposure


def measure(studio, image):
    return Exposure().measure(None, studio.clip(1), studio.batch([image]))


def plain(*rgb):
    return np.full((360, 640, 3), rgb, np.uint8)


def test_gray(studio):
    row = measure(studio, plain(128, 128, 128))
    assert row["brightness"] == pytest.approx(128 / 255, abs=1e-6)
    assert row["contrast"] == row["saturation"] == row["warmth"] == pytest.approx(0, abs=1e-6)


def test_colour(studio):
    row = measure(studio, plain(200, 100, 50))
    assert row["brightness"] == pytest.approx((0.2126 * 200 + 0.7152 * 100 + 0.0722 * 50) / 255, abs=1e-6)
    assert row["saturation"] == pytest.approx(0.75)
    assert row["warmth"] == pytest.approx(150 / 255)
    assert measure(studio, plain(50, 100, 200))["warmth"] == pytest.approx(-150 / 255)


def test_clipping_and_contrast(studio):
    image = plain(0, 0, 0)
    image[:, 480:] = 255
    row = measure(studio, image)
    assert row["highlight_clip_ratio"] == pytest.approx(0.25, abs=0.01)
    assert row["shadow_clip_ratio"] == pytest.approx(0.75, abs=0.01)
    assert row["contrast"] == pytest.approx((0.25 * 0.75) ** 0.5, abs=0.01)
    assert measure(studio, plain(255, 0, 0))["highlight_clip_ratio"] == 0  # one channel only
