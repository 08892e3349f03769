"""Frames by PyAV (FFmpeg), decoded in order on one thread: the default backend, and the one that probes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.decoders.formats import AUDIO_CODECS, FORMATS, VIDEO_CODECS
from pipeline.decoders.guard import BUFFER_BYTES, open_file
from pipeline.frames import SLICE_FRAMES, Limits, VideoIndex
from pipeline.reasons import MediaError, Reason

UNSTAMPED = ("avi", "mxf")
"""Containers that number packets, not pictures: their frames are counted, as stamps of reordered ones are guesses."""
OPEN_ENDED = ("mpeg",)
"""Containers whose last picture may be without a stamp, for it is told from the packets that follow."""
NEIGHBOURS = 2
"""Frames decoded before a span and after it where fields are woven: a deinterlacer looks at the ones beside."""
SEEK_TRIES = 4


def nothing() -> None:
    """For callers that give no sign of life."""


def open_media(path: str, limits: Limits) -> Any:
    """The av.container.InputContainer of a file: allow-listed formats and codecs, and no way to open any other file.

    Raises MediaError: those of guard.open_file, and not_media.
    """
    import av

    file = open_file(path)
    options = {
        "format_whitelist": ",".join(FORMATS),
        "codec_whitelist": ",".join(VIDEO_CODECS + AUDIO_CODECS),
        "protocol_whitelist": "",
        "max_pixels": str(limits.max_pixels),
    }
    try:
        return av.open(
            file, "r", options=options, buffer_size=BUFFER_BYTES, io_open=_refuse, metadata_errors="replace"
        )
    except MemoryError:
        raise
    except (av.FFmpegError, PermissionError) as error:
        raise MediaError(Reason.NOT_MEDIA, "no allowed demuxer reads it") from error


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError("a media file may not open another")


def video_stream(container: Any, limits: Limits) -> Any:
    """The stream to show: the first one marked as default, cover art apart; one thread, bounded picture size.

    Raises MediaError: no_video, unsupported_codec.
    """
    from av.stream import Disposition

    cover = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        raise MediaError(Reason.NO_VIDEO, "no video stream")
    stream = min(streams, key=lambda s: (not s.disposition & Disposition.default, s.index))
    context = stream.codec_context
    if context is None or context.name not in VIDEO_CODECS:
        name = "unknown" if context is None else context.name
        raise MediaError(Reason.UNSUPPORTED_CODEC, f"the video codec is {name}")
    if not context.is_open:
        context.thread_count = 1
        context.thread_type = "NONE"
        context.options = {"max_pixels": str(limits.max_pixels)}
    return stream


def packets_of(container: Any, *streams: Any) -> Iterator[Any]:
    """The packets of these streams, or of all, and at the end an empty one for each, which ends its decoder.

    Streams that appear on the way, as in MPEG-TS, are not among them.
    """
    try:
        yield from container.demux(*streams)
    except IndexError:  # PyAV, at the very end, has an empty packet for the streams that it did not know, too
        return


def iter_frames(
    container: Any,
    index: VideoIndex,
    start: int,
    end: int,
    limits: Limits,
    alive: Callable[[], None] = nothing,
) -> Iterator[tuple[int, Any]]:
    """(frame number, av.VideoFrame) of [start, end) in order, as coded but deinterlaced.

    A seekable video may be read with the same container again; any other needs a fresh one. `alive` is called
    every 250 decoded frames. Raises MediaError: decode_error, size_changes.
    """
    start, end = max(0, start), min(end, index.frame_count)
    if start >= end:
        return
    if not index.interlaced:
        yield from _decoded(container, index, start, end, limits, alive)
        return
    low, high = max(0, start - NEIGHBOURS), min(index.frame_count, end + NEIGHBOURS)
    for number, frame in _woven(_decoded(container, index, low, high, limits, alive)):
        if start <= number < end:
            yield number, frame


def _decoded(
    container: Any, index: VideoIndex, start: int, end: int, limits: Limits, alive: Callable[[], None]
) -> Iterator[tuple[int, Any]]:
    """The frames of [start, end): by seeking where that may be trusted, and from the first one where it fails."""
    import av

    stream = video_stream(container, limits)
    only(container, stream)
    place = start
    if index.seekable:
        found = _from_key_frame(container, stream, int(index.pts[start]))
        try:
            for number, frame in _matched(found, index, start, end, alive):
                yield number, frame
                place = number + 1
        except MemoryError:
            raise
        except (av.FFmpegError, MediaError):
            if place == 0:
                raise
        if place == end:
            return
        container.seek(int(index.pts[0]) - _second(stream), stream=stream)
    for number, frame in _matched(decoded(packets_of(container, stream)), index, place, end, alive):
        yield number, frame
        place = number + 1
    if place < end:
        raise MediaError(Reason.DECODE_ERROR, f"frame {place} of {index.frame_count} cannot be decoded")


def _matched(
    found: Iterator[Any], index: VideoIndex, start: int, end: int, alive: Callable[[], None]
) -> Iterator[tuple[int, Any]]:
    """The decoded frames that are those of [start, end), until one is missing."""
    counted = index.container in UNSTAMPED
    stamps = index.pts[start:end].tolist()
    width, height = index.coded_width, index.coded_height
    # Where the end may be open: the stamps of the last but one picture, and of the one just seen.
    last_but_one = int(index.pts[-2]) if index.container in OPEN_ENDED and index.frame_count > 1 else None
    before = None
    place = 0
    for passed, frame in enumerate(found):
        ended = before is not None and before == last_but_one and (frame.pts is None or frame.pts <= before)
        before = frame.pts
        if passed % SLICE_FRAMES == SLICE_FRAMES - 1:
            alive()
        if counted:
            if passed < start:
                continue
        elif ended:
            if start + place < index.frame_count - 1:
                return
        elif frame.pts is None or frame.pts < stamps[place]:
            continue
        elif frame.pts > stamps[place]:
            return
        if frame.width != width or frame.height != height:
            raise MediaError(Reason.SIZE_CHANGES, f"{width}x{height} becomes {frame.width}x{frame.height}")
        if frame.is_corrupt:
            raise MediaError(Reason.DECODE_ERROR, f"frame {start + place} is damaged, and painted over")
        yield start + place, frame
        place += 1
        if place == len(stamps):
            return


def decoded(packets: Iterator[Any], whole_from: int | None = None) -> Iterator[Any]:
    """The frames of the packets, as the decoder gives them; those stamped before `whole_from` may fail.

    Raises MediaError(decode_error).
    """
    import av

    for packet in packets:
        try:
            yield from packet.decode()
        except av.error.InvalidDataError as error:
            if whole_from is None or packet.pts is None or packet.pts >= whole_from:
                raise MediaError(Reason.DECODE_ERROR, "the decoder reports damaged data") from error


def _from_key_frame(container: Any, stream: Any, stamp: int) -> Iterator[Any]:
    """The frames from the last key frame that is shown at or before `stamp`.

    Containers seek by the time of decoding, in which a key frame comes before it is shown: the first one found may
    be too late. Pictures shown before the key frame may lean on what came before it; none of them is wanted.
    """
    target = stamp
    for _ in range(SEEK_TRIES):
        container.seek(target, stream=stream)
        packets = packets_of(container, stream)
        first = next(packets, None)
        if first is None or first.pts is None:
            return
        if first.pts <= stamp and first.is_keyframe:
            yield from decoded(itertools.chain([first], packets), first.pts)
            return
        target = min(first.pts, first.pts if first.dts is None else first.dts, target) - 1


def only(container: Any, stream: Any) -> None:
    """Lets the demuxer skip every other stream."""
    from av.stream import Discard

    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


def _second(stream: Any) -> int:
    return int(1 / stream.time_base) + 1


def _woven(frames: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """The frames with the fields of interlaced ones made into whole pictures (bwdif, one picture a frame)."""
    weaver: _Weaver | None = None
    for number, frame in frames:
        if weaver is not None and not weaver.takes(frame):
            yield from weaver.rest()
            weaver = None
        weaver = weaver or _Weaver(frame)
        yield from weaver.woven(number, frame)
    if weaver is not None:
        yield from weaver.rest()


class _Weaver:
    """FFmpeg's bwdif for frames like the first; it keeps their order and number, but changes their timestamps."""

    def __init__(self, frame: Any) -> None:
        import av

        self._format = frame.format.name
        self._graph = av.filter.Graph()
        self._source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        weave = self._graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
        self._sink = self._graph.add("buffersink")
        self._source.link_to(weave)
        weave.link_to(self._sink)
        self._graph.configure()
        self._waiting: deque[tuple[int, Any, Any]] = deque()

    def takes(self, frame: Any) -> bool:
        """Whether the frame is of the pixel format that it was made for: a stream may change it on its way."""
        return bool(frame.format.name == self._format)

    def woven(self, number: int, frame: Any) -> Iterator[tuple[int, Any]]:
        self._waiting.append((number, frame.pts, frame.time_base))
        self._source.push(frame)
        yield from self._ready()

    def rest(self) -> Iterator[tuple[int, Any]]:
        self._source.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[tuple[int, Any]]:
        import av

        while True:
            try:
                frame = self._sink.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            number, frame.pts, frame.time_base = self._waiting.popleft()
            yield number, frame
