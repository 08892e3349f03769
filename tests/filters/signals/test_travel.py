"""A turn and travel told apart on two pictures of a scene with depth."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from filters.signals.camera_model import Textured, gradient
from filters.signals.travel import Step, similarity, step

WIDTH, HEIGHT = 256, 144
DEPTHS = (1.0, 1.6, 2.4)
"""How much more than the wall what stands before it moves, in three columns of blocks."""


def scene(studio: Any) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray, float]]]:
    """A wall, and textured blocks before it with their masks and nearness; all larger than the view."""
    tall, wide = HEIGHT * 3, WIDTH * 3
    blocks = []
    for number, near in enumerate(DEPTHS[1:]):
        ys, xs = np.mgrid[:tall, :wide]
        mask = ((xs // 40) % 4 == 2 * number) & ((ys // 30) % 2 == 0)
        blocks.append((studio.texture(wide, tall, 5 + number), mask.astype(np.uint8), near))
    return studio.texture(wide, tall, 3), blocks


def seen(
    world: Any,
    right: float = 0.0,
    down: float = 0.0,
    growth: float = 0.0,
    roll: float = 0.0,
    travels: bool = False,
) -> np.ndarray:
    """The view after the content of the wall moved so; blocks move alike, or as their nearness has it."""
    wall, blocks = world
    total = None
    for texture, mask, near in ((wall, None, 1.0), *blocks):
        times = near if travels else 1.0
        turn = similarity(right * times, down * times, growth * times, roll, (HEIGHT, WIDTH))
        start = np.array([[1, 0, WIDTH], [0, 1, HEIGHT], [0, 0, 1.0]])
        matrix = start @ np.linalg.inv(np.vstack([turn, [0, 0, 1]]))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        drawn = cv2.warpAffine(texture, matrix[:2], (WIDTH, HEIGHT), flags=flags)
        if total is None:
            total = drawn
        else:
            here = cv2.warpAffine(mask, matrix[:2], (WIDTH, HEIGHT), flags=cv2.WARP_INVERSE_MAP)
            total = np.where(here > 0, drawn, total)
    return np.ascontiguousarray(total)


def between(one: np.ndarray, two: np.ndarray, guess: tuple[float, float, float, float] | None = None) -> Step:
    ys, xs = np.mgrid[4:HEIGHT:8, 4:WIDTH:8]
    level = gradient(cv2, one)[ys, xs].ravel()
    points = np.stack([xs, ys], -1).reshape(-1, 2)
    textured = Textured(points[level >= 2], level[level >= 2], float((level >= 2).mean()))
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(2)
    first = similarity(*(guess or (0, 0, 0, 0)), one.shape)
    return step(cv2, dis, one, two, textured, first, steady=guess is not None)


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ({"right": 12.0}, (12, 0, 0, 0)),
        ({"down": -6.0}, (0, -6, 0, 0)),
        ({"right": 45.0}, (45, 0, 0, 0)),
        ({"growth": 0.06}, (0, 0, 0.06, 0)),
        ({"roll": -0.05}, (0, 0, 0, -0.05)),
        ({"right": 8.0, "growth": -0.05}, (8, 0, -0.05, 0)),
    ],
)
def test_a_turn_and_a_zoom_leave_no_parallax(studio, way, expected) -> None:
    world = scene(studio)
    found = between(seen(world), seen(world, **way))
    assert (found.dx_px, found.dy_px) == pytest.approx(expected[:2], abs=0.04 * np.hypot(*expected[:2]) + 0.1)
    assert (found.zoom, found.roll_rad) == pytest.approx(expected[2:], abs=0.02)
    assert found.share > 0.85
    assert found.along < 0.075
    assert found.still_rim < 0.1


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ({"right": 10.0}, (1, 0, 0)),
        ({"right": -10.0}, (-1, 0, 0)),
        ({"down": 8.0}, (0, 1, 0)),
        ({"growth": 0.08}, (0, 0, 1)),
        ({"growth": -0.08}, (0, 0, -1)),
    ],
)
def test_travel_leaves_parallax_and_has_a_way(studio, way, expected) -> None:
    world = scene(studio)
    found = between(seen(world), seen(world, **way, travels=True))
    assert found.along > 0.09
    assert found.along > 1.3 * found.across
    assert found.travel.share > 0.7
    went = np.array([found.travel.dx_px / 10, found.travel.dy_px / 8, found.travel.zoom / 0.08])
    assert went == pytest.approx(np.array(expected) * np.abs(went).max(), abs=0.15)
    assert 0.95 <= np.abs(went).max() <= 1.7  # the median depth is the wall's or that of the nearer blocks


def test_a_guess_is_mended_where_it_is_wrong(studio) -> None:
    world = scene(studio)
    found = between(seen(world), seen(world, right=6.0, growth=0.1), guess=(3.0, 0.0, 0.0, 0.0))
    assert (found.dx_px, found.zoom) == (pytest.approx(6, abs=0.3), pytest.approx(0.1, abs=0.012))
    assert found.share > 0.9


def test_a_subject_that_fills_the_middle_leaves_the_rim_still(studio) -> None:
    one = studio.texture(WIDTH, HEIGHT, 1)
    two = np.roll(one, 9, axis=1)
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[15:-15, 25:-25] = True
    found = between(one, np.where(inside, two, one))
    assert found.still_rim > 0.5
    # A change of exposure moves nothing.
    brighter = np.clip(one.astype(np.int16) + 12, 0, 255).astype(np.uint8)
    assert between(np.clip(one, 20, 220), np.clip(brighter, 32, 232)).still_rim > 0.95


def test_one_picture_twice_stands_still() -> None:
    one = np.random.default_rng(2).integers(0, 255, (HEIGHT, WIDTH), dtype=np.uint8)
    assert between(one, one.copy()) == Step(share=1.0, still_rim=1.0)


@pytest.mark.parametrize("spot", [None, (slice(60, 90), slice(100, 150))])
def test_without_texture_or_a_textured_rim_nothing_is_known(studio, spot) -> None:
    """A car on an empty road is all that there is to follow."""
    one = np.full((HEIGHT, WIDTH), 90, np.uint8)
    two = one.copy()
    if spot:
        one[spot] = studio.texture(50, 30)
        two[spot[0], 110:160] = studio.texture(50, 30)
    assert between(one, two) == Step()


def test_a_rim_with_a_little_texture_still_shows_that_the_camera_stands(studio) -> None:
    """Lines at the side of an empty road, along which something passes."""
    one = np.full((HEIGHT, WIDTH), 90, np.uint8)
    one[8:32, 8:40] = studio.texture(32, 24)
    two = one.copy()
    two[60:100, 100:140] = studio.texture(40, 40, 2)
    found = between(one, two)
    assert found.still_rim > 0.9
    assert found.dx_px == found.zoom == 0
