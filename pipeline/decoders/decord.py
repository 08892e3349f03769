"""Frames by decord, where it can be trusted: an optional backend; what it gets wrong it refuses.

decord 0.6 decodes in order only here: by seeking it gives wrong frames of HEVC, and in AVI and MPEG-TS it gives wrong
frames even in order. It has no AV1 decoder. Its sizes are those of the upright picture.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import numpy as np

from pipeline.decoders.guard import open_file
from pipeline.frames import SLICE_FRAMES, Limits, VideoIndex
from pipeline.reasons import MediaError, Reason

CONTAINERS = ("mov", "matroska")
CODECS = ("h264", "hevc", "vp8", "vp9")
OFF_BY_S = 0.002
"""Its timestamps are single-precision seconds rounded from the container's ticks, of a millisecond in Matroska."""


def read_frames(
    path: str, index: VideoIndex, start: int, end: int, limits: Limits, alive: Callable[[], None]
) -> Generator[tuple[int, Any]]:
    """(frame number, av.VideoFrame in RGB as coded) of [start, end), decoded in order from the first.

    Raises MediaError: unsupported_codec for what it cannot do right, decode_error.
    """
    import av
    from decord import DECORDError, VideoReader

    if (
        index.container not in CONTAINERS
        or index.codec not in CODECS
        or index.interlaced
        or not index.seekable
    ):
        raise MediaError(
            Reason.UNSUPPORTED_CODEC, f"decord does not read {index.codec} in {index.container} right"
        )
    with closing(open_file(path)) as file:
        try:
            reader = VideoReader(f"/proc/self/fd/{file.fileno()}", num_threads=1)
            _check(reader, index)
            for number in range(end):
                if number % SLICE_FRAMES == SLICE_FRAMES - 1:
                    alive()
                picture = reader.next().asnumpy()
                if number >= start:
                    coded = np.ascontiguousarray(np.rot90(picture, index.rotation_deg // 90))
                    yield number, av.VideoFrame.from_ndarray(coded, format="rgb24")
        except (DECORDError, StopIteration) as error:
            raise MediaError(Reason.DECODE_ERROR, "decord reports an error") from error


def _check(reader: Any, index: VideoIndex) -> None:
    """Refuses a video of which decord sees other frames: asking for one that it cannot reach would hang it."""
    count = len(reader)
    if count != index.frame_count:
        raise MediaError(Reason.DECODE_ERROR, f"decord sees {count} frames of {index.frame_count}")
    found = np.sort(reader.get_frame_timestamp(range(count))[:, 0].astype(np.float64))
    if np.abs(found - found[0] - index.times_s[:-1]).max() > OFF_BY_S:
        raise MediaError(Reason.DECODE_ERROR, "decord sees other timestamps")
