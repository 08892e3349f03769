"""The picture of a clip: one source frame scaled, turned upright and cut to the bucket's size.

Scaling comes first, straight to the final size, then turning and cutting of what is left. Colours come out with the
BT.709 matrix; a frame's own matrix and range are read from its tags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pipeline.encode import EncodeJob, Timeline

BLEED_PX = 4
"""A cropped side is scaled this much wider, so that the scaler draws nothing in from beyond. Ours."""
HD_LINES = 720
"""Untagged YUV of at least this many lines is BT.709, below BT.601: what players assume."""
UNSPECIFIED = 2
"""ITU-T H.273, MatrixCoefficients."""


@dataclass(frozen=True)
class Layout:
    """How an upright picture is scaled and where it is cut, in pixels of the result."""

    scaled_width: int
    scaled_height: int
    left: int
    top: int
    width: int
    height: int
    rotation_deg: int


def layout(index: Timeline, job: EncodeJob) -> Layout:
    """The scaling and the cut that cover the job's size with the cropped picture, centred, undistorted."""
    x0, y0, x1, y1 = job.crop
    crop_width, crop_height = (x1 - x0) * index.width, (y1 - y0) * index.height
    bleed_x = BLEED_PX if crop_width < index.width else 0
    bleed_y = BLEED_PX if crop_height < index.height else 0
    scale = max((job.width + bleed_x) / crop_width, (job.height + bleed_y) / crop_height)
    scaled_width = max(job.width, 2 * round(index.width * scale / 2))
    scaled_height = max(job.height, 2 * round(index.height * scale / 2))
    return Layout(
        scaled_width=scaled_width,
        scaled_height=scaled_height,
        left=_offset((x0 + x1) / 2 * scaled_width, job.width, scaled_width),
        top=_offset((y0 + y1) / 2 * scaled_height, job.height, scaled_height),
        width=job.width,
        height=job.height,
        rotation_deg=index.rotation_deg,
    )


def _offset(centre: float, size: int, whole: int) -> int:
    """Where a cut of `size` about `centre` begins: even, as the chroma planes have half the size."""
    return min(max(0, round((centre - size / 2) / 2) * 2), whole - size)


class Picture:
    """Makes the pictures of one clip: scaled, upright and cut, as yuv420p (BT.709 limited) or rgb24."""

    def __init__(self, cut: Layout, pixel_format: str) -> None:
        from av.video.reformatter import VideoReformatter

        self._cut = cut
        self._format = pixel_format
        self._scaler = VideoReformatter()

    def of(self, frame: Any) -> Any:
        """The av.VideoFrame of the result's size that shows this source frame."""
        import av
        from av.video.reformatter import ColorRange, Colorspace, Interpolation

        cut, rgb = self._cut, self._format == "rgb24"
        turned = cut.rotation_deg in (90, 270)
        exact = Interpolation.ACCURATE_RND | Interpolation.BITEXACT
        chroma = Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
        scaled = self._scaler.reformat(
            frame,
            width=cut.scaled_height if turned else cut.scaled_width,
            height=cut.scaled_width if turned else cut.scaled_height,
            format=self._format,
            src_colorspace=_matrix(frame),
            dst_colorspace=int(Colorspace.ITU709),
            dst_color_range=int(ColorRange.JPEG if rgb else ColorRange.MPEG),
            interpolation=Interpolation.BICUBIC | exact | chroma,
            threads=1,
        )
        result = av.VideoFrame(cut.width, cut.height, self._format)
        for source, target in zip(scaled.planes, result.planes, strict=True):
            _copy_cut(source, target, cut, channels=3 if rgb else 1, shrink=scaled.width // source.width)
        return result


def _copy_cut(source: Any, target: Any, cut: Layout, channels: int, shrink: int) -> None:
    """Copies the turned and cut plane; `shrink` is 2 for the chroma planes, which have half the size."""
    rows = np.frombuffer(source, np.uint8).reshape(-1, source.line_size)[: source.height]
    plane = rows[:, : source.width * channels].reshape(source.height, source.width, channels)
    plane = np.rot90(plane, -(cut.rotation_deg // 90))
    left, top = cut.left // shrink, cut.top // shrink
    plane = plane[top : top + target.height, left : left + target.width]
    padded = np.zeros((target.buffer_size // target.line_size, target.line_size), np.uint8)
    padded[: target.height, : target.width * channels] = plane.reshape(target.height, -1)
    target.update(padded)


def _matrix(frame: Any) -> int:
    """The frame's YUV matrix in swscale's numbers, from its tag (ITU-T H.273) or, untagged, its size."""
    from av.video.reformatter import Colorspace

    tagged = {
        1: Colorspace.ITU709,
        4: Colorspace.FCC,
        5: Colorspace.ITU601,
        6: Colorspace.SMPTE170M,
        7: Colorspace.SMPTE240M,
        9: Colorspace.BT2020,
        10: Colorspace.BT2020,
    }
    return int(tagged.get(int(frame.colorspace), guessed_matrix(frame)))


def guessed_matrix(frame: Any) -> int:
    """The YUV matrix, in swscale's numbers, of a frame of this size that has no tag."""
    from av.video.reformatter import Colorspace

    return int(Colorspace.ITU709 if min(frame.width, frame.height) >= HD_LINES else Colorspace.ITU601)
