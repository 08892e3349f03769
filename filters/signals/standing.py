"""Standing edges: where the same edge is seen in every frame of a clip, while others pass by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Gray

Map = npt.NDArray[np.float32]
LONGEST = 0.999
"""Cap of a mean direction's length where a gradient is solved from it. Ours."""
KERNEL = 8
"""Sum of the weights of Sobel's kernel on one side: its answer to a ramp of one level a pixel."""


PART_MIN = 0.03
"""Share of a group's standing edges below which a part that stands alone is none of it: less than a letter. Ours."""

FEW_FRAMES = 4.0
LENGTH_MIN = 12.0
"""Edges of a patch, in reaches, from which it counts: about the outline of two letters of a caption. Ours."""
SURE = 0.5
"""Score from which a patch is rather a mark than part of the scene."""
HALF_SURE = 3.0
"""Plainness with which a patch on moving ground has that score; parts of scenes rarely have 2.6. Ours."""
PASSES_LOW, PASSES_HIGH = 0.5, 0.9
"""Share of the edges around a patch that pass by with which it is part of the scene, and with which it is not. Ours."""
COVERED_MIN, BARE_MAX = 0.45, 0.1
"""Share of the ground around a patch with edges from which they tell, and up to which they tell nothing. Ours."""
SMALL_RATIO = 0.07
"""Share of the frame up to which a patch on such ground may be a mark; above are windows and posters. Ours."""


@dataclass(frozen=True)
class Edges:
    """What the luma edges of a clip do; maps are (height, width) float32."""

    across: Map
    """Mean horizontal direction of the edge here, -1 to 1."""
    down: Map
    """Mean vertical direction, -1 to 1."""
    stays: Map
    """Share of the frames that show an edge here, where it stands; else 0."""
    passes: Map
    """The same where edges pass by. What lies between the two is in neither."""
    frames: int
    level: float
    """Gradient of an edge, luma levels a pixel."""


def edges(cv2: Any, grays: Sequence[Gray], level: float, stays_min: float, passes_max: float) -> Edges:
    """The edges of frames of one size, at least two; `level` is the gradient of an edge in luma levels a pixel.

    A gradient g counts as the vector g / (|g| + level / 4): of length near 1 for any edge, short for noise. The mean of
    these vectors over the frames is long where an edge stands, and short where edges pass by: from `stays_min` the one,
    up to `passes_max` the other. After the consistent gradients of a watermark over many pictures (Dekel et al. 2017,
    "On the Effectiveness of Visible Watermarks", section 3.1).
    """
    across, down, seen = (np.zeros(grays[0].shape, np.float32) for _ in range(3))
    level *= KERNEL
    for gray in grays:
        gx, gy = (part.astype(np.float32) for part in cv2.spatialGradient(gray))
        length = cv2.magnitude(gx, gy)
        seen += cv2.threshold(length, level, 1.0, cv2.THRESH_BINARY)[1]
        length += level / 4
        across += np.divide(gx, length, out=gx)
        down += np.divide(gy, length, out=gy)
    for total in (across, down, seen):
        total /= len(grays)
    agreement = cv2.magnitude(across, down)
    stays = cv2.threshold(agreement, stays_min, 1.0, cv2.THRESH_BINARY)[1]
    passes = cv2.threshold(agreement, passes_max, 1.0, cv2.THRESH_BINARY_INV)[1]
    np.multiply(stays, seen, out=stays)
    np.multiply(passes, seen, out=passes)
    return Edges(across, down, stays, passes, len(grays), level / KERNEL)


@dataclass(frozen=True)
class Patch:
    """A group of standing edges; the box is in pixels, its right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int
    pixels: int
    """That hold a standing edge."""
    roundness: float
    """Smaller over larger spread of the edges' directions, the structure tensor's eigenvalues: 0 for parallel lines."""
    contrast: float
    """Mean gradient of its standing edges, luma levels a pixel: a faint or a wavering edge has a low one."""

    @property
    def corners(self) -> tuple[int, int, int, int]:
        return self.left, self.top, self.right, self.bottom

    def overlaps(self, other: Patch) -> bool:
        across = max(self.left, other.left) < min(self.right, other.right)
        return across and max(self.top, other.top) < min(self.bottom, other.bottom)

    @property
    def area_px(self) -> int:
        return (self.right - self.left) * (self.bottom - self.top)


def patches(cv2: Any, found: Edges, reach_px: int, dense_min: float) -> list[Patch]:
    """Groups of standing edges that lie within about `reach_px` of each other, lines of text as one.

    A pixel belongs to a group where at least `dense_min` of the square of `reach_px` around it are standing edges.
    """
    standing = (found.stays > 0).astype(np.uint8)
    dense = (cv2.blur(standing.astype(np.float32), (reach_px, reach_px)) >= dense_min).astype(np.uint8)
    joined = cv2.morphologyEx(dense, cv2.MORPH_CLOSE, np.ones((reach_px, 2 * reach_px + 1), np.uint8))
    count, labels = cv2.connectedComponents(joined)
    places = cv2.findNonZero(standing & dense)
    if places is None:
        return []
    xs, ys = places.reshape(-1, 2).T
    label, part = labels[ys, xs], cv2.connectedComponents(dense)[1][ys, xs]
    # A few edges that agree by chance must not stretch the box of what lies beside them.
    main = np.bincount(part)[part] >= PART_MIN * np.bincount(label)[label]
    ys, xs, label = ys[main], xs[main], label[main]
    u, v = found.across[ys, xs], found.down[ys, xs]
    pixels = np.bincount(label, minlength=count)
    uu, vv, uv = (np.bincount(label, product, count) for product in (u * u, v * v, u * v))
    gap = np.sqrt((uu - vv) ** 2 + 4 * uv**2)
    roundness = (uu + vv - gap) / np.maximum(uu + vv + gap, 1e-9)
    # The length of the mean direction, g / (g + level / 4), solved for the gradient g.
    length = np.minimum(np.hypot(u, v), LONGEST)
    gradient = np.bincount(label, found.level / 4 * length / (1 - length), count) / np.maximum(pixels, 1)
    corners = np.array([[10**6, 10**6, 0, 0]] * count)
    for column, (place, reduce) in enumerate(
        [(xs, np.minimum), (ys, np.minimum), (xs + 1, np.maximum), (ys + 1, np.maximum)]
    ):
        reduce.at(corners[:, column], label, place)
    return [
        Patch(left, top, right, bottom, int(pixels[i]), float(roundness[i]), float(gradient[i]))
        for i, (left, top, right, bottom) in enumerate(corners.tolist())
        if i > 0 and pixels[i]
    ]


def without_lines(cv2: Any, found: Edges, reach_px: int, round_min: float) -> Edges:
    """The edges less those that stand in a straight line: a logo is told from the window frame that it touches.

    A standing edge is one of a line when the directions in the square of three reaches around it spread less than
    `round_min`, see Patch.roundness.
    """
    height, width = found.stays.shape
    stands = found.stays[::2, ::2] > 0
    u, v = found.across[::2, ::2] * stands, found.down[::2, ::2] * stands
    side = 3 * reach_px // 2 | 1
    uu, vv, uv = (cv2.blur(product, (side, side)) for product in (u * u, v * v, u * v))
    gap = cv2.magnitude(uu - vv, 2 * uv)
    is_round = (uu + vv - gap >= round_min * (uu + vv + gap)).astype(np.float32)
    return replace(
        found, stays=found.stays * cv2.resize(is_round, (width, height), interpolation=cv2.INTER_NEAREST)
    )


def drawn(cv2: Any, found: Edges, reach_px: int, dense_min: float, round_min: float) -> list[Patch]:
    """Patches that look drawn or written: dense, round and long enough.

    Of all edges, and where none of those overlaps, of the edges that are in no line. On few frames more edges agree by
    chance, so a patch must be denser by 1 + FEW_FRAMES / n**2.
    """
    dense_min *= 1 + FEW_FRAMES / found.frames**2
    kept: list[Patch] = []
    if cv2.countNonZero(found.stays) < LENGTH_MIN * reach_px:
        return kept
    for part in (found, without_lines(cv2, found, reach_px, round_min)):
        kept += [
            patch
            for patch in patches(cv2, part, reach_px, dense_min)
            if patch.pixels >= max(dense_min * patch.area_px, LENGTH_MIN * reach_px)
            and patch.roundness >= round_min
            and not any(patch.overlaps(other) for other in kept)
        ]
    return kept


TEXTURED = 0.02
"""Share of edge pixels from which a block has texture: one edge across a block in a third of the frames. Ours."""


@dataclass(frozen=True)
class Grid:
    """The edges in square blocks of `block_px`: shares of each block, (rows, columns)."""

    stays: Map
    passes: Map
    block_px: int

    @property
    def moving_ratio(self) -> float:
        """Share of the edges that pass by, block by block, so that one busy place does not outvote the rest."""
        total = self.stays + self.passes
        textured = total >= TEXTURED
        return float((self.passes[textured] / total[textured]).mean()) if textured.any() else 0.0

    def around(self, patch: Patch) -> tuple[float, float]:
        """Of the ring of two blocks around a patch: the share of edges that pass by, and of blocks with edges."""
        top, left = patch.top // self.block_px, patch.left // self.block_px
        bottom, right = -(-patch.bottom // self.block_px), -(-patch.right // self.block_px)
        ring = np.zeros(self.stays.shape, np.bool_)
        ring[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = True
        ring[top:bottom, left:right] = False
        passes, total = self.passes[ring], self.stays[ring] + self.passes[ring]
        if not total.sum() > 0:
            return 0.0, 0.0
        return float(passes.sum() / total.sum()), float((total >= TEXTURED).mean())

    def surety(self, patch: Patch) -> float:
        """0 to 1: how surely a patch was drawn over the picture, from SURE on rather so than part of the scene.

        Its plainness, which is roundness x density x contrast x the root of its edges' share of the frame in
        thousandths, over plainness + HALF_SURE; less where the ground around it stands. Where little of that ground has
        edges, those of the whole picture must pass by too, and the patch be small.
        """
        frame_px = self.stays.size * self.block_px**2
        density, thousandths = patch.pixels / patch.area_px, 1000 * patch.pixels / frame_px
        moving, covered = self.around(patch)
        if covered < COVERED_MIN:
            beside = moving if covered >= BARE_MAX else 1.0
            moving = min(beside, self.moving_ratio) if patch.area_px <= SMALL_RATIO * frame_px else 0.0
        plain = patch.roundness * density * patch.contrast * math.sqrt(thousandths)
        plain *= min(1.0, max(0.0, (moving - PASSES_LOW) / (PASSES_HIGH - PASSES_LOW)))
        return plain / (plain + HALF_SURE)


def grid(cv2: Any, found: Edges, block_px: int, without: Sequence[Patch] = ()) -> Grid:
    """The edges in blocks; those that stand in the patches of `without` are left out."""
    stays = found.stays.copy()
    for patch in without:
        stays[patch.top : patch.bottom, patch.left : patch.right] = 0
    height, width = stays.shape
    size = max(1, width // block_px), max(1, height // block_px)
    stays, passes = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (stays, found.passes))
    return Grid(stays, passes, block_px)
