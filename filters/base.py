"""What several filters share: one-threaded libraries, frame choice, runs over time, stages with weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Stage

Gray = npt.NDArray[np.uint8]
Rgb = npt.NDArray[np.uint8]


def one_thread_cv2() -> Any:
    """The cv2 module, held to one thread: a worker owns one core."""
    import cv2

    cv2.setNumThreads(1)
    return cv2


def onnx_session(path: Path) -> Any:
    """An onnxruntime CPU session of one thread for a model file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def shown(frames: FrameBatch | None) -> FrameBatch:
    """The frames of a stage that declares some."""
    if frames is None:
        raise TypeError("this stage looks at frames and was given none")
    return frames


def spread(count: int, duration_s: float, every_s: float, most: int) -> list[int]:
    """Indices of at most `most` of `count` frames, evenly spread: about one for each `every_s`, never none."""
    wanted = min(count, most, max(1, math.floor(duration_s / every_s + 0.5)))
    return [(2 * i + 1) * count // (2 * wanted) for i in range(wanted)]


def looked_at(
    frames: FrameBatch | None, clip: Clip, every_s: float, most: int
) -> list[tuple[int, npt.NDArray[np.uint8]]]:
    """The number in the video and the picture of a few frames of a clip, chosen by `spread`."""
    batch = shown(frames)
    chosen = spread(len(batch.images), clip.duration_s, every_s, most)
    return [(int(batch.frames[i]), batch.images[i]) for i in chosen]


def longest_run_s(flags: Sequence[bool], times_s: Sequence[float], end_s: float) -> float:
    """Seconds of the longest run of flagged samples; a sample lasts until the next one, the last to `end_s`."""
    best = start = 0.0
    running = False
    for flag, time_s, next_s in zip(flags, times_s, [*times_s[1:], end_s], strict=True):
        start = start if running else time_s
        running = bool(flag)
        if running:
            best = max(best, next_s - start)
    return best


@dataclass(frozen=True)
class ModelStage(Stage):
    """A stage that loads weights from a folder; the folder is no part of what it measures."""

    cache: str | None = field(default=None, kw_only=True)
    """Folder of fetched weights; None is the default one. Not a setting: weights count by digest."""

    def settings(self) -> dict[str, Any]:
        return {name: value for name, value in super().settings().items() if name != "cache"}

    def weight(self, name: str) -> Path:
        """The checked file of one of the program's weights."""
        from pipeline.weights import default_cache, find, load_catalogue

        return find(name, load_catalogue(), Path(self.cache) if self.cache else default_cache())
