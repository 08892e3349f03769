"""Rules of thumb for a pleasing picture: colour, contrast, light, and where what stands out lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Rgb, one_thread_cv2
from filters.exposure import LUMA
from filters.scorers.scorer import less

Plane = npt.NDArray[np.float32]
SIDE_PX = 64
"""Pictures are squeezed to this square: the size at which spectral residuals find objects (Hou and Zhang 2007)."""
FLAT_LEVEL = 2.0
"""Standard deviation of luma levels below which there is no composition to judge."""
COLOURFUL_HALF = 45.0
"""Hasler and Suesstrunk's value for "averagely colourful"."""
CONTRAST_HALF = 0.2
"""RMS contrast of a usual photograph, of full range."""
THIRDS_SIGMA = 0.1
"""Of the picture's sides: how near to a crossing of the thirds is on it."""


class RulesScorer:
    """The geometric mean of colour, contrast, exposure and composition: any of them may spoil a picture."""

    label = "rules/1"

    def __init__(self) -> None:
        self._cv2 = one_thread_cv2()

    def score(self, pictures: Sequence[Rgb]) -> list[float | None]:
        """See PictureScorer."""
        return [self._picture(picture) for picture in pictures]

    def _picture(self, picture: Rgb) -> float | None:
        cv2 = self._cv2
        rgb = cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
        luma = rgb @ LUMA
        if luma.std() < FLAT_LEVEL:
            return None
        # Black and white is no fault: it keeps half.
        colour = 1 - less(_colourfulness(rgb), COLOURFUL_HALF) / 2
        contrast = 1 - less(float(luma.std()) / 255, CONTRAST_HALF)
        light = float(luma.mean()) / 255
        exposure = 4 * light * (1 - light)
        composition = 1 - less(_on_thirds(_saliency(cv2, luma)), 1.0)
        return float((colour * contrast * exposure * composition) ** 0.25)


def _colourfulness(rgb: Plane) -> float:
    """M of Hasler and Suesstrunk 2003, "Measuring colourfulness in natural images": 0 gray to about 109."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    across, along = red - green, (red + green) / 2 - blue
    spread = np.hypot(across.std(), along.std())
    return float(spread + 0.3 * np.hypot(across.mean(), along.mean()))


def _saliency(cv2: Any, luma: Plane) -> Plane:
    """(64, 64) what stands out: the part of the log spectrum that its neighbourhood does not foretell."""
    spectrum = np.fft.fft2(luma)
    size = np.log(np.abs(spectrum) + 1)
    residual = size - cv2.blur(size, (3, 3))
    sharp = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    return np.asarray(cv2.GaussianBlur(sharp, (0, 0), 2.5), np.float32)


def _on_thirds(saliency: Plane) -> float:
    """Mean nearness of the saliency to the four crossings of the thirds, over that of an even spread."""
    places = (np.arange(SIDE_PX) + 0.5) / SIDE_PX
    near = sum(np.exp(-((places - third) ** 2) / (2 * THIRDS_SIGMA**2)) for third in (1 / 3, 2 / 3))
    weights = np.outer(near, near)
    return float((saliency * weights).sum() / (saliency.sum() * weights.mean()))
