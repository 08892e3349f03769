"""Frames as Qwen-VL's eyes take them, by the checkpoint's own numbers: no torchvision, which its processors need."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from captioner.engines.pictures import Frames, fitted
from captioner.training.course import TrainingError

FILES = ("preprocessor_config.json", "processor_config.json")
"""Where a checkpoint says how pictures are prepared; the second holds it under `image_processor`."""


@dataclass(frozen=True)
class View:
    """What one medium shows."""

    images: Frames
    frame_s: float
    """Seconds that a frame stands for; 0: it is a picture."""


@dataclass(frozen=True)
class Eyes:
    """How pictures become patches."""

    patch_px: int
    merge: int
    """Patches a side that become one token."""
    pair: int
    """Frames that are joined."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    most_px: int
    """Of a frame."""

    @classmethod
    def of(cls, folder: Path, frame_px: int) -> Eyes:
        """As a checkpoint has it, a frame held to `frame_px`. TrainingError: it does not say."""
        for name in FILES:
            try:
                page = json.loads((folder / name).read_text(encoding="utf-8"))
                said = page.get("image_processor", page)
                most = said.get("max_pixels") or said.get("size", {}).get("longest_edge") or frame_px
                return cls(
                    int(said["patch_size"]),
                    int(said["merge_size"]),
                    int(said["temporal_patch_size"]),
                    tuple(map(float, said["image_mean"])),
                    tuple(map(float, said["image_std"])),
                    min(frame_px, int(most)),
                )
            except FileNotFoundError:
                continue
            except (OSError, AttributeError, KeyError, TypeError, ValueError):
                raise TrainingError(f"{folder / name} does not say how pictures are prepared") from None
        raise TrainingError(f"{folder} has none of {', '.join(FILES)}")

    def patches(self, images: Frames) -> tuple[npt.NDArray[np.float32], tuple[int, int, int]]:
        """(n, 3 * pair * patch_px**2) normalised patches of frames (k, height, width, 3), and (time, rows, columns).

        The order is Qwen2-VL's (arXiv 2409.12191, 2.1): the patches that become one token stand together. A frame
        without a partner is its own.
        """
        images = fitted(images, self.most_px, self.patch_px * self.merge)
        if odd := -len(images) % self.pair:
            images = np.concatenate([images, np.repeat(images[-1:], odd, axis=0)])
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        values = (images.astype(np.float32) / 255 - mean) / std
        count, height, width, colours = values.shape
        time, rows, columns = count // self.pair, height // self.patch_px, width // self.patch_px
        cut = values.reshape(
            *(time, self.pair),
            *(rows // self.merge, self.merge, self.patch_px),
            *(columns // self.merge, self.merge, self.patch_px),
            colours,
        ).transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)
        flat = np.ascontiguousarray(cut).reshape(time * rows * columns, -1)
        return flat.astype(np.float32, copy=False), (time, rows, columns)
