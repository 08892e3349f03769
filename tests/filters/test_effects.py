"""Effects drawn over pictures that move, one kind each, and the same pictures without."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.effects import KINDS, Effects
from filters.overlay import Overlay

WIDTH, HEIGHT = 640, 360


def pan(studio, count=5):
    """A camera that moves past smooth hills below a smooth sky."""
    texture = studio.colour(WIDTH + 60 * count, HEIGHT)
    scene = cv2.GaussianBlur(texture, (0, 0), 6)
    scene[180:] = texture[180:]
    return [scene[:, i * 60 : i * 60 + WIDTH].copy() for i in range(count)]


def measure(studio, images, tracks=()):
    batch, overlay, stage = studio.batch(images), Overlay(), Effects()
    clip = studio.clip(len(images))
    upstream = {
        "overlay": overlay.measure(overlay.load(), clip, batch),
        "text": {"text_tracks": list(tracks)},
    }
    row = stage.measure(stage.load(), studio.clip(len(images), upstream=upstream), batch)
    return row["effects_kind"], row["effects_score"]


def face(image, left=400, top=60, side=110):
    """A round yellow sticker with a white rim."""
    middle = left + side // 2, top + side // 2
    cv2.circle(image, middle, side // 2, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(image, middle, round(side * 0.44), (255, 210, 0), -1, cv2.LINE_AA)
    for x in (-1, 1):
        cv2.circle(image, (middle[0] + x * side // 6, middle[1] - side // 8), side // 14, (20, 20, 20), -1)
    cv2.ellipse(image, middle, (side // 4, side // 4), 0, 10, 170, (200, 20, 40), -1, cv2.LINE_AA)


def snow(images):
    rng = np.random.default_rng(0)
    for image in images:
        for x, y in rng.integers(0, (WIDTH, HEIGHT), (160, 2)):
            cv2.circle(image, (int(x), int(y)), 2, (255, 255, 255), -1, cv2.LINE_AA)


def confetti(images):
    rng = np.random.default_rng(0)
    frame = np.full((HEIGHT, WIDTH, 3), (250, 180, 200), np.uint8)
    for x, y in rng.integers(0, (WIDTH, HEIGHT), (900, 2)):
        cv2.circle(frame, (int(x), int(y)), 6, tuple(int(c) for c in rng.integers(0, 255, 3)), -1)
    for image in images:
        frame[36:-36, 36:-36] = image[36:-36, 36:-36]
        image[:] = frame


def each(images, change):
    for image in images:
        image[:] = change(image)


def tinted(image):
    light = image.mean(axis=2, keepdims=True) / 255
    return (0.4 * image + 0.6 * np.array([255, 60, 120]) * (0.4 + 0.6 * light)).astype(np.uint8)


def split(image):
    return np.stack([np.roll(image[..., 0], 4, 1), image[..., 1], np.roll(image[..., 2], -4, 1)], -1)


def flashed(images):
    images[2][:] = 240 + images[2] // 20


DRAWN = {
    "frame": confetti,
    "sticker": lambda images: [face(image) for image in images],
    "particles": snow,
    "tint": lambda images: each(images, tinted),
    "flash": flashed,
    "rgb_split": lambda images: each(images, split),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_told(studio, kind):
    images = pan(studio)
    DRAWN[kind](images)
    found, score = measure(studio, images)
    assert found == kind
    assert score >= 0.6


def test_footage_has_none(studio):
    for images in (pan(studio), pan(studio, 1)):
        kind, score = measure(studio, images)
        assert kind is None
        assert score < 0.3


def test_grey_pictures_have_no_tint(studio):
    images = [np.repeat(studio.texture(WIDTH, HEIGHT, seed)[..., None], 3, axis=2) for seed in range(4)]
    assert measure(studio, images)[1] < 0.3


def test_one_thing_in_its_own_colour_is_no_tint(studio):
    """A wooden table close up: its shadows have no colour."""
    images = [image.mean(axis=2, keepdims=True) / 255 for image in pan(studio)]
    wood = [(image**1.5 * np.array([230, 150, 80])).astype(np.uint8) for image in images]
    assert measure(studio, wood)[0] is None


def test_a_small_mark_and_a_line_of_text_are_no_stickers(studio):
    images = pan(studio)
    for image in images:
        face(image, 560, 20, 40)
    assert measure(studio, images)[0] is None
    images = pan(studio)
    for image in images:
        face(image)
    track = {"x0": 0.6, "y0": 0.1, "x1": 0.85, "y1": 0.55, "text": "read as text"}
    assert measure(studio, images, [track])[0] is None


def test_a_fade_is_no_flash(studio):
    images = [
        (image * share).astype(np.uint8)
        for image, share in zip(pan(studio), (0.1, 0.3, 0.6, 0.9, 1), strict=True)
    ]
    assert measure(studio, images)[0] is None
