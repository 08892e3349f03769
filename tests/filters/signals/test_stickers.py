from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.signals.stickers import frame_score, inner_edge, opaque, opaque_share, sticker_score


def box(x0, y0, x1, y1, score=0.8):
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": score}


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
    assert sticker_score(same, [box(0.2, 0.2, 0.395, 0.595, 0.4)], []) == 0  # rather part of the scene
    assert sticker_score(same, [], []) == 0


def test_larger_is_surer():
    images = noise()
    images[:, :60, :60] = 9
    same = opaque(cv2, images)
    small, middling = box(0.1, 0.1, 0.195, 0.195), box(0.1, 0.1, 0.23, 0.23)
    assert sticker_score(same, [small], []) == 0
    assert sticker_score(same, [small, middling], []) == pytest.approx((0.13**2 - 0.01) / 0.015, abs=0.01)


def framed(images, ink):
    """The pictures in a drawn frame, 20 pixels wide, of two colours."""
    frame = np.full(images.shape[1:], ink, np.uint8)
    frame[::12], frame[:, ::12] = 30, 30
    whole = np.repeat(frame[None], len(images), axis=0)
    whole[:, 20:-20, 20:-20] = images[:, 20:-20, 20:-20]
    return whole


def score(images):
    return frame_score(images[0], cv2.cvtColor(images[0], cv2.COLOR_RGB2GRAY), opaque(cv2, images))


def test_a_drawn_rim_is_a_frame_and_a_bar_is_none():
    rng = np.random.default_rng(0)
    dark = rng.integers(0, 90, (3, 200, 320, 3), dtype=np.uint8)
    assert score(framed(dark, (250, 180, 200))) == 1
    assert score(dark) == 0
    plain = framed(dark, (250, 180, 200))
    plain[:, :20], plain[:, -20:], plain[:, :, :20], plain[:, :, -20:] = 250, 250, 250, 250
    assert score(plain) == 0
    still = framed(np.repeat(dark[:1], 3, axis=0), (250, 180, 200))
    assert score(still) == 0


def test_the_inner_edge_is_that_of_the_side_with_the_least():
    gray = np.full((200, 320), 200, np.uint8)
    gray[24:-24, 24:-24] = 60
    assert inner_edge(gray) == 1
    gray[-24:, 64:160] = 60
    assert inner_edge(gray) == 0.5
    assert inner_edge(np.full((3, 3), 9, np.uint8)) == 0
