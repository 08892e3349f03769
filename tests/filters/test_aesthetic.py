from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.aesthetic import Aesthetic
from filters.exposure import LUMA


def score(studio, *images):
    stage = Aesthetic()
    row = stage.measure(stage.load(), studio.clip(2 * len(images)), studio.batch(images, every_s=2.0))
    assert row["aesthetic_engine"] == "rules/1"
    return row["aesthetic_score"]


def spot(x, y, colour=(200, 60, 60), ground=(90, 110, 130)):
    """One disc on an even ground, at shares of the width and height."""
    image = np.full((360, 640, 3), ground, np.uint8)
    cv2.circle(image, (round(640 * x), round(360 * y)), 36, colour, -1, cv2.LINE_AA)
    return image


def faded(image, share):
    """Towards gray of the same luma."""
    gray = (image @ LUMA)[..., None]
    return np.round(gray + (image - gray) * share).astype(np.uint8)


def test_colour_contrast_and_middle_light_are_better(studio):
    picture = studio.colour(640, 360)
    ladders = [
        [faded(spot(1 / 3, 1 / 3, (250, 130, 130)), share) for share in (0.0, 0.4, 0.7, 1.0)],
        [(128 + (picture - 128.0) * share).astype(np.uint8) for share in (0.1, 0.3, 0.6, 1.0)],
        [(picture * share).astype(np.uint8) for share in (0.1, 0.3, 0.6, 1.0)],
    ]
    for ladder in ladders:
        scores = [score(studio, image) for image in ladder]
        assert scores == sorted(scores)
        assert 0 < scores[0] < scores[-1] < 1


def test_a_subject_on_the_thirds_is_better_than_one_in_a_corner(studio):
    on = [score(studio, spot(x / 3, y / 3)) for x in (1, 2) for y in (1, 2)]
    corner, middle = score(studio, spot(0.08, 0.12)), score(studio, spot(0.5, 0.5))
    assert max(corner, middle) < min(on)


def test_black_and_white_keeps_half_of_its_colour(studio):
    lit = cv2.cvtColor(studio.texture(640, 360), cv2.COLOR_GRAY2RGB)
    tinted = np.clip(lit.astype(float) + studio.colour(640, 360, 3) * (0.3, 0, -0.3), 0, 255).astype(np.uint8)
    assert 0.8 * score(studio, tinted) < score(studio, lit) < score(studio, tinted)


def test_flat_pictures_are_left_out(studio):
    wall, picture = np.full((360, 640, 3), 80, np.uint8), studio.colour(640, 360)
    assert score(studio, wall) is None
    assert score(studio, wall, picture) == score(studio, picture)


@pytest.mark.parametrize("size", [(16, 16), (16, 1920), (1920, 16)])
def test_the_smallest_pictures_have_a_score_too(studio, size):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert 0 < score(studio, noise) < 1
