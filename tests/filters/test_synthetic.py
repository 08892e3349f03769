from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from filters.base import one_thread_cv2
from filters.border import Border
from filters.flow import Flow
from filters.static import Static
from filters.synthetic import KINDS, Synthetic
from pipeline.stage import FrameBatch

FPS, COUNT = 24, 96


def coded(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_COLOR)


def measure(studio, draw, count=COUNT):
    """The row of a clip of `count` frames at 24 a second, frame i drawn by draw(i), 640 x 360."""
    cv = one_thread_cv2()
    view = studio.batch([coded(draw(i)) for i in range(0, count, FPS)])

    def small(i):
        return cv.cvtColor(
            cv.resize(coded(draw(i)), (256, 144), interpolation=cv.INTER_AREA), cv.COLOR_RGB2GRAY
        )

    pairs = [(small(i), small(i + 1)) for i in range(0, max(1, count - 1), FPS // 2)]
    motion = studio.pairs(pairs)
    if count == 1:  # as a pair spec shows an image
        motion = FrameBatch(*(values[:0] for values in dataclasses.astuple(motion)))
    clip = studio.clip(count / FPS)
    upstream = {
        "border": Border().measure(cv, clip, view),
        "flow": Flow().measure(cv, clip, motion),
        "static": Static().measure(None, clip, motion),
    }
    stage = Synthetic()
    return stage.measure(stage.load(), studio.clip(count / FPS, upstream=upstream), view)


@pytest.fixture(scope="module")
def photo(studio):
    return cv2.GaussianBlur(studio.colour(1280, 720, 11), (0, 0), 2)


def moved(photo, scale, right, down):
    """The photo scaled about its middle and moved, seen through a window of 640 x 360."""
    matrix = np.float32([[scale / 2, 0, 320 - scale * 320 + right], [0, scale / 2, 180 - scale * 180 + down]])
    return cv2.warpAffine(photo, matrix, (640, 360), flags=cv2.INTER_LINEAR)


def handheld(photo):
    """A walk: the camera sways at two speeds, a dark thing crosses the picture, and every frame has its own noise."""

    def draw(i):
        image = moved(photo, 1.5, 40 * np.sin(i / 9) + 12 * np.sin(i / 2.3), 25 * np.cos(i / 7))
        cv2.circle(image, (int(7 * i) % 700, 200), 50, (90, 60, 40), -1)
        image = cv2.GaussianBlur(image, (0, 0), 1.2).astype(np.float32)
        noise = np.random.default_rng(i).normal(0, 6, image.shape[:2])[..., None]
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    return draw


def screen(i):
    image = np.full((360, 640, 3), 245, np.uint8)
    image[:24], image[24:, :120] = (60, 90, 160), 225
    for row in range(14):
        text = f"value_{row * 37 % 11} = {row * 7919 % 1000}"
        if row < 6 or i > row * 5:
            cv2.putText(image, text, (140, 50 + 22 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1)
        cv2.putText(image, f"file{row}", (10, 50 + 22 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (60, 60, 60), 1)
    return image


def colour_bars(i):
    image = np.zeros((360, 640, 3), np.uint8)
    for k in range(7):
        image[:260, k * 91 : k * 91 + 92] = [190 * (k + 1 >> bit & 1) for bit in range(3)]
    image[260:] = 60
    cv2.putText(image, f"00:00:{i:02d}", (200, 330), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (235, 235, 235), 3)
    return image


def title(i):
    image = np.full((360, 640, 3), (40, 52, 70), np.uint8)
    cv2.putText(image, "CHAPTER ONE", (150, 190), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (240, 240, 240), 3)
    return image


def cartoon(i):
    step = i // 2 * 2  # drawn on twos
    image = np.full((360, 640, 3), (150, 205, 240), np.uint8)
    for k, colour in enumerate([(80, 160, 90), (200, 120, 70), (110, 90, 170), (230, 200, 90)]):
        at = (90 + 150 * k + 3 * step * (-1) ** k, 330 - 40 * k)
        cv2.circle(image, at, 70 + 12 * k, colour, -1, cv2.LINE_AA)
        cv2.circle(image, at, 70 + 12 * k, (30, 30, 30), 3, cv2.LINE_AA)
    image[300:] = (120, 180, 110)
    return image


def game(photo):
    def draw(i):
        image = handheld(photo)(i)
        cv2.rectangle(image, (20, 20), (180, 40), (30, 30, 30), -1)
        cv2.rectangle(image, (22, 22), (150 - i % 40, 38), (220, 40, 40), -1)
        cv2.rectangle(image, (530, 20), (620, 110), (20, 60, 30), -1)
        cv2.rectangle(image, (530, 20), (620, 110), (230, 230, 230), 2)
        for k in range(5):
            cv2.rectangle(image, (200 + 50 * k, 310), (242 + 50 * k, 350), (60, 60, 60), -1)
            cv2.rectangle(image, (200 + 50 * k, 310), (242 + 50 * k, 350), (210, 210, 210), 2)
        cv2.putText(image, "AMMO 24", (500, 345), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
        cv2.putText(image, f"LAP {i // 30}", (20, 340), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2)
        return image

    return draw


def test_every_kind_by_its_name(studio, photo):
    drawn = {
        "none": handheld(photo),
        "screen_recording": screen,
        "test_card": colour_bars,
        "title_card": title,
        "game_hud": game(photo),
        "animation": cartoon,
        "slideshow": lambda i: moved(photo, 1.2, 0, 0),
    }
    assert set(drawn) == set(KINDS)
    rows = {kind: measure(studio, draw) for kind, draw in drawn.items()}
    assert {kind: row["synthetic_kind"] for kind, row in rows.items()} == {kind: kind for kind in KINDS}
    scores = [name for name in rows["none"] if name.endswith("_score")]
    assert max(rows["none"][score] for score in scores) < 0.3
    for kind, score in (("screen_recording", "screen"), ("game_hud", "hud"), ("animation", "animation")):
        assert rows[kind][f"{score}_score"] > 0.6, rows[kind]


@pytest.mark.parametrize(("grows", "right"), [(0.15, 0), (0.0, 120), (0.1, 60)])
def test_a_photo_zoomed_or_panned_evenly_is_a_slideshow(studio, photo, grows, right):
    row = measure(studio, lambda i: moved(photo, 1.3 + grows * i / COUNT, (i / COUNT - 0.5) * right, 0))
    assert row["synthetic_kind"] == "slideshow"
    assert row["slideshow_score"] > 0.8


def test_photos_that_change_are_a_slideshow(studio, photo):
    row = measure(studio, lambda i: moved(photo, (1.2, 1.9)[i >= 56], 0, 0))
    assert row["synthetic_kind"] == "slideshow"


def test_bars_do_not_make_a_screen(studio, photo):
    def draw(i):
        image = handheld(photo)(i)
        image[:50] = image[310:] = 0
        return image

    assert measure(studio, draw)["synthetic_kind"] == "none"


def test_one_frame_black_and_small(studio, photo):
    for image in (moved(photo, 1.2, 0, 0), np.zeros((360, 640, 3), np.uint8), photo[:16, :16]):
        still = measure(studio, lambda i, image=image: image, count=1)
        assert still["synthetic_kind"] == "none"
        assert still["slideshow_score"] == 0
    assert measure(studio, lambda i: np.zeros((360, 640, 3), np.uint8))["synthetic_kind"] == "none"
