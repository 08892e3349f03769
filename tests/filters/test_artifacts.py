from __future__ import annotations

import cv2
import numpy as np
import pytest

from filters.artifacts import Artifacts


def measure(studio, *images):
    stage = Artifacts()
    return stage.measure(stage.load(), studio.clip(2 * len(images)), studio.batch(images, every_s=2.0))


def gray(luma):
    return np.stack([luma] * 3, -1)


def scene(studio, seed=0):
    """As soft and as quiet as a lens and a denoiser leave it."""
    return cv2.GaussianBlur(studio.texture(384, 384, seed), (0, 0), 2)


def coded(luma, quality):
    return cv2.imdecode(
        cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE
    )


@pytest.mark.parametrize("offset", [(0, 0), (3, 5)])
def test_blockiness_follows_compression_wherever_the_grid_begins(studio, offset):
    down, across = offset
    levels = []
    for quality in (95, 50, 25, 12, 6):
        whole = coded(np.pad(scene(studio), 8, mode="reflect"), quality)
        levels.append(measure(studio, gray(whole[down : down + 384, across : across + 384]))["blockiness"])
    assert levels == sorted(levels)
    assert levels[0] < 0.3 < 1.0 < levels[-1]


def test_blockiness_is_the_step_in_levels_and_texture_has_none(studio):
    blocks = np.add.outer(np.arange(384) // 8, np.arange(384) // 8) % 2 * 6 + 100
    assert measure(studio, gray(blocks.astype(np.uint8)))["blockiness"] == pytest.approx(6)
    assert measure(studio, gray(studio.texture(384, 384)))["blockiness"] < 0.6
    stripes = np.broadcast_to(np.arange(384) // 5 % 2 * 60 + 90, (384, 384)).astype(np.uint8)
    assert measure(studio, gray(stripes))["blockiness"] < 1.5  # five pixels are no coding block


@pytest.mark.parametrize("sigma", [2, 4, 8, 16])
def test_noise_is_its_sigma_in_levels(studio, sigma):
    noise = np.random.default_rng(0).normal(0, sigma, (384, 384))
    for luma in (np.full((384, 384), 128.0), scene(studio).astype(float)):
        row = measure(studio, gray(np.clip(luma + noise, 0, 255).astype(np.uint8)))
        assert row["noise_sigma"] == pytest.approx(sigma, rel=0.15, abs=0.3)


def test_a_quiet_picture_has_no_noise_however_textured_a_part_of_it_is(studio):
    luma = scene(studio)
    luma[:192] = studio.texture(384, 192)
    assert measure(studio, gray(luma))["noise_sigma"] < 0.5


def test_noise_that_is_cut_off_at_black_or_white_is_not_guessed(studio):
    for level in (0, 255):
        assert measure(studio, gray(np.full((64, 64), level, np.uint8)))["noise_sigma"] is None


def test_combs_are_where_fields_of_two_moments_are_woven(studio):
    wide = scene(studio).repeat(1, 0)
    shares = []
    for shift in (0, 2, 4, 8):
        woven = wide.copy()
        woven[1::2] = np.roll(wide, shift, axis=1)[1::2]
        shares.append(measure(studio, gray(woven))["combing"])
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[-1] > 0.1


def test_noise_and_texture_are_no_combs(studio):
    noise = np.random.default_rng(0).integers(0, 256, (384, 384), dtype=np.uint8)
    assert measure(studio, gray(noise))["combing"] < 0.01
    assert measure(studio, gray(studio.texture(384, 384)))["combing"] < 0.002


def test_the_worst_frame_tells_of_combs_and_the_middle_one_of_the_rest(studio):
    still = scene(studio)
    woven = still.copy()
    woven[1::2] = np.roll(still, 8, axis=1)[1::2]
    row = measure(studio, gray(still), gray(woven), gray(still))
    assert row["combing"] == measure(studio, gray(woven))["combing"]
    assert row["noise_sigma"] == measure(studio, gray(still))["noise_sigma"]


@pytest.mark.parametrize("size", [(31, 31), (16, 16), (16, 384)])
def test_a_patch_that_is_too_small_says_nothing(studio, size):
    row = measure(studio, np.zeros((*size, 3), np.uint8))
    assert row == {"blockiness": None, "noise_sigma": None, "combing": None}
