"""Where planted faults are."""

from __future__ import annotations

import numpy as np
import pytest

from review.faults import black_frames, fitted, marked


@pytest.mark.parametrize(
    ("frames", "at", "wanted"),
    [
        (100, 0.5, (45, 55)),
        (100, 0.0, (0, 10)),
        (100, 1.0, (90, 100)),
        (9, 0.5, (3, 6)),
        (1, 0.5, (0, 1)),
        (2, 0.9, (1, 2)),
    ],
)
def test_a_black_run_lies_inside_the_clip(frames: int, at: float, wanted: tuple[int, int]) -> None:
    first, end = black_frames(np.arange(frames + 1) / 20, at)
    assert 0 <= first < end <= frames
    assert (first, end) == pytest.approx(wanted, abs=1)


def test_a_mark_leaves_the_picture_that_it_was_given_alone() -> None:
    picture = np.full((90, 160, 3), 100, np.uint8)
    seen = {marked(picture, kind).tobytes() for kind in range(12)}
    assert len(seen) == 12, "four corners, three shapes"
    assert (picture == 100).all()
    assert marked(picture[:16, :16], 0).shape == (16, 16, 3)


@pytest.mark.parametrize("size", [(160, 90), (90, 160), (33, 17), (640, 480)])
def test_a_picture_is_made_to_fit_without_being_squeezed(size: tuple[int, int]) -> None:
    width, height = size
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[40:60, 40:60] = 255
    found = fitted(picture, width, height)
    assert found.shape == (height, width, 3)
    rows, columns = np.nonzero(found[..., 0] > 127)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=1)
