"""Frames as a language model takes them: fitted to a budget of pixels, with the times that go with them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]
"""(n, height, width, 3) RGB."""
Times = npt.NDArray[np.float64]
"""(n,) seconds."""
LONE_S = 0.1
"""From a lone frame to its copy. Ours."""


def fitted(images: Frames, frame_px: int, factor: int) -> Frames:
    """The frames with at most `frame_px` pixels each, sides multiples of `factor`, their aspect kept as these allow.

    Never enlarged beyond the next multiple. A model's processor then changes nothing more.
    """
    height, width = images.shape[1:3]
    new = size(height, width, frame_px, factor)
    if new == (height, width):
        return np.ascontiguousarray(images)
    import cv2

    cv2.setNumThreads(1)
    scaled = [cv2.resize(one, new[::-1], interpolation=cv2.INTER_AREA) for one in images]
    return np.stack(scaled).astype(np.uint8, copy=False)


def size(height: int, width: int, frame_px: int, factor: int) -> tuple[int, int]:
    """(height, width) of a frame of this size in the budget: multiples of `factor`, one at least, nearest in aspect."""
    scale = min(1.0, (frame_px / (height * width)) ** 0.5) / factor
    most = max(1, frame_px // factor**2)
    tall, wide = ([max(1, math.floor(side * scale)), math.ceil(side * scale)] for side in (height, width))
    fits = [(h, w) for h in tall for w in wide if h * w <= most]
    if not fits:  # a strip: its short side is one multiple, and the budget bounds the other
        fits = [(1, most)] if width > height else [(most, 1)]
    h, w = min(fits, key=lambda sides: abs(math.log(sides[1] / sides[0] * height / width)))
    return h * factor, w * factor


def paired(images: Frames, times_s: Times) -> tuple[Frames, Times]:
    """The frames of a video with their times; a lone one twice, as Qwen3-VL's processor wants a pair."""
    if len(images) != 1:
        return images, times_s
    return np.repeat(images, 2, axis=0), np.append(times_s, times_s + LONE_S)


def metadata(times_s: Times, fps: float) -> dict[str, Any]:
    """What Qwen-VL's processors read of a video whose frames are chosen already.

    `frames_indices` count from the clip's start at its own frame rate; the frames stand for equal spans of it.
    """
    rate = fps if fps > 0 else 1.0
    indices = [int(index) for index in np.rint(times_s * rate)]
    step = max(1, round((indices[-1] - indices[0]) / (len(indices) - 1))) if len(indices) > 1 else 1
    total = max(indices[-1] + step, len(indices))
    return {
        "fps": rate,
        "total_num_frames": total,
        "duration": total / rate,
        "frames_indices": indices,
        "video_backend": "rushes",
        "do_sample_frames": False,
    }
