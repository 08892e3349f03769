"""Frames of a video, through a guarded child process: the only door to media.

    with Decoder() as decoder:
        row = decoder.probe(path)                               # the VIDEOS columns that the file itself fills
        index = VideoIndex.from_row(row)
        scan = decoder.scan(path, index, 0, index.frame_count, context=0)   # one pass: thumbnails and the proxy
        batches = decoder.read(path, index, [(10, 50)], VIEW)   # any frames, any spec

A frame is shown upright with square pixels, in 8 bits, deinterlaced. Its number is its place in presentation order.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.answers import Bound, built
from pipeline.clip import VIDEOS
from pipeline.reasons import MediaError, Reason
from pipeline.stage import FrameBatch, FrameSpec

if TYPE_CHECKING:
    from pipeline.child import Child
    from pipeline.encode import EncodedClip, EncodeJob

T = TypeVar("T")
VIEW = FrameSpec(every_s=1.0, short_side_px=360)
"""What is in the picture: RGB."""
MOTION = FrameSpec(every_s=0.515, short_side_px=144, gray=True, pair=True)
"""How it moves: luma, with the frame that follows. The step is no whole number of the usual patterns of repeated
frames (12 in 24, 24 in 30 ...), so that pairs meet every place of them: at half a second they met one alone. Ours."""
DETAIL = FrameSpec(every_s=2.0, patch_px=384)
"""How sharp it is: RGB, the central square at the source's resolution."""
TREMBLE = FrameSpec(every_s=0.08, short_side_px=36, gray=True)
"""How it shakes: tiny luma pictures, twice as often as a hand's tremor and a knock of a quarter second need. Ours."""
PROXY: tuple[FrameSpec, ...] = (VIEW, MOTION, DETAIL, TREMBLE)
"""The layers that a scan keeps."""
THUMB_W, THUMB_H = 48, 27
"""Pixels of a thumbnail: what TransNetV2 looks at (arXiv 2008.04838, section 3)."""

BACKENDS = ("pyav", "decord")
PIECE_FRAMES, PIECE_S = 2000, 120.0
"""A scan is asked for in pieces of at most so many frames and seconds, so that the child holds little."""
SLICE_FRAMES = 250
"""The child gives a sign of life after this many decoded frames, and gets a new deadline."""
NEARBY_FRAMES = SLICE_FRAMES
"""Spans this close are read in one go: to seek is to decode from a key frame that may lie as far back. Ours."""
SHORT_BYTES = 1 << 16
"""The most text beside a picture or a clip, or of an error in their place. Ours."""
STEP_BYTES = 1 << 20
"""Probing is given a step's time for so much of the file: a film of two hours in 300 MB, two and a half hours. Ours."""


@dataclass(frozen=True)
class Limits:
    """What a file may ask of the machine. Ours, unless a source is named."""

    max_pixels: int = 8192 * 4320
    """Of one frame: 8K, as level 6.2 of HEVC has it (ITU-T H.265, table A.8)."""
    min_side_px: int = 16
    """A macroblock: below it there is nothing to see."""
    max_frames: int = 3_000_000
    max_duration_s: float = 86_400.0
    max_gap_s: float = 600.0
    """For which a frame may stand, the last one too; more is a broken clock, not a slow slide show."""
    max_bytes: int = 1 << 40
    """Of a file: 1 TiB, a day at 100 Mb/s; files of holes and of the kernel's claim more."""
    memory_bytes: int = 368 << 20
    """Address space beyond what the libraries take when loaded: the process stays under 512 MiB. Enough for 4K in any
    codec with as many reference frames as it knows; 8K may need more."""
    deadline_s: float = 30.0
    deadline_per_media_s: float = 2.0
    deadline_cap_s: float = 600.0
    """A step may take `deadline_s` + `deadline_per_media_s` x the seconds of media it covers, at most this.

    A whole answer may take as long as its steps together: those of SLICE_FRAMES from the video's first frame to the
    last that is asked for, as reading may have to begin there, one more to start, and one for each clip to encode.
    """

    def deadline(self, media_s: float) -> float:
        """Seconds that a step over `media_s` seconds of media may take."""
        return min(self.deadline_cap_s, self.deadline_s + self.deadline_per_media_s * max(0.0, media_s))


@dataclass(frozen=True, eq=False)
class VideoIndex:
    """What it takes to read the frames of a probed video."""

    pts: npt.NDArray[np.int64]
    """(frame_count,) every frame's timestamp in units of `time_base`, rising."""
    time_base: Fraction
    fps: Fraction
    duration_s: float
    width: int
    """As displayed: upright, with square pixels."""
    height: int
    coded_width: int
    coded_height: int
    sar: Fraction
    """Pixel aspect of the coded picture."""
    rotation_deg: int
    """Clockwise turn that displays it upright: 0, 90, 180, 270."""
    interlaced: bool
    seekable: bool
    is_image: bool
    container: str
    codec: str

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> VideoIndex:
        """The index in a VIDEOS row."""
        return cls(
            pts=unpack_pts(row["pts"]),
            time_base=Fraction(row["time_base_num"], row["time_base_den"]),
            fps=Fraction(row["fps_num"], row["fps_den"]),
            duration_s=row["duration_s"],
            width=row["width"],
            height=row["height"],
            coded_width=row["coded_width"],
            coded_height=row["coded_height"],
            sar=Fraction(row["sar_num"], row["sar_den"]),
            rotation_deg=row["rotation_deg"],
            interlaced=row["interlaced"],
            seekable=row["seekable"],
            is_image=row["is_image"],
            container=row["container"],
            codec=row["codec"],
        )

    @property
    def frame_count(self) -> int:
        return len(self.pts)

    @property
    def times_s(self) -> npt.NDArray[np.float64]:
        """(frame_count + 1,) seconds from the first frame to each, and to the end of the last."""
        starts = (self.pts - self.pts[0]) * (self.time_base.numerator / self.time_base.denominator)
        return np.append(starts, max(self.duration_s, float(starts[-1])))


def pack_pts(pts: npt.NDArray[np.int64]) -> bytes:
    """Timestamps as bytes: the first and the differences of the differences, int64, deflated (some tens of bytes)."""
    steps = np.diff(pts, prepend=0)
    return zlib.compress(np.diff(steps, prepend=0).astype("<i8").tobytes(), 9)


def unpack_pts(packed: bytes) -> npt.NDArray[np.int64]:
    """The timestamps that `pack_pts` packed, (frame_count,) int64."""
    return np.cumsum(np.cumsum(np.frombuffer(zlib.decompress(packed), "<i8")), dtype=np.int64)


def grid_frames(index: VideoIndex, every_s: float, start: int, end: int) -> list[int]:
    """The frames of [start, end) on the video's grid: for each k the first one at or after k x `every_s` seconds.

    The grid begins at the video's first frame, so it does not depend on the span. No frame comes twice.
    """
    unit = index.time_base / Fraction(every_s).limit_denominator(1_000_000)
    before = max(0, start - 1)
    ticks = index.pts[before:end] - index.pts[0]
    # Frame i is the first at or after some k when the whole grid steps before it are more than before frame i - 1.
    steps = ticks * unit.numerator // unit.denominator
    fresh = np.diff(steps, prepend=-1 if before == start else steps[:1]) > 0
    return [int(i) + before for i in np.flatnonzero(fresh)]


def shown_frames(index: VideoIndex, spec: FrameSpec, start: int, end: int) -> list[int]:
    """The frames of [start, end) that `spec` shows: the grid's, else the middle one.

    Of a pair spec these are the first frames of the pairs; the second lies in the span too, so a span of one frame
    has none.
    """
    last = end - 1 if spec.pair else end
    if last <= start:
        return []
    grid = grid_frames(index, spec.every_s, start, last) or [min((start + end - 1) // 2, last - 1)]
    return thinned(grid, spec.most)


def thinned(items: Sequence[T], most: int | None) -> list[T]:
    """At most `most` of the items (all when None), spread evenly, the first and the last included."""
    if most is None or len(items) <= most:
        return list(items)
    if most == 1:
        return [items[(len(items) - 1) // 2]]
    return [items[(2 * i * (len(items) - 1) + most - 1) // (2 * (most - 1))] for i in range(most)]


def shown_size(index: VideoIndex, spec: FrameSpec) -> tuple[int, int]:
    """(width, height) in pixels of the pictures that `spec` shows of this video."""
    width, height = index.width, index.height
    if spec.fragments is not None:
        side = spec.fragments * (spec.patch_px or 1)
        return side, side
    if spec.patch_px is not None:
        side = min(spec.patch_px, width, height)
        return side, side
    short = min(width, height)
    if spec.short_side_px is None or spec.short_side_px >= short:
        return width, height
    scale = Fraction(spec.short_side_px, short)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _shape(index: VideoIndex, spec: FrameSpec) -> tuple[int, ...]:
    """Of the array of one picture that `spec` shows."""
    width, height = shown_size(index, spec)
    return (height, width) if spec.gray else (height, width, 3)


@dataclass(frozen=True)
class Sample:
    """One frame of a proxy layer."""

    layer: int
    """Index in PROXY."""
    frame: int
    time_s: float
    """From the video's first frame."""
    step_s: float | None
    """For a pair layer: seconds to the following frame; None at the video's last."""
    data: bytes
    """JPEG, quality 95, without chroma subsampling."""
    following: bytes | None
    """JPEG of the next frame, for a pair layer."""


@dataclass(frozen=True, eq=False)
class Scan:
    """What one pass over a span of a video gives."""

    first_frame: int
    """The frame of `thumbs[0]`: the span's start less the context."""
    thumbs: npt.NDArray[np.uint8]
    """(n, 27, 48, 3) RGB: the whole upright frame squeezed."""
    samples: list[Sample]
    """The proxy's samples inside the span, by frame and layer."""


def batch_from_samples(
    samples: Sequence[Sample], spec: FrameSpec, index: VideoIndex, span: tuple[int, int]
) -> FrameBatch:
    """The FrameBatch of a clip's span from the samples of its spec's layer; equal samples give equal arrays.

    A pair whose second frame is outside the span is left out; where no sample is left, n is 0. Raises
    MediaError(decode_error) when a sample is damaged.
    """
    start, end = span
    inside = sorted(
        (s for s in samples if start <= s.frame and s.frame + (1 if spec.pair else 0) < end),
        key=lambda sample: sample.frame,
    )
    frames = [sample.frame for sample in inside]
    images = [_picture(sample.data, spec) for sample in inside]
    following = [_picture(sample.following, spec) for sample in inside] if spec.pair else None
    return _batch(index, spec, start, frames, images, following)


def _picture(data: bytes | None, spec: FrameSpec) -> npt.NDArray[np.uint8]:
    import cv2

    mode = cv2.IMREAD_GRAYSCALE if spec.gray else cv2.IMREAD_COLOR_RGB
    picture = None if not data else cv2.imdecode(np.frombuffer(data, np.uint8), mode)
    if picture is None:
        raise MediaError(Reason.DECODE_ERROR, "a frame of the proxy is not a JPEG")
    return np.asarray(picture, dtype=np.uint8)


def _batch(
    index: VideoIndex,
    spec: FrameSpec,
    start: int,
    frames: Sequence[int],
    images: Sequence[npt.NDArray[np.uint8]],
    following: Sequence[npt.NDArray[np.uint8]] | None,
) -> FrameBatch:
    """The FrameBatch of these pictures of a span from `start`: `frames` are their numbers, in order. There may be none.

    `following` are the pictures of the next frames, for a pair spec.
    """

    def stack(pictures: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        return np.stack(pictures) if pictures else np.zeros((0, *_shape(index, spec)), np.uint8)

    times = index.times_s
    chosen = np.asarray(frames, dtype=np.int64)
    return FrameBatch(
        images=stack(images),
        times_s=times[chosen] - times[start],
        frames=chosen,
        following=None if following is None else stack(following),
        step_s=None if following is None else times[chosen + 1] - times[chosen],
    )


@dataclass(frozen=True, eq=False)
class _Tail:
    """The end of the last scan, which the next span of the same file begins with."""

    token: tuple[Any, ...]
    first: int
    thumbs: npt.NDArray[np.uint8]
    samples: list[Sample]
    samples_from: int

    @property
    def last(self) -> int:
        return self.first + len(self.thumbs)

    def serves(self, token: tuple[Any, ...], low: int, start: int) -> bool:
        return self.token == token and self.first <= low <= self.last and self.samples_from <= start


class Decoder:
    """Reads media in a child process that it starts when first asked, and again whenever the child dies.

    Every failure is a MediaError: the reasons of `probe` are those of the file and the container, and each call may
    raise decode_error, size_changes, decoder_crashed, decoder_timeout and decoder_memory. A crash is tried once more
    in a fresh child first, and so is a want of memory in one that is not fresh. Not for use by several threads; the
    thread that uses it must outlive the calls, because the child dies with it.
    """

    def __init__(self, limits: Limits = Limits(), backend: str = "pyav") -> None:
        if backend not in BACKENDS:
            raise ValueError(f"the decoder backends are {', '.join(BACKENDS)}, not {backend!r}")
        self._limits = limits
        self._backend = backend
        self._child: Child | None = None
        self._tail: _Tail | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child; the next call starts another."""
        if self._child is not None:
            self._child.close()
        self._child = self._tail = None

    @property
    def networkless(self) -> bool:
        """Whether the child has a network namespace of its own; where not, the allow-lists alone keep it in."""
        isolated: bool = self._started().isolated
        return isolated

    def probe(self, path: str) -> dict[str, Any]:
        """The VIDEOS columns that the file itself fills, `container` to `seekable`, without decoding but one frame."""
        step_s = self._limits.deadline(0)
        whole_s = step_s * (1 + _file_bytes(path) / STEP_BYTES)
        return self._ask("probe", path, (), step_s, whole_s, self._one, _probed)

    def scan(self, path: str, index: VideoIndex, start: int, end: int, context: int) -> Scan:
        """One in-order pass over frames [start - context, end + context), clipped to the video.

        Gives every frame's thumbnail, and the proxy's samples of [start, end). Spans asked for in order are read on
        from where the last one ended.
        """
        low, high = max(0, start - context), min(index.frame_count, end + context)
        token = _token(path)
        thumbs: list[npt.NDArray[np.uint8]] = []
        samples: list[Sample] = []
        place = low
        if self._tail is not None and self._tail.serves(token, low, start):
            thumbs.append(self._tail.thumbs[low - self._tail.first : high - self._tail.first])
            samples += self._tail.samples
            place = max(low, min(self._tail.last, high))
        self._tail = None
        step = max(1, min(PIECE_FRAMES, int(PIECE_S * index.fps)))
        while place < high:
            stop = min(place + step, high)
            args = (token, index, place, stop, max(start, place))
            step_s = self._slice_deadline(index)
            build = partial(_scanned, count=stop - place)
            piece, kept = self._ask("scan", path, args, step_s, step_s * _steps(stop), self._one, build)
            thumbs.append(piece)
            samples += kept
            place = stop
        whole = np.concatenate(thumbs) if thumbs else np.zeros((0, THUMB_H, THUMB_W, 3), np.uint8)
        rest = max(low, min(end - context, high))
        later = [sample for sample in samples if sample.frame >= end]
        self._tail = _Tail(token, rest, whole[rest - low :].copy(), later, end)
        inside = [sample for sample in samples if start <= sample.frame < end]
        return Scan(low, whole, sorted(inside, key=lambda sample: (sample.frame, sample.layer)))

    def read(
        self, path: str, index: VideoIndex, spans: Sequence[tuple[int, int]], spec: FrameSpec
    ) -> list[FrameBatch]:
        """What `spec` shows of each span [start, end), from the source, in one forward pass."""
        chosen = [shown_frames(index, spec, start, end) for start, end in spans]
        wanted = sorted({frame for frames in chosen for frame in frames})
        if spec.pair:
            wanted = sorted({*wanted, *(frame + 1 for frame in wanted)})
        pictures: dict[int, npt.NDArray[np.uint8]] = {}
        if wanted:
            step_s = self._slice_deadline(index)
            shape = _shape(index, spec)
            build = partial(_shown, wanted=wanted, shape=shape)
            whole_s = step_s * _steps(wanted[-1] + 1)
            bound = Bound(len(wanted), math.prod(shape), SHORT_BYTES)
            pictures = self._ask("read", path, (index, wanted, spec), step_s, whole_s, bound, build)
        return [
            _batch(
                index,
                spec,
                start,
                frames,
                [pictures[frame] for frame in frames],
                [pictures[frame + 1] for frame in frames] if spec.pair else None,
            )
            for (start, _), frames in zip(spans, chosen, strict=True)
        ]

    def encode(
        self, path: str, index: VideoIndex, jobs: Sequence[EncodeJob]
    ) -> list[EncodedClip | MediaError]:
        """One answer a job, in order (see pipeline.encode): the clip, or the error that it alone met."""
        times, last = index.times_s, index.frame_count
        lengths = [times[min(job.end_frame, last)] - times[min(job.start_frame, last)] for job in jobs]
        read_s = self._slice_deadline(index)
        steps_s = [self._limits.deadline(float(length)) + read_s for length in lengths]
        end = max((min(job.end_frame, last) for job in jobs), default=0)
        whole_s = sum(steps_s, read_s * _steps(end))
        build = partial(_encoded, count=len(jobs))
        # No clip has more bytes than its uncompressed pictures and a minute of sound.
        most_bytes = max((3 * job.width * job.height * job.frames for job in jobs), default=0) + (1 << 20)
        bound = Bound(len(jobs), min(most_bytes, self._limits.memory_bytes), SHORT_BYTES)
        step_s = max(steps_s, default=read_s)
        return self._ask("encode", path, (index, list(jobs)), step_s, whole_s, bound, build)

    @property
    def _one(self) -> Bound:
        """An answer in one part, which the child must have in its memory."""
        return Bound(1, self._limits.memory_bytes)

    def _slice_deadline(self, index: VideoIndex) -> float:
        return self._limits.deadline(min(index.duration_s, SLICE_FRAMES / float(index.fps)))

    def _started(self) -> Child:
        from pipeline.child import Child

        if self._child is None:
            self._child = Child(self._limits, self._backend)
        return self._child

    def _ask(
        self,
        command: str,
        path: str,
        args: tuple[Any, ...],
        step_s: float,
        whole_s: float,
        bound: Bound,
        build: Callable[[list[Any]], T],
    ) -> T:
        """What `build` makes of all that the child answers; a child that died or was killed is replaced.

        Memory runs out for good in a fresh child alone: what other files have left in one that has worked before must
        not decide about this one.
        """
        request = (command, _resolved(path), *args)
        for last_try in (False, True):
            fresh = self._child is None
            try:
                return self._started().ask(request, step_s, whole_s, bound, build)
            except MediaError as error:
                lost = error.reason in (Reason.DECODER_CRASHED, Reason.DECODER_TIMEOUT, Reason.DECODER_MEMORY)
                if lost:
                    self.close()
                again = error.reason is Reason.DECODER_CRASHED
                again |= error.reason is Reason.DECODER_MEMORY and not fresh
                if last_try or not again:
                    raise
        raise AssertionError("unreachable")


def _steps(end: int) -> float:
    """Steps of SLICE_FRAMES that reading to frame `end` takes, and one to start."""
    return 1 + end / SLICE_FRAMES


def _probed(parts: list[Any]) -> dict[str, Any]:
    """The row of a probe, each value of its column's type. Raises TypeError or ValueError, as the others here do."""
    (row,) = parts
    names = VIDEOS.names
    for name in names[names.index("container") : names.index("seekable") + 1]:
        if pa.array([row[name]], VIDEOS.field(name).type).to_pylist() != [row[name]]:
            raise TypeError(f"{name} is {type(row[name]).__name__}")
    return dict(row)


def _scanned(parts: list[Any], count: int) -> tuple[npt.NDArray[np.uint8], list[Sample]]:
    """`count` thumbnails and the samples of a scan."""
    ((thumbs, samples),) = parts
    if thumbs.shape != (count, THUMB_H, THUMB_W, 3):
        raise ValueError("these are not the thumbnails that were asked for")
    return thumbs, [built(Sample, sample) for sample in samples]


def _shown(
    parts: list[Any], wanted: Sequence[int], shape: tuple[int, ...]
) -> dict[int, npt.NDArray[np.uint8]]:
    """The wanted frames' pictures."""
    pictures = dict(parts)
    if list(pictures) != wanted or any(picture.shape != shape for picture in pictures.values()):
        raise ValueError("these are not the pictures that were asked for")
    return pictures


def _encoded(parts: list[Any], count: int) -> list[EncodedClip | MediaError]:
    """`count` clips or errors."""
    from pipeline.encode import EncodedClip

    if len(parts) != count:
        raise ValueError(f"{len(parts)} answers to {count} jobs")
    return [
        built(EncodedClip, part) if isinstance(part, dict) else MediaError(Reason(part[0]), str(part[1]))
        for part in parts
    ]


def _file_bytes(path: str) -> int:
    try:
        return os.stat(_resolved(path)).st_size
    except (OSError, ValueError):  # the child says what is wrong with it
        return 0


def _resolved(path: str) -> str:
    """The path without links: what the user named may be a link; what it leads to must be a plain file."""
    try:
        return os.path.realpath(path)
    except ValueError:  # a null character: the child says so
        return path


def _token(path: str) -> tuple[Any, ...]:
    """What tells whether a file is still the one that was read from."""
    try:
        status = os.stat(_resolved(path))
    except (OSError, ValueError):  # the child says what is wrong with it
        return (path,)
    return (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
