"""Frames that the filter tests draw for themselves, and the clip that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from pipeline.clip import Clip
from pipeline.stage import FrameBatch

Picture = npt.NDArray[np.uint8]
FPS = 24


@dataclass(frozen=True)
class Studio:
    """Draws pictures and hands them over as a decoder would."""

    def clip(
        self,
        duration_s: float,
        width: int = 1920,
        height: int = 1080,
        upstream: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Clip:
        end = round(duration_s * FPS)
        return Clip("c" * 20, "s" * 20, "v" * 20, 0, end, 0.0, duration_s, FPS, width, height, upstream or {})

    def batch(self, images: Sequence[Picture], every_s: float = 1.0) -> FrameBatch:
        times_s = np.arange(len(images)) * every_s
        return FrameBatch(np.stack(images), times_s, np.round(times_s * FPS).astype(np.int64))

    def pairs(self, pairs: Sequence[tuple[Picture, Picture]], every_s: float = 0.5) -> FrameBatch:
        plain = self.batch([one for one, _ in pairs], every_s)
        following = np.stack([two for _, two in pairs])
        return FrameBatch(plain.images, plain.times_s, plain.frames, following, np.full(len(pairs), 1 / FPS))

    def texture(self, width: int, height: int, seed: int = 0) -> Picture:
        """Gray noise of equal power in every octave, as in a photograph."""
        rng = np.random.default_rng(seed)
        total = np.zeros((height, width), np.float32)
        for scale in (1, 2, 4, 8, 16, 32, 64, 128):
            coarse = rng.normal(size=(height // scale + 2, width // scale + 2)).astype(np.float32)
            total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        spread = (total - total.mean()) / total.std()
        return np.clip(128 + 45 * spread, 0, 255).astype(np.uint8)

    def colour(self, width: int, height: int, seed: int = 0) -> Picture:
        """An RGB texture: light and colour vary, light more."""
        light, *tints = (self.texture(width, height, 4 * seed + i).astype(np.float32) for i in range(4))
        return np.stack([0.75 * light + 0.25 * tint for tint in tints], -1).astype(np.uint8)

    def face(self, width: int = 640, height: int = 360, scale: float = 1.0) -> Picture:
        """A drawn face in the middle, looking at the camera; the head is 190 * scale pixels tall."""
        image = np.full((height, width, 3), (120, 140, 160), np.uint8)

        def oval(x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int]) -> None:
            centre = round(width / 2 + x * scale), round(height / 2 + y * scale)
            axes = max(1, round(rx * scale)), max(1, round(ry * scale))
            cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

        oval(0, -25, 78, 95, (60, 40, 30))
        oval(0, 0, 65, 85, (224, 172, 140))
        for side in (-26, 26):
            oval(side, -15, 14, 7, (250, 250, 250))
            oval(side, -15, 6, 6, (50, 30, 20))
            oval(side, -33, 17, 4, (60, 40, 30))
        oval(0, 15, 9, 6, (190, 130, 105))
        oval(0, 5, 5, 16, (235, 185, 155))
        oval(0, 42, 24, 9, (180, 70, 70))
        return cv2.GaussianBlur(image, (0, 0), 1.5)

    def stop_sign(self) -> Picture:
        """A drawn road sign, 220 pixels wide in the middle of 640 x 360."""
        image = np.full((360, 640, 3), (150, 190, 230), np.uint8)
        image[250:] = (90, 140, 70)
        cv2.rectangle(image, (314, 180), (326, 360), (120, 120, 120), -1)
        angles = np.pi / 8 + np.arange(8) * np.pi / 4
        for radius, colour in ((110, (255, 255, 255)), (102, (190, 20, 30))):
            corners = np.stack([320 + radius * np.cos(angles), 180 + radius * np.sin(angles)], -1)
            cv2.fillPoly(image, [corners.astype(np.int32)], colour)
        self.write(image, "STOP", (232, 206), 2.3, 10)
        return cv2.GaussianBlur(image, (0, 0), 1)

    def write(
        self, image: Picture, text: str, at: tuple[int, int], size: float = 1.0, thick: int = 2
    ) -> tuple[int, int, int, int]:
        """Writes white text onto the picture with its baseline's left end at `at`; gives left, top, right, bottom."""
        (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thick)
        cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), thick, cv2.LINE_AA)
        return at[0], at[1] - height, at[0] + width, at[1] + below


@pytest.fixture(scope="session")
def studio() -> Studio:
    return Studio()
