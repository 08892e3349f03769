"""What drawn pictures look like: flat colours, sharp edges along the axes, few tones, things that stay. Ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filters.base import Gray, Rgb
from filters.signals.washes import ramp

FLAT_LEVELS, SOFT_LEVELS, EDGE_LEVELS = 1, 3, 24
"""Luma steps to the next pixel: up to the first it is flat, from the second on textured, from the third an edge."""
DARK_LEVEL = 24
"""Luma up to which coding flattens whatever there is."""
VIVID_LEVELS = 140
"""Largest less smallest channel of a colour that no camera sees over large areas."""
SAME_LEVELS = 2
"""Luma: a pixel that changed by no more is the same."""
GRID = 4
"""Rows and columns of fields in which things that stay are counted."""
STAYS_SHARE = 0.8
"""Of the frames: an edge seen in so many stays."""
SPARSE_PX = 4
"""Every fourth pixel is enough to count colours."""


@dataclass(frozen=True)
class Looks:
    """Means over a clip's frames; shares from 0 to 1."""

    flat: float
    """Pixels that equal their neighbours and are not dark."""
    edges: float
    """Pixels at an edge."""
    straight: float
    """Edges that run along one axis."""
    crisp: float
    """Edges among all that is not flat: drawings have little in between."""
    vivid: float
    """Pixels of a pure colour."""
    two_colours: float
    """Pixels of the two commonest colours (4 bits a channel)."""
    same: float
    """Pixels that do not change from one frame to the next, the median over frames; 0 for one frame."""
    stay: float
    """Edges that stay over the clip, of all edges; 0 for one frame."""
    rim: int
    """Outer fields, of 12, with edges that stay."""


def looks(cv2: Any, images: Sequence[Rgb]) -> Looks:
    """Statistics of frames (height, width, 3) of one size, at least 2 x 2 pixels, without their bars."""
    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    frames, marks = [], np.zeros((grays[0].shape[0] - 1, grays[0].shape[1] - 1), np.uint8)
    for gray, image in zip(grays, images, strict=True):
        values, edge = _lines(cv2, gray)
        frames.append((*values, *_colours(image[::SPARSE_PX, ::SPARSE_PX])))
        cv2.add(marks, edge & 1, marks)
    same = [
        cv2.countNonZero(cv2.compare(cv2.absdiff(one, two), SAME_LEVELS, cv2.CMP_LE)) / one.size
        for one, two in zip(grays[1:], grays[:-1], strict=True)
    ]
    flat, edges, straight, crisp, vivid, two = np.mean(frames, axis=0).tolist()
    stays = (marks >= STAYS_SHARE * len(grays)) & (len(grays) > 1)
    stay = min(1.0, float(stays.mean()) / edges) if edges else 0.0
    # Of each field, half a hundredth.
    fields = cv2.resize(stays.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA) >= 0.005
    fields[1:-1, 1:-1] = False
    mean_same = float(np.median(same)) if same else 0.0
    return Looks(flat, edges, straight, crisp, vivid, two, mean_same, stay, int(fields.sum()))


def _lines(cv2: Any, gray: Gray) -> tuple[tuple[float, ...], Gray]:
    """flat, edges, straight and crisp of one frame, and where its edges are (255)."""
    across = cv2.absdiff(gray[:-1, 1:], gray[:-1, :-1])
    down = cv2.absdiff(gray[1:, :-1], gray[:-1, :-1])
    most = cv2.max(across, down)
    edge: Gray = cv2.compare(most, EDGE_LEVELS, cv2.CMP_GE)
    flat = cv2.compare(most, FLAT_LEVELS, cv2.CMP_LE) & cv2.compare(gray[:-1, :-1], DARK_LEVEL, cv2.CMP_GT)
    along = cv2.compare(cv2.min(across, down), SOFT_LEVELS, cv2.CMP_LE) & edge
    soft = cv2.countNonZero(cv2.compare(most, SOFT_LEVELS, cv2.CMP_GE))
    count = cv2.countNonZero(edge)
    shares = cv2.countNonZero(flat) / most.size, count / most.size
    return (*shares, cv2.countNonZero(along) / max(1, count), count / max(1, soft)), edge


def _colours(image: Rgb) -> tuple[float, float]:
    """vivid and two_colours of one frame."""
    red, green, blue = (np.ascontiguousarray(image[..., channel]) for channel in range(3))
    most, least = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    vivid = float((most - least >= VIVID_LEVELS).mean())
    tones = ((red >> 4).astype(np.int32) << 8 | (green & 240).astype(np.int32) << 4 | blue >> 4).ravel()
    counts = np.bincount(tones, minlength=4096)
    return vivid, int(np.partition(counts, -2)[-2:].sum()) / len(tones)


def evenness(flow: Mapping[str, Any]) -> float:
    """How surely one picture is panned or zoomed over, 0 to 1: all of it follows a camera whose speed never varies."""
    motion = np.array([flow[f"flow_{part}"] for part in ("dx", "dy", "zoom")], float)
    if motion.shape[1] < 3:
        return 0.0
    # Medians: over a key frame or the one after it a coder lets a slow picture stand.
    changes, speeds = (np.median(np.abs(values).sum(axis=0)) for values in (np.diff(motion, axis=1), motion))
    uneven = float(changes / max(0.01, speeds))
    follows, speed = min(flow["flow_inlier_share"]), float(np.mean(flow["flow_camera"]))
    return (1 - ramp(uneven, 0.15, 0.35)) * ramp(follows, 0.6, 0.85) * ramp(speed, 0.003, 0.006)
