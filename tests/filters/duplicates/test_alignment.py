from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.duplicates.alignment import CLOSE, QUICK, QUICK_MARGIN, SIDE_PX, alignment, thumb

EDITS = {
    "nothing": lambda image: image,
    "mirror": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "middle 80 %": lambda image: image[36:324, 64:576],
    "corner 80 %": lambda image: image[:288, :512],
    "middle 65 %": lambda image: image[63:297, 112:528],
    "4:3": lambda image: image[:, 80:560],
    "brighter": lambda image: np.clip(image * 1.2 + 20, 0, 255).astype(np.uint8),
    "blur": lambda image: cv2.GaussianBlur(image, (0, 0), 3),
    "small": lambda image: cv2.resize(image, (160, 90), interpolation=cv2.INTER_AREA),
}


def taken(images):
    return np.stack([np.frombuffer(thumb(cv2, image), np.int8) for image in images])


@pytest.mark.slow
@pytest.mark.parametrize("edit", EDITS)
def test_a_copy_lies_in_its_original_and_the_other_way_round(studio, edit):
    images = [studio.texture(640, 360, seed) for seed in range(12)]
    ones, others = taken(images), taken([EDITS[edit](image) for image in images])
    found = alignment(ones, others)
    assert found.min() > 0.8
    assert np.allclose(found, alignment(others, ones), atol=1e-4)
    assert alignment(ones, others, QUICK).min() > 0.8 - QUICK_MARGIN


@pytest.mark.slow
def test_different_pictures_do_not_lie_in_one_another(studio):
    thumbs = taken([studio.texture(640, 360, seed) for seed in range(40)])
    one, two = np.triu_indices(40, 1)
    found = alignment(thumbs[one], thumbs[two])
    assert found.max() < 0.8
    assert np.median(found) < 0.5


@pytest.mark.parametrize("look", [CLOSE, QUICK])
def test_a_picture_fits_itself_exactly_and_a_flat_one_fits_nothing(studio, look):
    flat = taken([np.full((90, 160), level, np.uint8) for level in (0, 90, 255)])
    assert not flat.any()
    some = taken([studio.texture(160, 90, seed) for seed in range(3)])
    assert alignment(some, some, look) == pytest.approx(np.ones(3), abs=1e-3)
    assert alignment(flat, flat, look).max() <= 0
    assert alignment(flat, some, look).max() <= 0


@pytest.mark.slow
def test_many_pairs_at_once_are_as_good_as_one_by_one(studio):
    thumbs = taken([studio.texture(160, 90, seed) for seed in range(20)])
    one = np.arange(1300) % 20
    two = np.arange(1300) // 20 % 20
    whole = alignment(thumbs[one], thumbs[two])
    assert whole.shape == (1300,)
    single = [alignment(thumbs[one[i : i + 1]], thumbs[two[i : i + 1]])[0] for i in (0, 511, 512, 1299)]
    assert whole[[0, 511, 512, 1299]] == pytest.approx(single, abs=1e-5)
    assert alignment(thumbs[:0], thumbs[:0]).shape == (0,)


def test_a_thumb_is_so_many_bytes_at_full_scale(studio):
    values = np.frombuffer(thumb(cv2, studio.texture(33, 17)), np.int8)
    assert len(values) == SIDE_PX**2
    assert np.abs(values).max() == 127
