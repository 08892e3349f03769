"""Phases of steady motion: exact change points on clean series, none in noise."""

from __future__ import annotations

import numpy as np
import pytest

from captioner.experts.phases import jitter, phases


def levels(*parts: tuple[int, float], axes: int = 4) -> np.ndarray:
    series = np.concatenate([np.full(count, level) for count, level in parts])
    speeds = np.zeros((len(series), axes))
    speeds[:, 0] = series
    return speeds


def test_change_points_are_exact() -> None:
    speeds = levels((8, 0.1), (5, -0.1), (11, 0.0))
    assert phases(speeds, 0.005, 3) == [(0, 8), (8, 13), (13, 24)]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
def test_a_steady_series_is_one_phase(count: int) -> None:
    assert phases(levels((count, 0.3)), 0.005, 3) == [(0, count)]


def test_noise_alone_is_rarely_split() -> None:
    split = [
        len(phases(np.random.default_rng(seed).normal(0, 0.03, (20, 4)), 0.005, 3)) > 1 for seed in range(100)
    ]
    assert sum(split) <= 5


def test_change_points_are_found_under_noise() -> None:
    noises = [np.random.default_rng(seed).normal(0, 0.01, (24, 4)) for seed in range(20)]
    found = [phases(levels((12, 0.08), (12, -0.08)) + noise, 0.005, 3) for noise in noises]
    assert found.count([(0, 12), (12, 24)]) >= 19


def test_no_phase_is_shorter_than_asked() -> None:
    speeds = levels((10, 0.0), (2, 1.0), (10, 0.0))
    ranges = phases(speeds, 0.005, 3)
    assert min(end - start for start, end in ranges) >= 3
    assert [start for start, _ in ranges[1:]] == [end for _, end in ranges[:-1]]


def test_jitter_is_the_noise_and_not_the_drift() -> None:
    rng = np.random.default_rng(0)
    drift = np.linspace(0, 5, 4000)
    speeds = np.stack([drift, drift + rng.normal(0, 0.2, 4000), rng.normal(0, 0.05, 4000)], axis=1)
    assert jitter(speeds) == pytest.approx([0.00131, 0.2, 0.05], rel=0.06)
    assert jitter(speeds[:1]).tolist() == [0, 0, 0]
