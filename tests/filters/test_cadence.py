from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from filters.cadence import Cadence
from pipeline.frames import MOTION
from pipeline.stage import FrameBatch

FPS = 24


def batch(show, count, times_s=None):
    """Pairs of a clip whose frame i looks like show(i): those that the decoder's grid meets."""
    times_s = np.arange(count) / FPS if times_s is None else np.asarray(times_s)
    steps = np.arange(0, times_s[-1], MOTION.every_s)
    grid = sorted({int(i) for i in np.searchsorted(times_s, steps - 1e-9)})
    first = np.array([i for i in grid if i + 1 < count])
    images, following = (np.stack([show(i) for i in frames]) for frames in (first, first + 1))
    return FrameBatch(images, times_s[first], first, following, times_s[first + 1] - times_s[first])


def measure(studio, frames):
    return Cadence().measure(None, studio.clip(5), frames)


def pan(studio, speed=1.0):
    """Shows a texture that moves by so many pixels a frame, and by parts of one."""
    wide = studio.texture(1300, 144).astype(np.float32)

    def show(i):
        place, part = divmod(i * speed, 1)
        one, two = (wide[:, int(place) + k : int(place) + k + 256] for k in (0, 1))
        return np.round(one * (1 - part) + two * part).astype(np.uint8)

    return show


@pytest.mark.parametrize(
    ("kept", "share"), [([0, 1, 2, 3, 4, 5], 0), ([0, 0, 2, 2, 4, 4], 0.5), ([0, 0, 0, 3, 3, 3], 2 / 3)]
)
def test_repeated_frames_are_counted(studio, kept, share):
    show = pan(studio)
    row = measure(studio, batch(lambda i: show(i // 6 * 6 + kept[i % 6]), 600))
    assert row["duplicate_frame_ratio"] == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize(
    ("fps", "pattern"),
    [
        (24, [0, 0]),  # 12 frames a second
        (25, [0, 0]),
        (30, [0, 0]),
        (30, [0, 1, 2, 3, 3]),  # 24 frames a second
        (60, [0, 0]),
        (60, [0, 0, 0, 1, 1]),  # 24 frames a second
        (50, [0, 0]),
        (48, [0, 0]),
    ],
)
def test_the_usual_patterns_of_repeats_are_met_at_every_place(studio, fps, pattern):
    """A grid in step with the pattern would call all frames repeats, or none."""
    show, many = pan(studio, 12 / fps), len(pattern)
    first = [pattern.index(value) for value in pattern]
    count = 12 * fps
    frames = batch(lambda i: show(i // many * many + first[i % many]), count, np.arange(count) / fps)
    truth = 1 - len(set(pattern)) / many
    assert measure(studio, frames)["duplicate_frame_ratio"] == pytest.approx(truth, abs=0.12)


def test_what_coding_changes_in_a_repeated_frame_does_not_count(studio):
    show, rng = pan(studio), np.random.default_rng(0)

    def recoded(i):
        return np.clip(show(i // 2 * 2).astype(int) + (rng.random((144, 256)) < 0.1), 0, 255).astype(np.uint8)

    assert measure(studio, batch(recoded, 300))["duplicate_frame_ratio"] == pytest.approx(0.5, abs=0.1)


def test_a_still_picture_and_a_slow_one_repeat_nothing(studio):
    still = pan(studio, 0)
    assert measure(studio, batch(still, 150))["duplicate_frame_ratio"] == 0
    slow = pan(studio, 1)
    assert measure(studio, batch(slow, 150))["duplicate_frame_ratio"] == 0


@pytest.mark.parametrize("fps", [1, 2, 12, 60, 240])
@pytest.mark.parametrize("speed_s", [10, 60, 240])
def test_smooth_motion_repeats_nothing_at_any_rate(studio, fps, speed_s):
    count = 4 * fps
    frames = batch(pan(studio, speed_s / fps), count, np.arange(count) / fps)
    assert measure(studio, frames) == {
        "duplicate_frame_ratio": 0.0,
        "dropped_ratio": pytest.approx(0, abs=1e-9),
    }


def test_a_subject_that_stops_is_no_repeat(studio):
    show = pan(studio)
    row = measure(studio, batch(lambda i: show(min(i, 75)), 150))
    assert row["duplicate_frame_ratio"] == 0


def test_frames_that_the_timestamps_miss_are_counted(studio):
    show = pan(studio)
    whole = np.arange(150) / FPS
    for step, share in ((0, 0), (10, 0.1), (5, 0.2), (4, 0.25)):
        there = whole if step == 0 else np.delete(whole, np.arange(2, 150, step))
        row = measure(studio, batch(show, len(there), there))
        assert row["dropped_ratio"] == pytest.approx(share, abs=0.04)


def test_timestamps_rounded_to_milliseconds_miss_next_to_nothing(studio):
    times_s = np.round(np.arange(120) / 24, 3)
    assert measure(studio, batch(pan(studio), 120, times_s))["dropped_ratio"] < 0.02


def test_an_image_has_none(studio):
    whole = batch(pan(studio), 30)
    nothing = dataclasses.replace(
        whole,
        images=whole.images[:0],
        following=whole.following[:0],
        times_s=whole.times_s[:0],
        step_s=whole.step_s[:0],
    )
    assert measure(studio, nothing) == {"duplicate_frame_ratio": None, "dropped_ratio": None}
