"""Which duration x aspect bucket a clip trains in, and at which frame rate.

Pure arithmetic without heavy imports, so that a trainer can import it. The two axes and the residue
rule for frame rates follow SkyReels-V2 (arXiv 2504.13074, dual-axis bucketing); the bins, the bounds and the
ties are ours, each said where it stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from typing import Any

GRID_PX = 16
"""Picture sides are multiples of this: a latent pixel is 8 pixels and a patch 2 latent pixels (Wan 2.1)."""
LEAST_PX = 64
"""Smallest resolution: below it the grid cannot tell the aspects apart."""
NTSC_RATIO = 0.002
"""A rate this close to a whole number is that number: 23.976 and 59.94 (1000/1001) are 24 and 60. Ours."""
JITTER_RATIO = 0.1
"""Share of a source frame by which a clip's end may be misread: containers round timestamps to 1 ms. Ours."""

Crop = tuple[float, float, float, float]
"""x0, y0, x1, y1 as ratios of the upright picture."""
WHOLE: Crop = (0.0, 0.0, 1.0, 1.0)


class Misfit(StrEnum):
    """Why a clip fits no bucket; the value is what tables and reports show."""

    FPS_TOO_LOW = "fps_too_low"  # below every target rate: frames would have to be repeated
    TOO_SHORT = "too_short"  # shorter than the shortest bucket of more than one frame
    NO_IMAGES = "no_images"  # an image, and the pool has no bucket of one frame
    ASPECT = "aspect_out_of_range"  # the nearest aspect would cut away more than max_crop_ratio
    TOO_SMALL = "too_small"  # would be enlarged by more than max_upscale_ratio


@dataclass(frozen=True)
class Bucket:
    """One cell of the duration x aspect table, and the rate at which this clip enters it."""

    name: str
    """`t097-ar16x9`: the same at either rate, so that one batch may hold both."""
    frames: int
    width: int
    height: int
    fps: int


@dataclass(frozen=True)
class Buckets:
    """A pool's table of buckets: the keys of a recipe's `[shard]`. ValueError: one of them is wrong."""

    resolution: str = "256p"
    """Short side of the 16:9 picture; every aspect has about its area, on multiples of GRID_PX."""
    frame_counts: tuple[int, ...] = (1, 17, 33, 49, 65, 81, 97)
    """Each 4k+1, as a 4x temporal VAE wants; the defaults are 8k+1 too, as an 8x one does. 1 is an image."""
    aspects: tuple[str, ...] = ("21x9", "16x9", "4x3", "1x1", "3x4", "9x16")
    """Width x height. Neighbours are at most 1.35 apart, so a picture between two loses at most 14 %."""
    fps: tuple[int, ...] = (16, 24)
    max_upscale_ratio: float = 1.1
    """Most that a picture is enlarged: 540 lines in the 544 of a bucket pass, 480 do not. Ours."""
    max_crop_ratio: float = 0.2
    """Most of the area that the centre crop to the bucket's aspect may cut away; 9:19.5 phones pass. Ours."""

    def __post_init__(self) -> None:
        if not (self.resolution.endswith("p") and self.resolution[:-1].isdecimal()):
            raise ValueError(f"resolution is {self.resolution!r}, not a short side such as '540p'")
        if int(self.resolution[:-1]) < LEAST_PX:
            raise ValueError(f"resolution is {self.resolution}, less than {LEAST_PX} pixels")
        for name in ("frame_counts", "aspects", "fps"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{name} is {list(values)}: it needs at least one value and none twice")
        for frames in self.frame_counts:
            if frames < 1 or frames % 4 != 1:
                raise ValueError(f"frame_counts has {frames}, which is not 4k+1")
        for fps in self.fps:
            if fps < 1:
                raise ValueError(f"fps has {fps}, which is not a rate")
        for aspect in self.aspects:
            _sides(aspect)
        if not (math.isfinite(self.max_upscale_ratio) and self.max_upscale_ratio >= 1):
            raise ValueError(f"max_upscale_ratio is {self.max_upscale_ratio}, less than 1 or not finite")
        if not 0 <= self.max_crop_ratio < 1:
            raise ValueError(f"max_crop_ratio is {self.max_crop_ratio}, not in [0, 1)")

    @cached_property
    def sizes(self) -> tuple[tuple[str, int, int], ...]:
        """(aspect, width px, height px) of every aspect, in the order of `aspects`."""
        area = int(self.resolution[:-1]) ** 2 * 16 / 9
        return tuple((aspect, *_size(area, *_sides(aspect))) for aspect in self.aspects)

    @cached_property
    def clip_frames(self) -> tuple[int, ...]:
        """Frame counts of more than one frame, longest first."""
        return tuple(sorted((count for count in self.frame_counts if count > 1), reverse=True))


def buckets_from(settings: Mapping[str, Any]) -> Buckets:
    """The table that these TOML values describe. ValueError: an unknown key or a wrong type."""
    known = {field.name: field.default for field in fields(Buckets)}
    values: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in known:
            raise ValueError(f"unknown key {key}; the keys are {', '.join(known)}")
        default = known[key]
        if isinstance(default, tuple):
            kind = type(default[0])
            if not isinstance(value, list) or any(type(item) is not kind for item in value):
                raise ValueError(f"{key} is {value!r}, not a list of {kind.__name__}")
            values[key] = tuple(value)
        elif isinstance(default, float):
            if type(value) not in (int, float):
                raise ValueError(f"{key} is {value!r}, not a number")
            values[key] = float(value)
        elif type(value) is not str:
            raise ValueError(f"{key} is {value!r}, not text")
        else:
            values[key] = value
    return Buckets(**values)


def target_fps(fps: float, targets: tuple[int, ...] = (16, 24)) -> int | None:
    """The target rate that leaves the least residue of `fps` mod target (SkyReels-V2); None: all are higher.

    A target above the source is left out, because it would repeat frames. Of equal residues (48, 50, 60 fps)
    the higher rate wins: it keeps more of the motion. Ours, both.
    """
    if not math.isfinite(fps):
        return None
    whole = round(fps)
    rate = whole if abs(fps - whole) <= NTSC_RATIO * fps else fps
    reachable = [target for target in targets if target <= rate]
    return min(reachable, key=lambda target: (math.fmod(rate, target), -target), default=None)


def bucket_for(
    duration_s: float,
    fps: float,
    width: int,
    height: int,
    buckets: Buckets,
    crop: Crop = WHOLE,
    is_image: bool = False,
) -> Bucket | Misfit:
    """The bucket of a clip, or why it fits none.

    `width`, `height` are the upright picture's, `crop` the part of it that is used. The longest frame count
    wins whose last frame is not after the clip's last frame, then the aspect that cuts least (scaled to cover
    and cut around the centre: nothing is squeezed). An image takes the one-frame bucket and the highest rate.
    ValueError: no picture is left by the size and crop.
    """
    cropped_width = width * (crop[2] - crop[0])
    cropped_height = height * (crop[3] - crop[1])
    if not (0 <= crop[0] < crop[2] <= 1 and 0 <= crop[1] < crop[3] <= 1 and width > 0 and height > 0):
        raise ValueError(f"a picture of {width}x{height} px cropped to {crop} has no area")
    if is_image:
        if 1 not in buckets.frame_counts:
            return Misfit.NO_IMAGES
        frames, rate = 1, max(buckets.fps)
    else:
        chosen = target_fps(fps, buckets.fps)
        if chosen is None:
            return Misfit.FPS_TOO_LOW
        shown_s = duration_s - (1 - JITTER_RATIO) / fps  # from the first frame to the last
        longest = next((count for count in buckets.clip_frames if (count - 1) / chosen <= shown_s), None)
        if longest is None:
            return Misfit.TOO_SHORT
        frames, rate = longest, chosen
    return _shape(cropped_width, cropped_height, frames, rate, buckets)


def _shape(width: float, height: float, frames: int, fps: int, buckets: Buckets) -> Bucket | Misfit:
    """The bucket of these frames whose aspect cuts least within both bounds."""
    ratio = width / height
    best: tuple[float, Bucket] | None = None
    misfit = Misfit.ASPECT
    for aspect, to_width, to_height in buckets.sizes:
        wanted = to_width / to_height
        kept = min(ratio / wanted, wanted / ratio)
        if 1 - kept > buckets.max_crop_ratio:
            continue
        if max(to_width / width, to_height / height) > buckets.max_upscale_ratio:
            misfit = Misfit.TOO_SMALL
            continue
        if best is None or kept > best[0]:
            best = (kept, Bucket(f"t{frames:03d}-ar{aspect}", frames, to_width, to_height, fps))
    return misfit if best is None else best[1]


def _sides(aspect: str) -> tuple[int, int]:
    """Width and height of `16x9`. ValueError otherwise."""
    width, _, height = aspect.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) > 0 and int(height) > 0):
        raise ValueError(f"aspects has {aspect!r}, which is not a width x height such as '16x9'")
    return int(width), int(height)


def _size(area_px: float, aspect_width: int, aspect_height: int) -> tuple[int, int]:
    """Width and height on the grid around this area: the ratio nearest to the aspect, then the area."""
    ratio = aspect_width / aspect_height
    pairs = [
        (width, height)
        for width in _around(math.sqrt(area_px * ratio))
        for height in _around(math.sqrt(area_px / ratio))
    ]
    return min(
        pairs, key=lambda pair: (abs(math.log(pair[0] / pair[1] / ratio)), abs(pair[0] * pair[1] - area_px))
    )


def _around(side_px: float) -> tuple[int, int]:
    """The multiples of GRID_PX at and below, at and above this side, at least one."""
    steps = side_px / GRID_PX
    return max(GRID_PX, math.floor(steps) * GRID_PX), max(GRID_PX, math.ceil(steps) * GRID_PX)
