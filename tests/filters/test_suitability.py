from __future__ import annotations

import pytest

from filters.suitability import Suitability
from pipeline.stage import ClipError

GOOD = {
    "motion": {"motion_score": 0.05, "jitter": 0.0},
    "static": {"static_ratio": 0.0},
    "black": {"black_ratio": 0.0},
    "border": {"clean_area_ratio": 1.0},
    "text": {"text_area_ratio": 0.0},
    "video_quality": {"vqa_score": 0.9, "vqa_engine": "pooled/1"},
    "aesthetic": {"aesthetic_score": 0.5, "aesthetic_engine": "rules/1"},
}
LADDERS = [
    ("motion", "motion_score", (0.0, 0.01, 0.1, 1.0)),
    ("motion", "jitter", (2.0, 1.0, 0.1, 0.0)),
    ("static", "static_ratio", (1.0, 0.5, 0.1, 0.0)),
    ("black", "black_ratio", (1.0, 0.5, 0.1, 0.0)),
    ("border", "clean_area_ratio", (0.3, 0.5, 0.8, 1.0)),
    ("text", "text_area_ratio", (0.4, 0.1, 0.01, 0.0)),
    ("video_quality", "vqa_score", (0.0, 0.3, 0.6, 1.0)),
    ("aesthetic", "aesthetic_score", (0.0, 0.3, 0.6, 1.0)),
]


def score(studio, stage, name, value):
    suitability = Suitability()
    clip = studio.clip(5, upstream=GOOD | {stage: GOOD[stage] | {name: value}})
    row = suitability.measure(suitability.load(), clip, None)
    assert row["vtss_engine"] == "columns/1"
    return row["vtss_score"]


def test_it_is_the_cube_root_of_the_three_parts(studio):
    assert score(studio, "motion", "jitter", 0.0) == pytest.approx((0.5 * 0.7 * 1) ** (1 / 3))
    assert score(studio, "text", "text_area_ratio", 0.05) == pytest.approx((0.5 * 0.7 * 0.5) ** (1 / 3))


@pytest.mark.parametrize(("stage", "name", "worse_to_better"), LADDERS)
def test_every_column_acts_one_way(studio, stage, name, worse_to_better):
    scores = [score(studio, stage, name, value) for value in worse_to_better]
    assert scores == sorted(scores)
    assert len(set(scores)) == 4
    assert 0 <= scores[0] < scores[-1] <= 1


@pytest.mark.parametrize(("stage", "name", "worse_to_better"), LADDERS)
def test_a_value_that_is_not_there_leaves_none(studio, stage, name, worse_to_better):
    if name != "jitter":
        assert score(studio, stage, name, None) is None


def test_a_clip_of_one_pair_has_no_jitter_and_still_a_score(studio):
    assert score(studio, "motion", "jitter", None) == score(studio, "motion", "jitter", 0.0)


def test_an_engine_of_unknown_scale_is_an_error(studio):
    suitability = Suitability()
    rows = GOOD | {"aesthetic": {"aesthetic_score": 6.1, "aesthetic_engine": "someone/1"}}
    (answer,) = suitability.measure_batch(suitability.load(), [studio.clip(5, upstream=rows)], [None])
    assert isinstance(answer, ClipError)
    assert "someone/1" in answer.message
