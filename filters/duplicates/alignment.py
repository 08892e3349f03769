"""How well one picture lies in another, whatever was cut off, turned over, drawn on or put through a coder.

Small pictures are compared, not descriptions: one of the two must be the other, or a window of it. So two pictures of
like content that are not copies do not pass, however near their embeddings are. Ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

SIDE_PX = 24
"""Side of a thumb."""
BLUR_PX = 4.0
"""Light that varies slower than this over a thumb is taken off: skies and floors are alike everywhere."""
PAIRS_A_STEP = 512
Thumbs = npt.NDArray[np.int8]
"""(n, SIDE_PX * SIDE_PX)"""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """How closely two thumbs are compared."""

    side_px: int
    """At which the thumbs are taken."""
    seen_px: int
    """At which a window of one and the whole of the other are compared."""
    kept: tuple[tuple[float, float], ...]
    """Width and height of the windows, as shares."""
    places: int = 3
    """Most places of a window along a side."""


CLOSE = Look(
    SIDE_PX,
    10,
    (
        *((share, share) for share in (1.0, 0.93, 0.86, 0.8, 0.74, 0.68, 0.62)),
        *((1.0, 0.75), (0.75, 1.0), (1.0, 0.87), (0.87, 1.0)),
    ),
)
"""Crops to 62 % of each side, and to another aspect: 0.3 ms a pair."""
QUICK = Look(12, 6, ((1.0, 1.0), (0.86, 0.86), (0.74, 0.74), (0.62, 0.62), (1.0, 0.8), (0.8, 1.0)))
"""A fifth of the cost, to sort out most pairs that are none."""
QUICK_MARGIN = 0.2
"""By which the quick look may fall short: 0.6 % of those that pass the close one do by more, and 86 % of the others."""


def thumb(cv2: Any, luma: npt.NDArray[np.uint8]) -> bytes:
    """SIDE_PX * SIDE_PX int8, row by row: the picture squeezed, its slow light taken off, at full scale."""
    small = cv2.resize(luma, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= cv2.GaussianBlur(small, (0, 0), BLUR_PX)
    scaled: Thumbs = np.round(small * (127 / max(1.0, float(np.abs(small).max())))).astype(np.int8)
    return scaled.tobytes()


def alignment(ones: Thumbs, others: Thumbs, look: Look = CLOSE) -> Floats:
    """(n,) the best correlation, -1 to 1, of each thumb with a window of its partner, turned over or not."""
    found = [
        _best(ones[start : start + PAIRS_A_STEP], others[start : start + PAIRS_A_STEP], look)
        for start in range(0, len(ones), PAIRS_A_STEP)
    ]
    return np.concatenate([np.zeros(0, np.float32), *found])


def _best(ones: Thumbs, others: Thumbs, look: Look) -> Floats:
    one, other = _taken(ones, look), _taken(others, look)
    found = np.full(len(one), -1.0, np.float32)
    size = look.seen_px**2
    for whole, part in ((one, other), (other, one)):
        windows = (whole @ _windows(look)).reshape(len(one), -1, size)
        lengths = _length(windows)
        turned = part.reshape(-1, look.side_px, look.side_px)[:, :, ::-1].reshape(len(one), -1)
        for picture in (part, turned):
            seen = picture @ _windows(look)[:, :size]
            seen /= _length(seen)[:, None]
            np.maximum(found, ((windows @ seen[:, :, None])[:, :, 0] / lengths).max(axis=1), out=found)
    return found


def _length(vectors: Floats) -> Floats:
    """Of the last axis; not quite 0 for flat ones."""
    lengths: Floats = np.sqrt(np.einsum("...i,...i->...", vectors, vectors)) + np.float32(1e-3)
    return lengths


def _taken(thumbs: Thumbs, look: Look) -> Floats:
    """(n, look.side_px ** 2) the thumbs at that size."""
    block = SIDE_PX // look.side_px
    blocks = thumbs.astype(np.float32).reshape(-1, look.side_px, block, look.side_px, block)
    taken: Floats = blocks.mean(axis=(2, 4)).reshape(len(thumbs), -1)
    return taken


@cache
def _windows(look: Look) -> Floats:
    """(pixels, windows * seen pixels) what each window shows, less its mean; the first one is the whole thumb."""
    shown = [
        np.einsum("sy,rx->yxsr", _sampled(look, height, top), _sampled(look, width, left))
        for width, height in look.kept
        for top in _places(look, height)
        for left in _places(look, width)
    ]
    pixels, seen = look.side_px**2, look.seen_px**2
    even = [one - one.mean(axis=1, keepdims=True) for one in (each.reshape(pixels, seen) for each in shown)]
    return np.concatenate(even, axis=1).astype(np.float32)


def _places(look: Look, share: float) -> list[float]:
    """Where a window of this size begins along a side, evenly spread and the same from both ends."""
    count = min(look.places, round((1 - share) * look.side_px / 1.5) // 2 * 2 + 1)
    return [(1 - share) * (i / (count - 1) if count > 1 else 0.5) for i in range(count)]


def _sampled(look: Look, share: float, start: float) -> npt.NDArray[np.float64]:
    """(seen, side) how much of each pixel along a side is in each sample: the overlap of the two."""
    edges = (start + share * np.arange(look.seen_px + 1) / look.seen_px) * look.side_px
    pixels = np.arange(look.side_px)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares: npt.NDArray[np.float64] = np.maximum(overlap, 0) / (share * look.side_px / look.seen_px)
    return shares
