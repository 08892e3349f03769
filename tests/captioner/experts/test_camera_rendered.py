"""The camera expert behind the real flow and sway stages, on camera paths rendered over textured pictures."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from captioner.experts.camera import CameraExpert
from filters.flow import Flow
from filters.sway import Sway
from pipeline.clip import Clip
from pipeline.stage import FrameBatch

pytestmark = pytest.mark.slow
WIDTH, HEIGHT, FPS = 256, 144, 24.0
PIVOT = 1000.0
Path = Callable[[float], tuple[float, float, float, float]]
"""Seconds to the camera's pan and tilt (shares of the frame), zoom (log of scale) and roll (radians)."""


@cache
def picture() -> np.ndarray:
    """A 2000 x 2000 picture with detail at every scale."""
    import cv2

    rng = np.random.default_rng(11)
    total = np.zeros((2000, 2000), np.float32)
    for side in (16, 60, 250, 700):
        noise = rng.normal(0, 1, (side, side)).astype(np.float32)
        total += cv2.resize(noise, (2000, 2000), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 35 * total, 0, 255).astype(np.uint8)


def view(source: np.ndarray, camera: tuple[float, float, float, float]) -> np.ndarray:
    """What the camera sees: a point of the source lands where a camera so placed, zoomed and rolled shows it."""
    import cv2

    pan, tilt, zoom, roll = camera
    scale, cosine, sine = np.exp(zoom), np.cos(-roll), np.sin(-roll)  # the picture turns against the camera
    turn = scale * np.array([[cosine, -sine], [sine, cosine]])
    eye = np.array([PIVOT + pan * WIDTH, PIVOT - tilt * HEIGHT])
    shift = np.array([WIDTH / 2, HEIGHT / 2]) - turn @ eye
    affine = np.hstack([turn, shift[:, None]])
    return cv2.warpAffine(source, affine, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)


def film(path: Path, seconds: float = 4.0, noise: float = 1.0, near: float = 1.0) -> dict[str, Any]:
    """The expert's row for a camera path filmed with a little sensor noise (luma levels).

    What stands before the picture, in squares, moves `near` times as fast.
    """
    import cv2

    source, front = picture(), np.ascontiguousarray(picture()[::-1, ::-1])
    squares = ((np.indices(source.shape) // 70).sum(axis=0) % 3 == 0).astype(np.uint8)
    rng = np.random.default_rng(2)

    def shoot(time_s: float) -> np.ndarray:
        at = path(time_s)
        seen = view(source, at)
        if near != 1:
            closer = (at[0] * near, at[1] * near, at[2] * near, at[3])
            seen = np.where(view(squares, closer) > 0, view(front, closer), seen)
        return np.clip(np.rint(seen + rng.normal(0, noise, (HEIGHT, WIDTH))), 0, 255).astype(np.uint8)

    times = np.arange(0, seconds, 0.5)
    images = np.stack([shoot(t) for t in times])
    following = np.stack([shoot(t + 1 / FPS) for t in times])
    pairs = FrameBatch(images, times, (times * FPS).astype(np.int64), following, np.full(len(times), 1 / FPS))
    often = np.arange(0, seconds, 2 / FPS)
    small = [cv2.resize(shoot(t), (64, 36), interpolation=cv2.INTER_AREA) for t in often]
    swayed = FrameBatch(np.stack(small), often, (often * FPS).astype(np.int64))
    return expert_row(pairs, swayed, seconds)


def expert_row(pairs: FrameBatch, swayed: FrameBatch, seconds: float) -> dict[str, Any]:
    clip = Clip("c", "s", "v", 0, int(seconds * FPS), 0.0, seconds, FPS, 1280, 720)
    flow, sway = Flow(), Sway()
    upstream = {
        "flow": flow.measure(flow.load(), clip, pairs),
        "sway": sway.measure(sway.load(), clip, swayed),
    }
    return dict(CameraExpert().measure(None, Clip(**{**vars(clip), "upstream": upstream}), None))


@pytest.mark.parametrize(
    ("speeds", "says"),
    [
        ((0.0, 0.0, 0.0, 0.0), "The camera is static."),
        ((0.03, 0.0, 0.0, 0.0), "The camera pans slowly to the right."),
        ((-0.12, 0.0, 0.0, 0.0), "The camera pans to the left."),
        ((0.40, 0.0, 0.0, 0.0), "The camera pans quickly to the right."),
        ((0.0, 0.04, 0.0, 0.0), "The camera tilts slowly up."),
        ((0.0, -0.12, 0.0, 0.0), "The camera tilts down."),
        ((0.0, 0.0, 0.04, 0.0), "The camera zooms slowly in."),
        ((0.0, 0.0, -0.12, 0.0), "The camera zooms out."),
        ((0.0, 0.0, 0.0, 0.12), "The camera rolls clockwise."),
        ((0.0, 0.0, 0.0, -0.04), "The camera rolls slowly counterclockwise."),
        ((0.10, 0.10, 0.0, 0.0), "The camera pans to the right and tilts up."),
    ],
)
def test_steady_paths(speeds: tuple[float, float, float, float], says: str) -> None:
    row = film(lambda t: (speeds[0] * t, speeds[1] * t, speeds[2] * t, speeds[3] * t))
    assert row["camera_motion"] == says
    phase = row["camera_phases"][0]
    assert [phase[axis] for axis in ("right", "up", "inward", "roll")] == pytest.approx(
        speeds, abs=0.006, rel=0.02
    )
    assert row["camera_kind"] == ("turn" if any(speeds[:3]) else None)
    assert row["camera_confidence"] > 0.8


@pytest.mark.parametrize(
    ("speeds", "says"),
    [
        ((0.08, 0.0, 0.0), "The camera trucks to the right."),
        ((0.0, -0.1, 0.0), "The camera pedestals down."),
        ((0.0, 0.0, 0.08), "The camera dollies in."),
    ],
)
def test_travel_is_told_by_what_stands_before(speeds: tuple[float, float, float], says: str) -> None:
    row = film(lambda t: (speeds[0] * t, speeds[1] * t, speeds[2] * t, 0.0), seconds=3.0, near=1.8)
    assert row["camera_motion"] == says
    assert row["camera_kind"] == "travel"


def test_a_path_in_two_phases() -> None:
    row = film(lambda t: (0.12 * min(t, 4.0), 0.12 * max(t - 4.0, 0.0), 0.0, 0.0), seconds=8.0)
    assert row["camera_motion"] == "The camera pans to the right, then tilts up."
    assert row["camera_phases"][0]["end_s"] == pytest.approx(4.0, abs=0.5)


def test_a_hand_shakes() -> None:
    def hand(t: float) -> tuple[float, float, float, float]:
        sway = (np.sin(9.1 * t) + np.sin(14.3 * t + 1)) * 0.005
        bob = (np.sin(11.7 * t + 2) + np.sin(6.3 * t)) * 0.005
        return float(sway), float(bob), 0.0, 0.0

    row = film(hand)
    assert row["camera_handheld"] is True
    assert row["camera_static"] is False
    assert row["camera_motion"] == "The handheld camera stays in place."


def test_a_knock_between_the_pairs_is_seen() -> None:
    def knocked(t: float) -> tuple[float, float, float, float]:
        since = t - 2.1
        way = 0.05 * np.exp(-since / 0.12) * np.sin(25 * since) if since > 0 else 0.0
        return float(way), 0.0, 0.0, 0.0

    row = film(knocked, seconds=4.0)
    assert row["camera_motion"] == "The camera holds still, and jolts."
    assert row["camera_abrupt_s"] == pytest.approx(2.2, abs=0.15)


def test_a_flat_picture_shows_no_camera() -> None:
    times = np.arange(0, 4, 0.5)
    flat = np.full((8, HEIGHT, WIDTH), 16, np.uint8)
    batch = FrameBatch(flat, times, (times * FPS).astype(np.int64), flat, np.full(8, 1 / FPS))
    row = expert_row(batch, FrameBatch(flat[:, :36, :64], times / 6, batch.frames), 4.0)
    assert row["camera_motion"] == ""
    assert row["camera_static"] is None
