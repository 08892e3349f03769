"""Patches: in Qwen2-VL's order, by the checkpoint's numbers, and the same as its own processor's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from captioner.training.course import TrainingError
from captioner.training.eyes import Eyes

PLAIN = Eyes(patch_px=2, merge=2, pair=2, mean=(0.0,) * 3, std=(1.0,) * 3, most_px=10_000)


def test_patches_that_become_one_token_stand_together_and_frames_in_pairs() -> None:
    images = np.zeros((2, 4, 8, 3), np.uint8)
    for row in range(2):
        for column in range(4):
            images[0, row * 2 : row * 2 + 2, column * 2 : column * 2 + 2] = 10 * row + column
            images[1, row * 2 : row * 2 + 2, column * 2 : column * 2 + 2] = 100 + 10 * row + column
    values, grid = PLAIN.patches(images)
    assert grid == (1, 2, 4)
    assert values.shape == (8, 3 * 2 * 2 * 2)
    assert values.dtype == np.float32
    # two tokens: the left four patches, then the right four; in a patch: colour, then time, then place
    assert np.rint(values[:, 0] * 255).tolist() == [0, 1, 10, 11, 2, 3, 12, 13]
    assert np.rint(values[:, 4] * 255).tolist() == [100, 101, 110, 111, 102, 103, 112, 113]


def test_a_frame_without_a_partner_is_its_own_and_large_ones_are_fitted() -> None:
    images = np.full((3, 8, 8, 3), 51, np.uint8)
    values, grid = Eyes(2, 2, 2, (0.1, 0.2, 0.3), (0.5, 1.0, 2.0), most_px=16).patches(images)
    assert grid == (2, 2, 2)
    assert values[:, ::8] == pytest.approx(np.tile([0.2, 0.0, -0.05], (8, 1)), abs=1e-6)


def test_the_numbers_are_the_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has none of preprocessor_config"):
        Eyes.of(tmp_path, 1000)
    said = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, "image_mean": [0, 0, 0]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(TrainingError, match="does not say how pictures are prepared"):
        Eyes.of(tmp_path, 1000)
    said |= {"image_std": [1, 1, 1], "size": {"longest_edge": 900}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor": said}))
    assert Eyes.of(tmp_path, 1000) == Eyes(14, 2, 2, (0.0,) * 3, (1.0,) * 3, 900)
    assert Eyes.of(tmp_path, 800).most_px == 800


@pytest.mark.slow
def test_a_picture_becomes_what_the_checkpoints_own_processor_makes_of_it(
    checkpoint: Callable[[str, int], Path],
) -> None:
    from transformers import AutoImageProcessor

    folder = checkpoint("qwen2_5_vl", 0)
    image = np.random.default_rng(0).integers(0, 256, (1, 56, 84, 3), np.uint8)
    values, grid = Eyes.of(folder, 10_000).patches(image)
    theirs = AutoImageProcessor.from_pretrained(folder, backend="pil")(images=[image[0]], return_tensors="np")
    assert theirs["image_grid_thw"].tolist() == [list(grid)]
    assert np.abs(theirs["pixel_values"] - values).max() < 1e-5
