"""Which part of a picture a pool's shards show."""

from __future__ import annotations

import pytest

from jobs.crops import crop_of

ROW = {
    "border_left_ratio": 0.0,
    "border_top_ratio": 0.1,
    "border_right_ratio": 0.0,
    "border_bottom_ratio": 0.2,
    "crop_x0": 0.0,
    "crop_y0": 0.1,
    "crop_x1": 0.9,
    "crop_y1": 0.7,
}


@pytest.mark.parametrize(
    ("kind", "crop"),
    [("none", (0, 0, 1, 1)), ("border", (0, 0.1, 1, 0.8)), ("clean", (0, 0.1, 0.9, 0.7))],
)
def test_by_the_recipe(kind, crop):
    assert crop_of(ROW, kind) == crop


def test_where_the_rectangle_is_not_known_the_bars_are_cut():
    assert crop_of(ROW | {"crop_x1": None}, "clean") == (0, 0.1, 1, 0.8)


def test_where_nothing_is_known_the_whole_is_shown():
    assert crop_of({}, "clean") == crop_of(ROW | {"border_top_ratio": None}, "border") == (0, 0, 1, 1)
