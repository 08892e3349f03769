"""Frames fitted to a budget, and the times that a model is told."""

from __future__ import annotations

import numpy as np
import pytest

from captioner.engines.pictures import fitted, metadata, size


@pytest.mark.parametrize(
    ("height", "width", "wanted"),
    [
        (360, 640, (280, 504)),  # 16:9 in 151,200 pixels
        (2160, 3840, (280, 504)),
        (3840, 2160, (504, 280)),
        (100, 130, (84, 112)),  # small: to multiples near it
        (16, 16, (28, 28)),
        (20, 8000, (28, 5376)),  # one multiple is the least
    ],
)
def test_a_size_keeps_the_aspect_within_the_budget(height: int, width: int, wanted: tuple[int, int]) -> None:
    found = size(height, width, 360 * 420, 28)
    assert found == wanted
    assert found[0] * found[1] <= 360 * 420


def test_frames_are_scaled_by_area_and_kept_where_they_fit() -> None:
    images = np.zeros((3, 112, 224, 3), np.uint8)
    images[:, :, 112:] = 200
    halved = fitted(images, 56 * 112, 28)
    assert halved.shape == (3, 56, 112, 3)
    assert halved[:, :, :56].max() == 0
    assert halved[:, :, 56:].min() == 200
    assert fitted(images, 10**6, 28) is images


def test_times_become_indices_at_the_clip_s_own_rate() -> None:
    about = metadata(np.array([0.25, 0.75, 1.25, 1.75]), 24.0)
    assert about["frames_indices"] == [6, 18, 30, 42]
    assert about["total_num_frames"] == 54  # as if the next frame came 12 later
    assert about["duration"] == 54 / 24
    assert about["do_sample_frames"] is False


def test_one_frame_and_an_unknown_rate_have_a_meaning() -> None:
    alone = metadata(np.array([0.5]), 25.0)
    assert (alone["frames_indices"], alone["total_num_frames"]) == ([12], 13)
    unknown = metadata(np.array([0.0, 0.1, 0.2]), 0.0)
    assert unknown["fps"] == 1.0
    assert unknown["total_num_frames"] == 3
