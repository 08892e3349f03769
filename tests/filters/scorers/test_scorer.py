"""Scores of any engine on one scale."""

from __future__ import annotations

import math

import pytest

from filters.scorers.scorer import unit
from pipeline.reasons import Reason
from pipeline.stage import ClipError


def test_a_score_is_held_to_the_scale_of_its_engine():
    assert [unit(score, "brisque/1") for score in (-50.0, 0.0, 25.0, 100.0, 130.0)] == [
        0.0,
        0.0,
        0.25,
        1.0,
        1.0,
    ]


def test_an_engine_without_a_scale_is_an_error():
    with pytest.raises(ClipError, match="the scale of nobody/1 is not known"):
        unit(1.0, "nobody/1")


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_has_no_place_on_the_scale(score):
    with pytest.raises(ClipError) as caught:
        unit(score, "brisque/1")
    assert caught.value.reason is Reason.NOT_FINITE
