"""Overlays drawn on footage that moves, and on footage that stands."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.overlay import Overlay

WIDTH, HEIGHT = 640, 360


def coded(image):
    """As JPEG leaves it."""
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1], cv2.IMREAD_COLOR)


def pan(studio, step_px, count=5, seed=0):
    """A camera that moves over a scene by so many pixels a frame."""
    scene = studio.colour(WIDTH + abs(step_px) * count, HEIGHT, seed)
    return [scene[:, i * step_px : i * step_px + WIDTH].copy() for i in range(count)]


def badge(image, left=520, top=30, opacity=1.0):
    """A drawn mark of 90 x 40 pixels; gives its corners as shares."""
    over = image.copy()
    cv2.rectangle(over, (left, top), (left + 40, top + 40), (220, 30, 40), -1)
    cv2.circle(over, (left + 20, top + 20), 12, (255, 255, 255), -1)
    cv2.putText(over, "TV", (left + 46, top + 34), cv2.FONT_HERSHEY_DUPLEX, 1.1, (255, 255, 255), 3)
    image[:] = cv2.addWeighted(over, opacity, image, 1 - opacity, 0)
    return left / WIDTH, top / HEIGHT, (left + 90) / WIDTH, (top + 40) / HEIGHT


def measure(studio, images):
    stage = Overlay()
    return stage.measure(stage.load(), studio.clip(len(images)), studio.batch([coded(one) for one in images]))


@pytest.mark.parametrize("opacity", [1.0, 0.4])
@pytest.mark.parametrize("place", [(520, 30), (30, 290), (270, 160)])
def test_a_mark_is_found_where_it_is(studio, opacity, place):
    images = pan(studio, 40)
    drawn, *_ = [badge(image, *place, opacity) for image in images]
    row = measure(studio, images)
    (found,) = row["overlay_boxes"]
    assert [found[name] for name in ("x0", "y0", "x1", "y1")] == pytest.approx(drawn, abs=0.025)
    assert row["overlay_moving_ratio"] > 0.85
    assert (found["score"] >= 0.75) == (opacity == 1)
    assert found["score"] >= 0.3
    area_ratio = 90 * 40 / WIDTH / HEIGHT if opacity == 1 else 0
    assert row["overlay_area_ratio"] == pytest.approx(area_ratio, rel=0.4)


@pytest.mark.parametrize("step_px", [5, 13, 40, 120])
def test_a_moving_camera_alone_leaves_nothing_standing(studio, step_px):
    row = measure(studio, pan(studio, step_px))
    assert (row["overlay_boxes"], row["overlay_area_ratio"]) == ([], 0)
    assert row["overlay_moving_ratio"] > 0.9


def test_on_footage_that_stands_nothing_can_be_said(studio):
    images = [studio.colour(WIDTH, HEIGHT) for _ in range(5)]
    for i, image in enumerate(images):
        badge(image)
        cv2.circle(
            image, (100 + 100 * i, 200), 40, (250, 250, 90), -1
        )  # something that moves through the scene
    row = measure(studio, images)
    assert row["overlay_boxes"] is row["overlay_area_ratio"] is None
    assert row["overlay_moving_ratio"] < 0.4


def test_a_window_beside_what_moves_is_no_overlay(studio):
    """Two thirds of the picture move; at the left stands a wall with a window."""
    wall = np.full((HEIGHT, 200, 3), 120, np.uint8)
    cv2.rectangle(wall, (40, 60), (150, 220), (240, 240, 230), 6)
    cv2.line(wall, (95, 60), (95, 220), (240, 240, 230), 6)
    cv2.line(wall, (40, 140), (150, 140), (240, 240, 230), 6)
    images = pan(studio, 40)
    for image in images:
        image[:, :200] = wall
    assert not measure(studio, images)["overlay_boxes"]


def test_a_horizon_under_a_pan_is_no_overlay(studio):
    images = pan(studio, 40)
    for image in images:
        image[:150] = (170, 200, 240)
        image[146:150] = (255, 255, 255)
    assert measure(studio, images)["overlay_boxes"] == []


def test_tiles_are_found_one_by_one(studio):
    images = pan(studio, 40)
    for image in images:
        for top in (20, 140, 260):
            for left in (40, 260, 480):
                badge(image, left, top, 0.8)
    row = measure(studio, images)
    assert [box["score"] >= 0.5 for box in row["overlay_boxes"]] == [True] * 9
    assert row["overlay_area_ratio"] == pytest.approx(9 * 90 * 40 / WIDTH / HEIGHT, rel=0.3)


def test_an_image_a_flat_and_a_tiny_picture_say_nothing(studio):
    tiny = [studio.colour(WIDTH, 64, seed) for seed in range(4)]
    for images in ([studio.colour(WIDTH, HEIGHT)], [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 4, tiny):
        row = measure(studio, images)
        assert (row["overlay_boxes"], row["overlay_moving_ratio"]) == (None, 0)


def test_a_caption_that_shows_for_a_part_of_the_clip_does_not_stand(studio):
    images = pan(studio, 40, 6)
    for image in images[:3]:
        studio.write(image, "see you tomorrow", (180, 330), 1.0, 2)
    assert measure(studio, images)["overlay_boxes"] == []
