from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.border import Border
from filters.signals.bars import SIDES

PIXEL = 1 / 360


def measure(studio, images):
    stage = Border()
    row = stage.measure(stage.load(), studio.clip(len(images)), studio.batch(images))
    plain = any(row[f"border_{side}_ratio"] for side in SIDES)
    assert row["border_kind"] == ("plain" if plain else "none")
    return [row[f"border_{side}_ratio"] for side in SIDES], row["clean_area_ratio"]


def coded(image):
    """As JPEG leaves it."""
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_COLOR)


def framed(studio, left, right, top, bottom, colour=(0, 0, 0), count=4):
    """Moving texture inside bars of known widths, 640 x 360."""
    images = []
    for seed in range(count):
        image = np.empty((360, 640, 3), np.uint8)
        image[:] = colour
        inside = studio.colour(640 - left - right, 360 - top - bottom, seed)
        image[top : 360 - bottom, left : 640 - right] = inside
        images.append(coded(image))
    return images


@pytest.mark.parametrize(
    ("bars", "colour"),
    [
        ((0, 0, 46, 46), (0, 0, 0)),
        ((0, 0, 20, 60), (0, 0, 0)),
        ((219, 219, 0, 0), (0, 0, 0)),
        ((80, 80, 0, 0), (200, 40, 90)),
        ((0, 0, 40, 40), (255, 255, 255)),
        ((80, 80, 45, 45), (0, 0, 0)),
        ((0, 64, 0, 0), (16, 16, 16)),
        ((0, 0, 0, 0), (0, 0, 0)),
    ],
)
def test_bars_of_known_width(studio, bars, colour):
    found, clean = measure(studio, framed(studio, *bars, colour=colour))
    left, right, top, bottom = bars
    assert found == pytest.approx([left / 640, right / 640, top / 360, bottom / 360], abs=3.01 * PIXEL)
    drawn = (left / 640, right / 640, top / 360, bottom / 360)
    # Never less than the bar: no line of it is left in the clean rectangle.
    assert all(share >= width - 1e-9 for share, width in zip(found, drawn, strict=True))
    assert clean == pytest.approx((1 - found[0] - found[1]) * (1 - found[2] - found[3]))


def test_a_night_sky_over_a_skyline_is_content(studio):
    image = np.zeros((360, 640, 3), np.uint8)
    tall = np.random.default_rng(0).integers(40, 200, 32)
    for i, height in enumerate(tall):
        image[360 - height :, 20 * i : 20 * i + 20] = studio.colour(20, int(height), i)
    assert measure(studio, [image] * 4) == ([0, 0, 0, 0], 1)


@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_an_empty_picture_is_content(studio, level):
    assert measure(studio, [np.full((360, 640, 3), level, np.uint8)] * 3) == ([0, 0, 0, 0], 1)


def test_a_title_card_is_content(studio):
    image = np.full((360, 640, 3), (48, 56, 70), np.uint8)
    studio.write(image, "THANKS FOR WATCHING", (120, 190), 1.2, 3)
    assert measure(studio, [image] * 3) == ([0, 0, 0, 0], 1)


def test_a_dark_start_does_not_widen_the_bars(studio):
    images = framed(studio, 0, 0, 46, 46)
    dark = [(image * 0.05).astype(np.uint8) for image in images[:2]]
    found, _ = measure(studio, [*dark, *images])
    assert found == pytest.approx([0, 0, 46 / 360, 46 / 360], abs=3 * PIXEL)


def test_a_dark_scene_is_not_cut(studio):
    images = [(image * 0.04).astype(np.uint8) for image in framed(studio, 0, 0, 0, 0)]
    assert measure(studio, images) == ([0, 0, 0, 0], 1)


@pytest.mark.parametrize("baseline", [340, 312])
def test_writing_on_a_bar_is_no_picture(studio, baseline):
    """Subtitles inside the bar, and subtitles that reach over its edge into the picture."""
    images = framed(studio, 0, 0, 60, 60)
    written = [image.copy() for image in images]
    for image in written[:2]:
        studio.write(image, "I WILL NOT SAY IT AGAIN", (140, baseline), 0.9, 2)
    assert measure(studio, written) == measure(studio, images)
    assert measure(studio, written)[0][3] == pytest.approx(60 / 360, abs=3.01 * PIXEL)


def test_someone_on_a_dark_stage_is_no_writing(studio):
    image = np.zeros((360, 640, 3), np.uint8)
    image[230:] = studio.colour(640, 130, 1)
    image[80:230, 280:360] = studio.colour(80, 150, 2)
    assert measure(studio, [image] * 3) == ([0, 0, 0, 0], 1)


def on_blur(studio, width, height, count=4, sigma=18, dim=1.0):
    """Pictures before blurred, enlarged copies of themselves that fill 640 x 360 (or 360 x 640)."""
    across, down = (640, 360) if width < 500 and height == 360 else (360, 640)
    images = []
    for seed in range(count):
        inside = cv2.resize(studio.colour(160, 160, seed), (width, height))
        scale = max(across / width, down / height)
        fill = cv2.resize(inside, None, fx=scale, fy=scale)
        top, left = (fill.shape[0] - down) // 2, (fill.shape[1] - across) // 2
        fill = fill[top : top + down, left : left + across]
        fill = (cv2.GaussianBlur(fill, (0, 0), sigma) * dim).astype(np.uint8)
        top, left = (down - height) // 2, (across - width) // 2
        fill[top : top + height, left : left + width] = inside
        images.append(coded(fill))
    return images


@pytest.mark.parametrize(
    ("width", "height", "dim"), [(204, 360, 1.0), (360, 360, 0.6), (360, 202, 1.0), (360, 450, 0.8)]
)
def test_blurred_bars_of_known_width(studio, width, height, dim):
    images = on_blur(studio, width, height, dim=dim)
    stage = Border()
    row = stage.measure(stage.load(), studio.clip(4), studio.batch(images))
    down, across = images[0].shape[:2]
    sides = [(across - width) / 2 / across] * 2 + [(down - height) / 2 / down] * 2
    assert row["border_kind"] == "blurred"
    assert [row[f"border_{side}_ratio"] for side in SIDES] == pytest.approx(sides, abs=0.015)
    assert row["clean_area_ratio"] == pytest.approx(width * height / across / down, abs=0.03)


def test_a_sharp_middle_between_blurred_sides_of_another_picture_is_content(studio):
    """As a near subject before an unsharp background: the background is no copy of it."""
    others = [cv2.GaussianBlur(studio.colour(640, 360, seed + 40), (0, 0), 18) for seed in range(4)]
    for seed, image in enumerate(others):
        image[:, 218:422] = cv2.resize(studio.colour(160, 160, seed), (204, 360))
    assert measure(studio, others) == ([0, 0, 0, 0], 1)
