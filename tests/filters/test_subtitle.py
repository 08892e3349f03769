"""Subtitles and signs, their boxes given as an OCR engine would read them from the drawn frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.boxes import box
from filters.overlay import Overlay
from filters.signals.tracks import Reading, tracks
from filters.subtitle import Subtitle

WIDTH, HEIGHT = 640, 360


def pan(studio, step_px, count=5):
    scene = studio.colour(WIDTH + step_px * count, HEIGHT)
    return [scene[:, i * step_px : i * step_px + WIDTH].copy() for i in range(count)]


def line(studio, image, words, baseline, left=None, size=0.8):
    """Writes centred words, outlined in black; gives the box of the line."""
    (width, _), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, size, 2)
    left = (WIDTH - width) // 2 if left is None else left
    cv2.putText(image, words, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), 5, cv2.LINE_AA)
    corners = studio.write(image, words, (left, baseline), size, 2)
    return box(corners, WIDTH, HEIGHT, 0.9)


def measure(studio, images, lines):
    """`lines` are (index of the image, box, words) of the frames that were looked at; an index alone has no line."""
    batch = studio.batch(images)
    looked = sorted({int(batch.frames[i]) for i, *_ in lines})
    read = [Reading({"frame": int(batch.frames[i]), **rest[0]}, rest[1]) for i, *rest in lines if rest]
    text = {
        "text_boxes": [one.box for one in read],
        "text_tracks": tracks(read, looked),
        "text_frames": looked,
    }
    overlay = Overlay()
    upstream = {"text": text, "overlay": overlay.measure(overlay.load(), studio.clip(len(images)), batch)}
    stage = Subtitle()
    row = stage.measure(stage.load(), studio.clip(len(images), upstream=upstream), batch)
    return tuple(row[f"subtitle_{name}ratio"] for name in ("", "top_", "bottom_"))


@pytest.mark.parametrize("baseline", [335, 40])
def test_a_line_that_stands_while_the_picture_moves(studio, baseline):
    images = pan(studio, 40)
    (place, *_) = [line(studio, image, "where are you going", baseline) for image in images]
    assert measure(studio, images, [(2, place, "where are you going")]) == (1, place["y0"], place["y1"])


def test_two_lines_are_one_band(studio):
    images = pan(studio, 40)
    upper, *_ = [line(studio, image, "nobody knows", 300) for image in images]
    lower, *_ = [line(studio, image, "the answer", 335) for image in images]
    found = measure(studio, images, [(2, upper, "nobody knows"), (2, lower, "the answer")])
    assert found == (1, upper["y0"], lower["y1"])


def test_words_that_come_and_go_before_a_picture_that_stands(studio):
    images = [studio.colour(WIDTH, HEIGHT) for _ in range(5)]
    place = line(studio, images[2], "come back before dawn", 335)
    assert measure(studio, images, [(2, place, "come back before dawn")])[0] == 1


def test_other_words_at_the_same_height_follow(studio):
    images = [studio.colour(WIDTH, HEIGHT) for _ in range(8)]
    first, *_ = [line(studio, image, "it was never yours", 335) for image in images[:4]]
    second, *_ = [line(studio, image, "wait here for me", 335) for image in images[4:]]
    found = measure(studio, images, [(1, first, "it was never yours"), (6, second, "wait here for me")])
    assert found[0] == 1


def test_the_share_of_the_frames_that_show_a_line(studio):
    images = pan(studio, 40, 8)
    place, *_ = [line(studio, image, "only at first", 335) for image in images[:4]]
    assert measure(studio, images, [(1, place, "only at first"), (6,)])[0] == 0.5


def test_a_ticker_needs_no_other_sign(studio):
    images = pan(studio, 10)
    left, right = (box(corners, WIDTH, HEIGHT, 0.9) for corners in ((0, 310, 300, 335), (310, 310, 640, 335)))
    assert measure(studio, images, [(2, left, "storm reaches"), (2, right, "the coast")])[0] == 1


def test_a_sign_in_a_scene_that_moves_is_no_subtitle(studio):
    scene = studio.colour(WIDTH + 5 * 30, HEIGHT)
    sign = line(studio, scene, "MAIN STREET", 330, left=290)
    images = [scene[:, i * 30 : i * 30 + WIDTH].copy() for i in range(5)]
    place = {**sign, "x0": sign["x0"] - 60 / WIDTH, "x1": sign["x1"] - 60 / WIDTH}
    assert measure(studio, images, [(2, place, "MAIN STREET")]) == (0, None, None)


def test_a_line_before_a_picture_that_stands_all_the_time_cannot_be_told(studio):
    images = [studio.colour(WIDTH, HEIGHT)] * 5
    place = line(studio, images[0], "OPEN ALL DAY", 335)
    assert measure(studio, images, [(2, place, "OPEN ALL DAY")]) == (None, None, None)
    assert measure(studio, images[:1], [(0, place, "OPEN ALL DAY")]) == (None, None, None)


@pytest.mark.parametrize(("baseline", "left", "size"), [(190, None, 0.8), (335, 20, 0.8), (335, None, 2.6)])
def test_text_set_otherwise_is_none(studio, baseline, left, size):
    """In the middle, at one side, or as large as a title."""
    images = pan(studio, 40)
    words = "TITLE" if size > 1 else "some words"
    place, *_ = [line(studio, image, words, baseline, left, size) for image in images]
    assert measure(studio, images, [(2, place, words)]) == (0, None, None)


def test_a_mark_that_stands_longer_than_any_subtitle_is_none(studio):
    images = pan(studio, 40, 10)
    place, *_ = [line(studio, image, "rushes archive", 335) for image in images]
    assert measure(studio, images, [(5, place, "rushes archive")]) == (0, None, None)
    assert measure(studio, images[:6], [(3, place, "rushes archive")])[0] == 1


def test_no_text_is_no_subtitle(studio):
    assert measure(studio, pan(studio, 40), [(2,)]) == (0, None, None)
    assert measure(studio, [np.zeros((HEIGHT, WIDTH, 3), np.uint8)], [(0,)]) == (0, None, None)
