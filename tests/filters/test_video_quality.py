from __future__ import annotations

import pytest

from filters.video_quality import HALVES, VideoQuality
from pipeline.reasons import Reason
from pipeline.stage import ClipError

CLEAN = {
    "image_quality": {"iqa_frame_scores": [80.0, 60.0], "iqa_engine": "brisque/1"},
    "artifacts": {"blockiness": 0.0, "noise_sigma": 0.0, "combing": 0.0},
    "flicker": {"flicker_score": 0.0},
    "cadence": {"duplicate_frame_ratio": 0.0, "dropped_ratio": 0.0},
}
FAULTS = [(stage, name, half) for stage, of in HALVES.items() for name, half in of.items()]


def score(studio, rows):
    stage = VideoQuality()
    row = stage.measure(stage.load(), studio.clip(5, upstream=rows), None)
    assert row["vqa_engine"] == "pooled/1"
    return row["vqa_score"]


def with_value(stage, name, value):
    return CLEAN | {stage: CLEAN[stage] | {name: value}}


def test_the_worse_half_of_the_frames_counts(studio):
    for scores, quality in (
        ([80.0, 60.0], 0.6),
        ([70.0], 0.7),
        ([90.0, 10.0, 30.0], 0.2),
        ([1.0, 2.0, 99.0, 98.0], 0.015),
    ):
        assert score(studio, with_value("image_quality", "iqa_frame_scores", scores)) == pytest.approx(
            quality
        )


def test_scores_outside_their_scale_are_held_to_it(studio):
    assert score(studio, with_value("image_quality", "iqa_frame_scores", [-40.0])) == 0
    assert score(studio, with_value("image_quality", "iqa_frame_scores", [120.0])) == 1


@pytest.mark.parametrize(("stage", "name", "half"), FAULTS)
def test_every_fault_lowers_the_quality_and_halves_it_at_its_half(studio, stage, name, half):
    scores = [score(studio, with_value(stage, name, size * half)) for size in (0, 0.1, 0.5, 1, 2)]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 5
    assert scores[3] == pytest.approx(scores[0] / 2)


@pytest.mark.parametrize(("stage", "name", "half"), FAULTS)
def test_a_value_that_is_not_there_leaves_none(studio, stage, name, half):
    assert score(studio, with_value(stage, name, None)) is None
    assert score(studio, with_value("image_quality", "iqa_frame_scores", [])) is None


def test_an_engine_of_unknown_scale_is_an_error(studio):
    stage = VideoQuality()
    clip = studio.clip(5, upstream=with_value("image_quality", "iqa_engine", "other/2"))
    (answer,) = stage.measure_batch(stage.load(), [clip], [None])
    assert isinstance(answer, ClipError)
    assert answer.reason == Reason.STAGE_ERROR
    assert "other/2" in answer.message
