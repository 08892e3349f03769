"""Split screen and picture-in-picture: the clip beside, above or inside its own mirrored reverse."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures


def other(pictures: Pictures) -> Pictures:
    """Another video of the same size: mirrored, backwards, half as contrasty about another level."""
    turned = pictures[::-1, :, ::-1]
    return (96 + (turned.astype(np.int16) - 96) * 3 // 4).clip(0, 255).astype(np.uint8)


def halves(pictures: Pictures, fps: float, dice: np.random.Generator, gap_px: int) -> Pictures:
    """The middle half of the clip on the left, that of the other on the right, with a white gap between."""
    width = pictures.shape[2]
    middle, half = slice(width // 4, width // 4 + width // 2), width // 2
    result = np.concatenate([pictures[:, :, middle], other(pictures)[:, :, middle]], axis=2)
    result = np.pad(result, ((0, 0), (0, 0), (0, width - result.shape[2]), (0, 0)), mode="edge")
    if gap_px:
        result[:, :, half - gap_px // 2 : half + gap_px // 2] = 255
    return result


def stacked(pictures: Pictures, fps: float, dice: np.random.Generator) -> Pictures:
    """The upper half of the clip above the lower half of the other."""
    result = pictures.copy()
    half = result.shape[1] // 2
    result[:, half:] = other(pictures)[:, half:]
    return result


def inset(pictures: Pictures, fps: float, dice: np.random.Generator, side: float, frame_px: int) -> Pictures:
    """The other clip, this large, over a corner of the clip, in a white frame."""
    import cv2

    height, width = pictures.shape[1:3]
    tall, wide = round(side * height), round(side * width)
    top, left = height - tall - height // 20, width - wide - width // 20
    result = pictures.copy()
    for picture, small in zip(result, other(pictures), strict=True):
        shown = picture[top : top + tall, left : left + wide]
        shown[:] = 255
        inner = shown[frame_px : tall - frame_px, frame_px : wide - frame_px]
        inner[:] = cv2.resize(small, (inner.shape[1], inner.shape[0]), interpolation=cv2.INTER_AREA)
    return result


NOTE = "Panels whose colours meet without a step along most of the line are not found."
DEFECTS = (
    Defect(
        "split screen",
        "split",
        "split_score",
        "high",
        {
            "side by side": partial(halves, gap_px=0),
            "side by side, a gap of 8 px": partial(halves, gap_px=8),
            "one above the other": stacked,
        },
        0.7,
        NOTE,
    ),
    Defect(
        "picture-in-picture",
        "split",
        "split_score",
        "high",
        {
            "a fifth of the side": partial(inset, side=0.2, frame_px=0),
            "a third of the side": partial(inset, side=0.33, frame_px=0),
            "a third of the side, framed": partial(inset, side=0.33, frame_px=2),
        },
        0.7,
        "An inset with round corners, or whose content stands still, is not found.",
    ),
)
