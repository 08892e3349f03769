"""BRISQUE (Mittal, Moorthy, Bovik 2012): how natural the statistics of a picture's luma are, as one number.

"No-Reference Image Quality Assessment in the Spatial Domain", IEEE TIP 21(12). Luma, less its local mean and over its
local deviation, is close to Gaussian in undistorted photographs; what blur, noise and coding do to it shows in 18
parameters of fitted distributions at each of two scales. A support vector regression trained on the LIVE database
turns the 36 into a difference mean opinion score: about 0 for a pristine picture, 100 for a ruined one.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from filters.base import Gray, Rgb, one_thread_cv2
from pipeline.weights import WrongDigest

Values = npt.NDArray[np.float64]

FLAT_LEVEL = 2.0
"""Standard deviation of luma levels below which a picture has nothing to judge. Ours."""
TAPS, SIGMA = 7, 7 / 6
"""Of the Gaussian window of local mean and deviation (section III-A)."""
SHAPES = np.arange(200, 10_001) / 1000
"""Shapes of the distributions that are tried: the grid of the authors' release."""
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (-1, 1))
"""Rows and columns of the shift for each of the four products of neighbours (section III-B)."""
HALVING = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
"""The filter that halves a picture: Keys' cubic at twice its width, as MATLAB's imresize does it."""
ARRAYS = {"sv": (-1, 36), "sv_coef": (-1,), "gamma": (), "rho": (), "feat_min": (36,), "feat_range": (36,)}
"""Of the model: support vectors, their coefficients, the kernel, the offset, the range of each feature."""
MIN_SIDE_PX = 32
"""Smaller pictures have too few pixels at half size for the fits. Ours."""


class Brisque:
    """The published regression. Raises WrongDigest where the file is no such model."""

    def __init__(self, model: Path) -> None:
        self._cv2 = one_thread_cv2()
        arrays = _arrays(model)
        self._vectors, self._coefficients = arrays["sv"], arrays["sv_coef"]
        self._low, self._range = arrays["feat_min"], arrays["feat_range"]
        self._gamma, self._rho = float(arrays["gamma"]), float(arrays["rho"])
        self._ratios = np.array([_moment_ratio(shape) for shape in SHAPES])

    def score(self, luma: Gray) -> float | None:
        """BRISQUE of a picture, (height, width) uint8; lower is better. None where `features` are."""
        features = self.features(luma)
        if features is None:
            return None
        scaled = 2 * (features - self._low) / self._range - 1
        distances = ((self._vectors - scaled) ** 2).sum(axis=1)
        return float(np.exp(-self._gamma * distances) @ self._coefficients) - self._rho

    def features(self, luma: Gray) -> Values | None:
        """(36,) parameters, those at full size first; None for a picture without contrast or under 32 pixels."""
        if min(luma.shape) < MIN_SIDE_PX:
            return None
        full = luma.astype(np.float64)
        scales = self._scale(full), self._scale(self._halved(full))
        if scales[0] is None or scales[1] is None:
            return None
        return np.array([*scales[0], *scales[1]])

    def _halved(self, luma: Values) -> Values:
        cv2 = self._cv2
        smooth = cv2.sepFilter2D(
            luma, cv2.CV_64F, HALVING, HALVING, anchor=(3, 3), borderType=cv2.BORDER_REFLECT
        )
        return np.ascontiguousarray(smooth[::2, ::2])

    def _scale(self, luma: Values) -> list[float] | None:
        normal = self._normalised(luma)
        fits = [_sums(normal)]
        fits += [_sums(normal * np.roll(normal, shift, axis=(0, 1))) for shift in NEIGHBOURS]
        if any(fit[-1] == 0 for fit in fits):
            return None
        values = self._symmetric(fits[0], normal.size)
        for fit in fits[1:]:
            values += self._asymmetric(fit, normal.size)
        return values

    def _normalised(self, luma: Values) -> Values:
        """Equation 1: luma less its local mean, over its local deviation and one level."""
        cv2 = self._cv2
        window = cv2.getGaussianKernel(TAPS, SIGMA)
        mean, square = (
            cv2.sepFilter2D(plane, cv2.CV_64F, window, window, borderType=cv2.BORDER_CONSTANT)
            for plane in (luma, luma * luma)
        )
        deviation = np.sqrt(np.abs(square - mean * mean))
        normal: Values = (luma - mean) / (deviation + 1)
        return normal

    def _symmetric(self, sums: tuple[float, ...], count: int) -> list[float]:
        """Shape and variance of the generalised Gaussian with these moments (Sharifi and Leon-Garcia 1995)."""
        _, _, below, above, total = sums
        variance = (below + above) / count
        return [self._shape((total / count) ** 2 / variance), variance]

    def _asymmetric(self, sums: tuple[float, ...], count: int) -> list[float]:
        """Shape, mean and the two variances of the asymmetric one (Lasmar, Stitou, Berthoumieu 2009)."""
        fewer, more, below, above, total = sums
        left, right = math.sqrt(below / max(fewer, 1)), math.sqrt(above / max(more, 1))
        ratio = (total / count) ** 2 / ((below + above) / count)
        ratio *= (left**3 + right**3) * (left + right) / (left**2 + right**2) ** 2
        shape = self._shape(ratio)
        spread = math.lgamma(2 / shape) - (math.lgamma(1 / shape) + math.lgamma(3 / shape)) / 2
        return [shape, (right - left) * math.exp(spread), left**2, right**2]

    def _shape(self, ratio: float) -> float:
        return float(SHAPES[np.abs(self._ratios - ratio).argmin()])


def _arrays(model: Path) -> dict[str, Values]:
    try:
        with model.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name], np.float64) for name in ARRAYS}
    except (KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise WrongDigest(f"{model} is not a BRISQUE model: {error}") from error
    vectors = len(arrays["sv"]) if arrays["sv"].ndim else 0
    for name, shape in ARRAYS.items():
        if arrays[name].shape != tuple(vectors if side < 0 else side for side in shape):
            raise WrongDigest(f"{model} is not a BRISQUE model: {name} has the shape {arrays[name].shape}")
    return arrays


def _moment_ratio(shape: float) -> float:
    """Squared mean of the absolute values over the mean square, of a generalised Gaussian of this shape."""
    return math.exp(2 * math.lgamma(2 / shape) - math.lgamma(1 / shape) - math.lgamma(3 / shape))


def _sums(values: Values) -> tuple[float, ...]:
    """How many lie below zero and above it, the sums of squares of both, and the sum of absolute values."""
    below, above = np.minimum(values, 0), np.maximum(values, 0)
    squares = float(np.einsum("ij,ij->", below, below)), float(np.einsum("ij,ij->", above, above))
    counts = float(np.count_nonzero(below)), float(np.count_nonzero(above))
    return *counts, *squares, float(above.sum() - below.sum())


class BrisqueScorer:
    """BRISQUE turned over: 100 less its score."""

    label = "brisque/1"

    def __init__(self, model: Brisque) -> None:
        self._cv2 = one_thread_cv2()
        self._model = model

    def score(self, pictures: Sequence[Rgb]) -> list[float | None]:
        """See PictureScorer."""
        return [self._picture(picture) for picture in pictures]

    def _picture(self, picture: Rgb) -> float | None:
        luma = self._cv2.cvtColor(picture, self._cv2.COLOR_RGB2GRAY)
        worse = self._model.score(luma) if luma.std() >= FLAT_LEVEL else None
        return None if worse is None else 100.0 - worse
