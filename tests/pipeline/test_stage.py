from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.reasons import Reason
from pipeline.stage import ClipError, checked

COLUMN = pa.schema([pa.field("value", pa.float32())])


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "within",
    [
        float,
        np.float32,
        np.float16,
        lambda number: [0.5, number],
        lambda number: (0.5, np.float32(number)),
        lambda number: np.array([0.5, number], np.float32),
        lambda number: np.array([[0.5, number]]),
        lambda number: [{"score": number, "label": "dog"}],
        lambda number: {"points": [[0.5], [number]]},
    ],
)
def test_a_number_that_is_none_is_an_error_wherever_it_lies(within: Any, wrong: float) -> None:
    with pytest.raises(ClipError, match=f"value is {wrong}") as caught:
        checked(COLUMN, {"value": within(wrong)})
    assert caught.value.reason is Reason.NOT_FINITE
    assert checked(COLUMN, {"value": within(0.25)}).keys() == {"value"}


@pytest.mark.parametrize(
    "value", [None, "nan", True, 3, [], ["x", None], b"x", np.array([1, 2]), np.int64(2)]
)
def test_whatever_is_no_fraction_passes(value: Any) -> None:
    assert checked(COLUMN, {"value": value}) == {"value": value}


@pytest.mark.parametrize("row", [{}, {"value": 1.0, "other": 1.0}, {"other": 1.0}])
def test_a_row_has_the_stages_columns(row: dict[str, float]) -> None:
    with pytest.raises(TypeError, match=r"columns are \['value'\]"):
        checked(COLUMN, row)
