from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from filters.image_quality import ImageQuality
from pipeline.reasons import Reason
from pipeline.weights import MissingWeight, WrongDigest


@pytest.fixture(scope="module")
def scorer():
    return ImageQuality().load()


def measure(studio, scorer, *images):
    return ImageQuality().measure(scorer, studio.clip(2 * len(images)), studio.batch(images, every_s=2.0))


def score(studio, scorer, image):
    return measure(studio, scorer, image)["iqa_score"]


def noisy(image, sigma):
    noise = np.random.default_rng(1).normal(0, sigma, image.shape[:2])[..., None]
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def coded(image, quality):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_more_blur_noise_and_compression_is_worse(studio, scorer, seed):
    picture = cv2.GaussianBlur(studio.colour(384, 384, seed), (0, 0), 0.7)  # as sharp as a photograph
    ladders = [
        [cv2.GaussianBlur(picture, (0, 0), sigma) for sigma in (1, 2, 4, 8)],
        [noisy(picture, sigma) for sigma in (8, 16, 32, 64)],
        [coded(picture, quality) for quality in (50, 20, 10, 4)],
    ]
    clean = score(studio, scorer, picture)
    for ladder in ladders:
        scores = [score(studio, scorer, image) for image in ladder]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] < clean


def test_the_score_is_the_mean_of_the_frames_that_have_one(studio, scorer):
    sharp, soft = studio.colour(384, 384), cv2.GaussianBlur(studio.colour(384, 384), (0, 0), 3)
    wall = np.full((384, 384, 3), 90, np.uint8)
    row = measure(studio, scorer, sharp, wall, soft)
    alone = [score(studio, scorer, sharp), score(studio, scorer, soft)]
    assert row["iqa_frame_scores"] == alone
    assert row["iqa_score"] == pytest.approx(np.mean(alone))
    assert row["iqa_engine"] == "brisque/1"


def test_at_most_four_frames_are_looked_at(studio, scorer):
    row = measure(studio, scorer, *[studio.colour(64, 64, seed) for seed in range(7)])
    assert len(row["iqa_frame_scores"]) == 4


def test_what_coding_leaves_on_a_wall_is_not_judged(studio, scorer):
    wall = noisy(np.full((384, 384, 3), 128, np.uint8), 1.0)
    assert measure(studio, scorer, wall) == {
        "iqa_score": None,
        "iqa_frame_scores": [],
        "iqa_engine": "brisque/1",
    }


def test_a_score_that_is_no_number_is_an_error(studio):
    @dataclasses.dataclass(frozen=True)
    class Broken:
        label: str = "broken/1"

        def score(self, pictures):
            return [50.0, float("nan")]

    batch = studio.batch([studio.colour(64, 64)] * 2, every_s=2.0)
    (answer,) = ImageQuality().measure_batch(Broken(), [studio.clip(4)], [batch])
    assert answer.reason == Reason.NOT_FINITE


def test_a_missing_or_another_model_is_an_error_that_says_what_to_do(tmp_path):
    stage = ImageQuality(cache=str(tmp_path))
    with pytest.raises(MissingWeight, match=r"rushes weights get iqa\.brisque"):
        stage.load()
    place = tmp_path / "iqa.brisque" / "brisque_live_svm.npz"
    place.parent.mkdir()
    place.write_bytes(b"another version")
    with pytest.raises(WrongDigest, match="not the pinned file"):
        stage.load()
