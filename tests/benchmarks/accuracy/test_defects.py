"""Every defect renders what its interface says, and is about a column that there is."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.accuracy.defect import Defect, Pictures
from benchmarks.accuracy.footage import CLEAN, TRAITS
from benchmarks.accuracy.harness import families
from filters import STAGES

FRAMES, HEIGHT, WIDTH, FPS = 30, 112, 192, 12.0
ALL = [pytest.param(one, id=f"{name}-{one.name}") for name, ones in families().items() for one in ones]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """A soft random picture that drifts, with a little noise of its own in every frame; not to be written to."""
    import cv2

    dice = np.random.default_rng(5)
    wide = cv2.resize(dice.integers(30, 220, (14, 30, 3), dtype=np.uint8), (WIDTH + FRAMES, HEIGHT))
    frames = np.stack([wide[:, number : number + WIDTH] for number in range(FRAMES)]).astype(np.int16)
    noisy = np.clip(frames + dice.integers(-4, 5, frames.shape), 0, 255).astype(np.uint8)
    noisy.flags.writeable = False
    return noisy


@pytest.mark.parametrize("defect", ALL)
def test_each_strength_changes_the_pictures_alike_each_time(defect: Defect, pictures: Pictures) -> None:
    for strength, render in defect.strengths.items():
        one = render(pictures, FPS, np.random.default_rng(1))
        assert one.shape == pictures.shape, strength
        assert one.dtype == np.uint8, strength
    assert (one != pictures).any()  # the strongest; mild ones may be less than a pixel of so small a picture
    assert (render(pictures, FPS, np.random.default_rng(1)) == one).all()


@pytest.mark.parametrize("defect", ALL)
def test_a_defect_is_about_a_column_and_clips_that_there_are(defect: Defect) -> None:
    columns = {name for stage in STAGES if stage.name == defect.stage for name in stage.columns.names}
    assert defect.column in columns
    assert defect.strengths
    assert set(defect.leave_out) <= set(TRAITS)


def test_clean_clips_have_names_of_their_own_and_are_many_and_varied() -> None:
    assert len({clip.name for clip in CLEAN}) == len(CLEAN) >= 24
    assert sum("animation" not in clip.traits for clip in CLEAN) >= 10
    assert {trait for clip in CLEAN for trait in clip.traits} <= set(TRAITS)
    assert all(1.5 <= clip.length_s <= 5 for clip in CLEAN)
