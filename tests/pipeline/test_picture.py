"""The layout of a picture: tests/pipeline/test_encode.py looks at the pictures themselves."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from pipeline.encode import EncodeJob
from pipeline.picture import BLEED_PX, Layout, layout


@dataclass(frozen=True)
class Index:
    pts: npt.NDArray[np.int64]
    width: int
    height: int
    time_base: Fraction = Fraction(1, 24)
    rotation_deg: int = 0
    seekable: bool = True
    duration_s: float = 1.0


def test_the_layout_covers_the_bucket_without_distortion() -> None:
    generator = np.random.default_rng(3)
    for _ in range(300):
        width, height = (int(v) for v in generator.integers(32, 4000, 2))
        x0, y0 = generator.uniform(0, 0.3, 2)
        x1, y1 = generator.uniform(0.7, 1, 2)
        target = (16 * int(generator.integers(4, 70)), 16 * int(generator.integers(4, 70)))
        cut = layout(
            Index(np.arange(9), width, height),
            EncodeJob(0, 9, *target, fps=24, frames=9, crop=(x0, y0, x1, y1)),
        )
        # one factor for both sides, but for rounding to even sizes
        stretch = cut.scaled_width / width / (cut.scaled_height / height)
        assert abs(stretch - 1) <= 1.01 / cut.scaled_width + 1.01 / cut.scaled_height
        # within the crop, wherever the chroma grid pushes it
        assert cut.left % 2 == cut.top % 2 == 0
        assert x0 * cut.scaled_width <= cut.left
        assert cut.left + cut.width <= x1 * cut.scaled_width
        assert y0 * cut.scaled_height <= cut.top
        assert cut.top + cut.height <= y1 * cut.scaled_height
        assert cut.left + cut.width <= cut.scaled_width
        assert cut.top + cut.height <= cut.scaled_height


def test_a_picture_of_the_bucket_size_is_not_scaled() -> None:
    whole = layout(Index(np.arange(9), 448, 256), EncodeJob(0, 9, 448, 256, fps=24, frames=9))
    assert whole == Layout(448, 256, 0, 0, 448, 256, 0)


def test_a_cropped_side_is_cut_tighter() -> None:
    job = EncodeJob(0, 9, 400, 256, fps=24, frames=9, crop=(0.25, 0, 0.75, 1))
    cut = layout(Index(np.arange(9), 800, 256), job)
    assert cut.scaled_width == 2 * (400 + BLEED_PX)
    assert (cut.left, cut.left + cut.width) == (202 + BLEED_PX // 2, 606 - BLEED_PX // 2)
