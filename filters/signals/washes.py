"""Signals of effects laid over a whole picture, measured on a few frames: tint, RGB split, specks, flash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filters.base import Gray, Rgb

BINS = 16
LIKE_MIN = 0.25
"""Correlation of the red and the blue gradients from which their shift counts: in footage it is mostly above. Ours."""
BETTER_MIN = 0.08
"""By which it must exceed that of no shift, of either sign: a lens shifts the edges by part of a pixel too. Ours."""

SMOOTH_MIN = 0.8
"""Share of a part's pixels without texture from which it is smooth: a few spots leave it so. Ours."""


def ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high`, a straight line between; `high` may be the lower one."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def tint(images: Rgb) -> tuple[float, float, float]:
    """(strength, rest, shade) of a colour that depends on nothing but the light: a tint, a duotone, sepia.

    Levels of chroma (BT.601 Cb and Cr) of (n, height, width, 3) pictures: the root mean square of what the luma alone
    explains, and of what is left; and the mean of the darkest tenth, which a thing of one colour hardly has and a
    tint that lies over all does. A grey picture has none of them.
    """
    pixels = images[:, ::6, ::6].reshape(-1, 3).astype(np.float64)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    chroma = np.stack([(pixels[:, 2] - luma) / 1.772, (pixels[:, 0] - luma) / 1.402])
    band = np.minimum(luma * BINS / 256, BINS - 1).astype(np.int64)
    count = np.maximum(np.bincount(band, minlength=BINS), 1)
    explained = np.stack([(np.bincount(band, part, BINS) / count)[band] for part in chroma])
    rest = chroma - explained
    strength, left = (float(np.sqrt((part**2).sum(0).mean())) for part in (explained, rest))
    dark = luma <= np.percentile(luma, 10)
    return strength, left, float(np.hypot(*explained[:, dark].mean(axis=1)))


def split_px(images: Rgb, most: int) -> float:
    """Pixels by which the red picture lies beside the blue one, to the left or right: an RGB split.

    The shift, of up to 2 x `most` pixels either way, at which the horizontal gradients of the two correlate best; 0
    when they hardly correlate, or at no shift clearly better. `images` is (n, height, width, 3).
    """
    # Two pixels make one: most video has one value of colour for two of light, and half the work is enough.
    rows = images[:, ::8, : images.shape[2] // 2 * 2].astype(np.float32)
    halves = rows[:, :, ::2] + rows[:, :, 1::2]
    red, blue = (np.diff(halves[..., channel], axis=2) for channel in (0, 2))
    width = red.shape[2] - 2 * most
    if width < 4 * most:
        return 0.0
    middle = red[:, :, most : most + width].ravel()
    scores = []
    for shift in range(2 * most + 1):
        other = blue[:, :, shift : shift + width].ravel()
        scores.append(float(middle @ other) / (float(middle @ middle) * float(other @ other) + 1e-9) ** 0.5)
    best = int(np.argmax(scores))
    clear = scores[best] >= LIKE_MIN and scores[best] >= abs(scores[most]) + BETTER_MIN
    return 2.0 * abs(best - most) if clear else 0.0


def specks(cv2: Any, grays: Sequence[Gray], size_px: int, level: float) -> float:
    """Share of the smooth parts of a picture that hold small bright spots which move: snow, glitter, particles.

    A spot is a bright pixel group smaller than `size_px` that stands `level` above its surroundings on one of the
    `grays` and not on the next. Parts are squares of a twelfth of the short side; smooth ones have no other texture.
    The median over the pictures; 0 when less than a tenth of a picture is smooth, or there is one picture alone.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size_px, size_px))
    hats = [cv2.morphologyEx(gray, cv2.MORPH_TOPHAT, kernel) for gray in grays]
    side = max(size_px + 1, min(grays[0].shape) // 12)
    shares = []
    for hat, after in zip(hats, [*hats[1:], *hats[:1]], strict=True):
        smooth = (_cells(hat, side) <= level / 4).mean(axis=1) >= SMOOTH_MIN
        spots = _cells(cv2.subtract(hat, after), side)[smooth].max(axis=1, initial=0) >= level
        shares.append(float(spots.mean()) if len(spots) >= max(1.0, 0.1 * len(smooth)) else 0.0)
    return float(np.median(shares))


def _cells(picture: Gray, side: int) -> Gray:
    """(squares, pixels of each) of a picture; what is left over at the right and bottom is cut."""
    rows, columns = picture.shape[0] // side, picture.shape[1] // side
    squares = picture[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    return squares.reshape(rows * columns, side * side)


def flash(images: Rgb) -> float:
    """Luma levels by which one picture is brighter than the one before and the one after it."""
    light = images[:, ::8, ::8].mean(axis=(1, 2, 3))
    rises = np.minimum(light[1:-1] - light[:-2], light[1:-1] - light[2:])
    return float(rises.max(initial=0.0))
