"""From decoded frames to the pictures that are asked for: size, patch, turn and colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.frames import VideoIndex, shown_size
from pipeline.picture import UNSPECIFIED, guessed_matrix
from pipeline.stage import FrameSpec

Picture = npt.NDArray[np.uint8]
ROWS_A_CELL = 6
"""Rows of the source that each row of a thumbnail averages at least; further ones cost time and change nothing."""


class Pictures:
    """Makes one kind of picture of a video's frames: "rgb24", "bgr24" or "gray", upright, with square pixels."""

    def __init__(self, index: VideoIndex, spec: FrameSpec, kind: str) -> None:
        from av.video.reformatter import VideoReformatter

        self._kind = kind
        self._turns = -(index.rotation_deg // 90)
        self._scaler = VideoReformatter()
        width, height = shown_size(index, spec)
        self._splice = None
        self._cut = None
        if spec.fragments is not None:
            self._splice = _Splice(spec.fragments, spec.patch_px or 1)
            width, height = self._splice.whole(index)
        elif spec.patch_px is not None:
            self._cut = _Cut(index, width)
        sideways = index.rotation_deg in (90, 270)
        self._width, self._height = (height, width) if sideways else (width, height)

    def of(self, frame: Any) -> Picture:
        """(height, width, 3) uint8, or (height, width) when gray."""
        part = frame if self._cut is None else self._cut.of(frame)
        matrix = guessed_matrix(frame) if frame.colorspace == UNSPECIFIED else None
        picture = _converted(self._scaler, part, self._width, self._height, self._kind, matrix)
        upright = np.rot90(picture, self._turns)
        return np.ascontiguousarray(upright if self._splice is None else self._splice.of(upright))


class Thumbs:
    """Makes the thumbnails of a video's frames: the whole upright picture averaged down to `width` x `height` RGB.

    Of tall pictures every second, fourth ... row is enough to average: half the time or less for the same cuts.
    Untagged YUV counts as BT.601 whatever its size, as in the frames that TransNetV2's own reader makes.
    """

    def __init__(self, index: VideoIndex, width: int, height: int) -> None:
        from av.video.reformatter import VideoReformatter

        self._turns = -(index.rotation_deg // 90)
        sideways = index.rotation_deg in (90, 270)
        self._width, self._height = (height, width) if sideways else (width, height)
        self._scaler = VideoReformatter()
        self._halvings = max(0, (index.coded_height // (ROWS_A_CELL * self._height)).bit_length() - 1)
        self._rows = _Graph([("field", "type=top")] * self._halvings)

    def of(self, frame: Any) -> Picture:
        """(height, width, 3) uint8 RGB."""
        few = frame
        if self._halvings:
            few = self._rows.of(frame)
        thumb = _converted(self._scaler, few, self._width, self._height, "rgb24")
        return thumb if self._turns == 0 else np.rot90(thumb, self._turns)


class _Cut:
    """Cuts the central square, `side` pixels as displayed, out of coded frames."""

    def __init__(self, index: VideoIndex, side: int) -> None:
        width = min(index.coded_width, max(1, round(side / index.sar)))
        self._graph = _Graph([("crop", f"{width}:{min(index.coded_height, side)}")])

    def of(self, frame: Any) -> Any:
        return self._graph.of(frame)


@dataclass(frozen=True)
class _Splice:
    """Takes one patch out of the middle of each cell of a grid and puts them side by side."""

    count: int
    """Patches a side."""
    patch: int
    """Pixels a side of each."""

    def whole(self, index: VideoIndex) -> tuple[int, int]:
        """(width, height) of the picture to cut from: the video's own, enlarged where the patches would not fit."""
        scale = max(Fraction(self.count * self.patch, min(index.width, index.height)), Fraction(1))
        return math.ceil(index.width * scale), math.ceil(index.height * scale)

    def of(self, picture: Picture) -> Picture:
        """(count * patch, count * patch[, 3])."""
        rows, columns = (self._places(side) for side in picture.shape[:2])
        return picture[rows][:, columns]

    def _places(self, side: int) -> npt.NDArray[np.int64]:
        """Which lines of a side of the picture are taken: a run in the middle of each of `count` equal parts."""
        cell = side // self.count
        starts = np.arange(self.count) * cell + (cell - self.patch) // 2
        lines: npt.NDArray[np.int64] = (starts[:, None] + np.arange(self.patch)).ravel()
        return lines


class _Graph:
    """A chain of filters that gives one frame for one; made anew when the pixel format changes on the way."""

    def __init__(self, filters: list[tuple[str, str]]) -> None:
        self._filters = filters
        self._format = ""
        self._graph: Any = None

    def of(self, frame: Any) -> Any:
        if frame.format.name != self._format:
            self._begin(frame)
        self._graph.push(frame)
        return self._graph.pull()

    def _begin(self, frame: Any) -> None:
        import av

        self._format = frame.format.name
        self._graph = av.filter.Graph()
        last = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        for name, options in [*self._filters, ("buffersink", None)]:
            node = self._graph.add(name, options)
            last.link_to(node)
            last = node
        self._graph.configure()


def _converted(
    scaler: Any, frame: Any, width: int, height: int, kind: str, matrix: int | None = None
) -> Picture:
    """`frame` scaled and converted to full range; `matrix` is that of YUV, None for the tagged one or BT.601."""
    from av.video.reformatter import ColorRange, Interpolation

    smaller = width <= frame.width and height <= frame.height
    converted = scaler.reformat(
        frame,
        width=width,
        height=height,
        format=kind,
        src_colorspace=matrix,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.AREA if smaller else Interpolation.BICUBIC,
        threads=1,
    )
    picture: Picture = converted.to_ndarray()
    return picture


def jpeg(picture: Picture) -> bytes:
    """A BGR or gray picture as JPEG, quality 95, without chroma subsampling: what thresholds see stays as it was."""
    import cv2

    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        95,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    done, data = cv2.imencode(".jpg", picture, options)
    if not done:
        raise MemoryError("the JPEG encoder failed")
    return bytes(data.tobytes())
