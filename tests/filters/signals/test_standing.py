from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.signals.standing import SURE, drawn, edges, grid, patches

SIZE = (240, 320)


def square(left, top, side=40):
    image = np.full(SIZE, 60, np.uint8)
    cv2.rectangle(image, (left, top), (left + side, top + side), 200, -1)
    return image


def test_an_edge_that_stands_and_one_that_passes():
    there, gone = square(40, 40), square(40, 40)
    cv2.rectangle(there, (200, 150), (230, 180), 220, -1)
    found = edges(cv2, [there, gone, gone, gone], 3.0, 0.8, 0.6)
    assert found.frames == 4
    assert found.stays[60, 40] == 1
    assert found.passes[60, 40] == 0
    assert found.stays[165, 200] == 0
    assert found.passes[165, 200] == pytest.approx(0.25)  # seen on one frame of four
    assert (found.stays + found.passes)[10, 10] == 0


def test_the_box_of_a_patch_and_its_roundness():
    found = edges(cv2, [square(40, 60)] * 3, 3.0, 0.8, 0.6)
    (patch,) = patches(cv2, found, 7, 0.1)
    assert patch.corners == pytest.approx((39, 59, 82, 102), abs=1)
    assert patch.roundness > 0.9
    line = np.full(SIZE, 60, np.uint8)
    line[100:] = 200
    (patch,) = patches(cv2, edges(cv2, [line] * 3, 3.0, 0.8, 0.6), 7, 0.1)
    assert patch.roundness < 0.01


def test_a_mark_that_touches_a_line_is_told_from_it():
    image = np.full(SIZE, 60, np.uint8)
    cv2.line(image, (150, 0), (150, 239), 200, 3)
    for top in range(40, 70, 10):
        for left in range(158, 190, 10):
            cv2.circle(image, (left, top), 3, 240, -1)
    found = edges(cv2, [image] * 5, 3.0, 0.8, 0.6)
    (mark,) = drawn(cv2, found, 7, 0.15, 0.15)
    assert mark.top >= 30
    assert mark.bottom <= 80
    assert mark.right == pytest.approx(192, abs=3)


def test_the_moving_share_of_blocks_and_of_the_ring_around_a_patch():
    moving = [square(40, 100), square(60, 100), square(80, 100), square(100, 100)]
    for image in moving:
        cv2.circle(image, (250, 60), 20, 230, -1)
    found = edges(cv2, moving, 3.0, 0.8, 0.6)
    blocks = grid(cv2, found, 14)
    assert 0.4 < blocks.moving_ratio < 0.95
    (disc,) = [patch for patch in patches(cv2, found, 7, 0.1) if patch.left > 200]
    moving, covered = blocks.around(disc)
    assert (moving, covered < 0.1) == (0, True)  # nothing passes near it
    assert grid(cv2, found, 14, [disc]).moving_ratio > blocks.moving_ratio


def panned(mark=None, count=5):
    """A camera that moves over a wall of blocks by 26 pixels a frame; with a mark drawn on each picture."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (SIZE[0] // 12, 50), dtype=np.uint8)
    wall = cv2.resize(blocks, (600, SIZE[0]), interpolation=cv2.INTER_NEAREST)
    images = [wall[:, 26 * i : 26 * i + SIZE[1]].copy() for i in range(count)]
    for image in images:
        if mark is not None:
            mark(image)
    return images


def sureties(images):
    found = edges(cv2, images, 3.0, 0.9, 0.6)
    marks = drawn(cv2, found, 7, 0.1, 0.15)
    ground = grid(cv2, found, 14, marks)
    return [ground.surety(mark) for mark in marks]


def test_a_mark_over_moving_ground_is_sure_and_one_on_standing_ground_is_not():
    def ring(image):
        cv2.circle(image, (240, 60), 16, 255, -1)
        cv2.circle(image, (240, 60), 9, 0, -1)

    def on_a_wall(image):
        image[:, 160:] = 128
        image[:, 165:315:10] = 60  # bars that stand around it
        image[20:100, 200:280] = 128
        ring(image)

    (sure,) = sureties(panned(ring))
    assert sure > SURE + 0.2
    assert max(sureties(panned(on_a_wall)), default=0) < SURE
    assert sureties(panned()) == []


def test_the_contrast_of_a_patch_is_its_mean_gradient():
    def contrast(ink):
        image = np.full(SIZE, 60, np.uint8)
        cv2.rectangle(image, (60, 60), (100, 100), 60 + ink, -1)
        (patch,) = patches(cv2, edges(cv2, [image] * 3, 3.0, 0.9, 0.6), 7, 0.1)
        return patch.contrast

    # A step is seen as half of it on both sides; at a corner as a quarter and a half.
    assert contrast(40) == pytest.approx(20, rel=0.15)
    assert contrast(80) == pytest.approx(40, rel=0.15)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (16, 200)])
def test_small_pictures_have_no_patches(size):
    rng = np.random.default_rng(0)
    found = edges(cv2, [rng.integers(0, 256, size, dtype=np.uint8) for _ in range(3)], 3.0, 0.8, 0.6)
    assert drawn(cv2, found, 3, 0.3, 0.15) == []
    assert 0 <= grid(cv2, found, 6).moving_ratio <= 1
