from __future__ import annotations

import pyarrow as pa
import pytest

from balance.axes import by_column, motion
from balance.settings import MOTION_EDGES


def test_motion_is_how_fast_and_who_moves():
    table = pa.table(
        {
            "motion_score": [0.01, 0.015, 0.06, 0.3, None, 0.1],
            "camera_motion_score": [0.01, 0.01, 0.06, 0.1, None, None],
            "object_motion_score": [0.0, 0.02, 0.01, 0.3, None, 0.1],
        }
    )
    assert motion(table, MOTION_EDGES).to_pylist() == [
        "still",
        "slow, subject",
        "medium, camera",
        "fast, subject",
        None,
        "medium, subject",
    ]


def test_numbers_are_cut_at_the_edges_and_words_are_as_they_are():
    numbers = pa.chunked_array([[1.0, 2.0], [None, 7.5, float("nan")]])
    assert by_column(numbers, (2, 5)).to_pylist() == ["0: under 2", "1: 2 to 5", None, "2: 5 and more", None]
    assert by_column(pa.chunked_array([["x", None]]), ()).to_pylist() == ["x", None]
    assert by_column(pa.chunked_array([[True, False]]), ()).to_pylist() == ["true", "false"]
    assert by_column(pa.chunked_array([[3, 1]]), ()).to_pylist() == ["3", "1"]
    assert by_column(pa.chunked_array([[3, 1]]), (2,)).to_pylist() == ["1: 2 and more", "0: under 2"]


@pytest.mark.parametrize(
    ("values", "edges", "sentence"),
    [
        ([0.5], (), "its axis needs edges"),
        (["x"], (1,), "which edges cannot cut"),
        ([[1]], (), "an axis is about single values"),
        ([b"x"], (), "an axis is about single values"),
    ],
)
def test_columns_that_are_no_axis(values, edges, sentence):
    with pytest.raises(ValueError, match=sentence):
        by_column(pa.chunked_array([pa.array(values)]), edges)
