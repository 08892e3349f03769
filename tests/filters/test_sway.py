"""The sway stage on pictures shifted by known ways."""

from __future__ import annotations

import numpy as np
import pytest

from filters.sway import Sway
from pipeline.frames import PROXY, TREMBLE

WIDTH, HEIGHT, EVERY_S = 64, 36, 1 / 12


def view(source: np.ndarray, x: float, y: float) -> np.ndarray:
    import cv2

    big = cv2.warpAffine(
        source, np.array([[1, 0, -200.0 + 8 * x], [0, 1, -200.0 + 8 * y]]), (WIDTH * 8, HEIGHT * 8)
    )
    return cv2.resize(big, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def measure(studio, images):
    stage = Sway()
    clip = studio.clip(len(images) * EVERY_S)
    return stage.measure(stage.load(), clip, studio.batch(images, EVERY_S))


@pytest.mark.parametrize("ways", [(0.5, 0.0), (-2.0, 1.0), (0.0, -0.2), (14.0, 0.0), (0.0, 8.0)])
def test_a_shift_is_measured_as_a_speed(studio, ways) -> None:
    source = studio.texture(1400, 900)
    row = measure(studio, [view(source, i * ways[0], i * ways[1]) for i in range(4)])
    assert row["sway_time_s"] == pytest.approx([0, EVERY_S, 2 * EVERY_S], abs=1e-6)
    assert row["sway_step_s"] == pytest.approx([EVERY_S] * 3)
    assert row["sway_dx"] == pytest.approx([ways[0] / WIDTH / EVERY_S] * 3, abs=0.04, rel=0.05)
    assert row["sway_dy"] == pytest.approx([ways[1] / HEIGHT / EVERY_S] * 3, abs=0.04, rel=0.05)
    assert min(row["sway_share"]) > 0.8


def test_a_subject_on_a_third_of_the_picture_does_not_shake_it(studio) -> None:
    wall, body = studio.texture(1400, 900), studio.texture(1400, 900, 9)
    images = []
    for i in range(6):
        image = view(wall, 0, 0)
        image[:, 20:42] = view(body, 3 * (-1) ** i, i)[:, 20:42]
        images.append(image)
    row = measure(studio, images)
    assert np.abs(row["sway_dx"]).max() < 0.03
    assert 0.4 < min(row["sway_share"]) < 0.9


def test_one_picture_stands_still_and_a_flat_one_tells_nothing(studio) -> None:
    still = view(studio.texture(1400, 900), 0, 0)
    row = measure(studio, [still, still.copy()])
    assert (row["sway_dx"], row["sway_share"]) == ([0.0], [1.0])
    flat = [np.full((HEIGHT, WIDTH), level, np.uint8) for level in (80, 120)]
    assert measure(studio, flat)["sway_share"] == [0.0]


def test_a_lone_frame_has_no_step(studio) -> None:
    assert set(map(tuple, measure(studio, [np.zeros((HEIGHT, WIDTH), np.uint8)]).values())) == {()}


def test_its_frames_are_in_the_proxy_a_dozen_times_a_second() -> None:
    assert TREMBLE in PROXY
    assert 1 / TREMBLE.every_s == pytest.approx(12.5)
