"""Hashes of frames, of their mirror images and of a clip's whole content, for finding copies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import Rgb, one_thread_cv2, shown, spread
from filters.signals.framed import within_bars
from pipeline.clip import ID_HEX, Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage

SIDE_PX = 32
BITS = np.left_shift(np.uint64(1), np.arange(64, dtype=np.uint64))
MIRROR = np.tile((-1.0) ** np.arange(1, 9), (8, 1))
"""Mirroring a picture left to right turns the sign of its odd horizontal frequencies."""


@dataclass(frozen=True)
class PHash(Stage):
    """One 64-bit hash a frame: signs of 8 x 8 low DCT frequencies against their median (Zauner 2010, pHash).

    The picture inside its bars is squeezed to 32 x 32 luma; the zero frequencies are left out, so brightness does not
    count. The three lists have one value for each of at most `most_frames` frames, evenly spread. A flat frame's hash
    is noise and should not be compared. `content_hash` is a sha256, cut to 20 hex digits, over every frame of the view
    and the number of frames that the clip has: equal for clips that decode to the same. It is null where all hashed
    frames are flat, so that no black clip is a copy of another.
    """

    name = "phash"
    version = 2
    columns = pa.schema(
        [
            pa.field("phash", pa.list_(pa.uint64())),
            pa.field("phash_mirrored", pa.list_(pa.uint64())),
            pa.field("phash_flat", pa.list_(pa.bool_())),
            pa.field("content_hash", pa.string()),
        ]
    )
    frames = VIEW
    requires = ("border",)

    most_frames: int = 16
    flat_level: float = 4.0
    """Standard deviation in luma levels of the 32 x 32 picture below which a frame is flat."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        images = shown(frames).images
        chosen = spread(len(images), clip.duration_s, 0.5, self.most_frames)
        hashes = [self._hash(state, within_bars(images[i], clip.upstream["border"])) for i in chosen]
        plain, mirrored, flat = zip(*hashes, strict=True)
        return {
            "phash": list(plain),
            "phash_mirrored": list(mirrored),
            "phash_flat": list(flat),
            "content_hash": None if all(flat) else _content(images, clip.end_frame - clip.start_frame),
        }

    def _hash(self, cv2: Any, image: Rgb) -> tuple[int, int, bool]:
        luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(luma, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float64)
        low = cv2.dct(small)[1:9, 1:9]
        return _bits(low), _bits(low * MIRROR), bool(small.std() < self.flat_level)


def _content(images: Rgb, frame_count: int) -> str:
    digest = hashlib.sha256(f"{frame_count} {images.shape}".encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()[:ID_HEX]


def _bits(frequencies: Any) -> int:
    above = (frequencies > np.median(frequencies)).reshape(-1)
    return int(BITS[above].sum(dtype=np.uint64))
