from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.split import Split

FRAMES = 5


def coded(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_COLOR)


@pytest.fixture(scope="module")
def videos(studio):
    """Four videos of FRAMES pictures that pan over soft textures, as of things near the camera, 640 x 360."""
    soft = [cv2.GaussianBlur(studio.colour(760, 380, seed), (0, 0), 4) for seed in range(4)]
    whole = [np.clip(3 * (one.astype(np.float32) - 128) + 128, 0, 255).astype(np.uint8) for one in soft]
    return [[one[4 * i : 4 * i + 360, 20 * i : 20 * i + 640] for i in range(FRAMES)] for one in whole]


def measure(studio, images):
    stage = Split()
    row = stage.measure(
        stage.load(), studio.clip(len(images)), studio.batch([coded(image) for image in images])
    )
    rects = [[box[side] for side in ("x0", "y0", "x1", "y1")] for box in row["split_boxes"]]
    return row["split_kind"], row["split_score"], rects


def beside(one, two, gap=0, place=320):
    return [
        np.hstack([a[:, : place - gap], np.full((360, gap, 3), 255, np.uint8), b[:, : 640 - place]])
        for a, b in zip(one, two, strict=True)
    ]


def above(one, two, place=180):
    return [np.vstack([a[:place], b[: 360 - place]]) for a, b in zip(one, two, strict=True)]


@pytest.mark.parametrize(("gap", "place"), [(0, 320), (12, 320), (0, 213)])
def test_side_by_side(studio, videos, gap, place):
    kind, score, rects = measure(studio, beside(videos[0], videos[1], gap, place))
    assert kind == "side_by_side"
    assert score > 0.8
    assert [rect[0] for rect in rects] == pytest.approx([0, (place - gap / 2) / 640], abs=0.012)
    assert [rect[2] for rect in rects] == pytest.approx([(place - gap / 2) / 640, 1], abs=0.012)


def test_stacked_and_a_grid(studio, videos):
    kind, score, rects = measure(studio, above(videos[0], videos[1]))
    assert (kind, len(rects)) == ("stacked", 2)
    assert score > 0.8
    left, right = above(videos[0], videos[1]), above(videos[2], videos[3])
    kind, _, rects = measure(studio, beside(left, right))
    assert (kind, len(rects)) == ("grid", 4)
    assert np.array(rects) == pytest.approx(
        np.array([[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0.5, 0, 1, 0.5], [0.5, 0.5, 1, 1]]), abs=0.01
    )


def inset(outer, inner, corners):
    left, top, right, bottom = corners
    images = [image.copy() for image in outer]
    for image, small in zip(images, inner, strict=True):
        image[top:bottom, left:right] = cv2.resize(small, (right - left, bottom - top))
    return images


@pytest.mark.parametrize("corners", [(440, 220, 620, 340), (20, 16, 148, 88), (430, 244, 640, 360)])
def test_picture_in_picture(studio, videos, corners):
    kind, score, rects = measure(studio, inset(videos[0], videos[1], corners))
    assert kind == "picture_in_picture"
    assert score >= 0.72
    left, top, right, bottom = corners
    assert rects[0] == pytest.approx([left / 640, top / 360, right / 640, bottom / 360], abs=0.012)


def test_a_still_poster_is_no_picture_in_picture(studio, videos):
    posters = inset(videos[0], [videos[1][0]] * FRAMES, (440, 220, 620, 340))
    assert measure(studio, posters) == (None, 0.0, [])


def pole(videos):
    """A post through the whole picture, its edges soft, before a scene that goes on behind it."""
    images = [image.copy() for image in videos[0]]
    for image in images:
        image[:, 300:330] = 70
        image[:, 290:340] = cv2.blur(image, (9, 1))[:, 290:340]
    return images


def lines(videos):
    """A cross drawn over the picture."""
    images = [image.copy() for image in videos[0]]
    for image in images:
        image[:, 319:321] = image[179:181] = 255
    return images


def bars(videos):
    images = [image.copy() for image in videos[0]]
    for image in images:
        image[:60] = image[300:] = 0
    return images


def test_one_picture_is_no_split(studio, videos):
    for images in (videos[0], videos[0][:1], pole(videos), lines(videos), bars(videos)):
        assert measure(studio, images) == (None, 0.0, [])


def test_black_small_and_portrait(studio, videos):
    assert measure(studio, [np.zeros((360, 640, 3), np.uint8)] * 3) == (None, 0.0, [])
    assert measure(studio, [image[:16, :16] for image in videos[0]]) == (None, 0.0, [])
    turned = [image.transpose(1, 0, 2) for image in beside(videos[0], videos[1])]
    assert measure(studio, turned)[0] == "stacked"
