from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.signals.stickers import frame_score, opaque, opaque_share, sticker_score


def box(x0, y0, x1, y1):
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1}


def noise(count=3):
    return np.random.default_rng(0).integers(0, 256, (count, 100, 200, 3), dtype=np.uint8)


def test_what_stays_the_same_is_opaque():
    images = noise()
    images[:, 20:60, 40:80] = (200, 30, 90)
    same = opaque(cv2, images)
    assert opaque_share(same, box(0.2, 0.2, 0.395, 0.595)) == 1
    assert opaque_share(same, box(0.6, 0.2, 0.8, 0.6)) < 0.02
    assert sticker_score(same, [box(0.2, 0.2, 0.395, 0.595)], []) == 1
    assert sticker_score(same, [box(0.2, 0.2, 0.395, 0.595)], [box(0.2, 0.2, 0.4, 0.5)]) == 0
    assert sticker_score(same, [], []) == 0


def test_larger_is_surer():
    images = noise()
    images[:, :60, :60] = 9
    same = opaque(cv2, images)
    small, middling = box(0.1, 0.1, 0.195, 0.195), box(0.1, 0.1, 0.23, 0.23)
    assert sticker_score(same, [small], []) == 0
    assert sticker_score(same, [small, middling], []) == pytest.approx((0.13**2 - 0.01) / 0.015, abs=0.01)


def test_a_drawn_rim_is_a_frame_and_a_bar_is_none():
    images = noise()
    images[:, :10], images[:, -10:] = images[0, :10], images[0, -10:]
    images[:, :, :15], images[:, :, -15:] = images[0, :, :15], images[0, :, -15:]
    assert frame_score(images[0], opaque(cv2, images)) == 1
    images[:, :10] = 0
    assert frame_score(images[0], opaque(cv2, images)) == 0
    still = np.repeat(noise(1), 3, axis=0)
    assert frame_score(still[0], opaque(cv2, still)) == 0
