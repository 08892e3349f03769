from __future__ import annotations

import pytest

from filters.base import longest_run_s, spread
from filters.faces import Faces


@pytest.mark.parametrize(
    ("count", "duration_s", "every_s", "most", "chosen"),
    [
        (1, 0.04, 2, 4, [0]),
        (5, 5, 2, 4, [0, 2, 4]),
        (8, 8, 2, 4, [1, 3, 5, 7]),
        (60, 60, 2, 4, [7, 22, 37, 52]),
        (2, 100, 2, 4, [0, 1]),
        (8, 8, 4, 4, [2, 6]),
        (6, 5.9, 4, 4, [3]),
    ],
)
def test_frames_are_spread_evenly(count, duration_s, every_s, most, chosen):
    assert spread(count, duration_s, every_s, most) == chosen


@pytest.mark.parametrize(
    ("flags", "run_s"),
    [([0, 0, 0], 0), ([1, 1, 1], 3.5), ([1, 0, 1], 1.5), ([0, 1, 0], 1), ([1, 1, 0], 2)],
)
def test_the_longest_run_lasts_until_the_next_sample(flags, run_s):
    assert longest_run_s([bool(flag) for flag in flags], [0.0, 1.0, 2.0], 3.5) == run_s


def test_where_the_weights_lie_is_no_setting():
    assert Faces(cache="/elsewhere").fingerprint({}) == Faces().fingerprint({})
    assert Faces(cache="/elsewhere") != Faces()
