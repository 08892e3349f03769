"""Training clips out of one video: cut on exact frames, upright, at the bucket's size and frame rate.

Runs inside the guarded decoding process. The rules, which docs/shards.md states to the reader of a shard:

- Output frame k shows the source frame of the span whose timestamp is nearest to `start + k / fps`; of two
  equally near ones the earlier. Frames are dropped or repeated, never blended.
- The picture is turned upright, its pixels made square, cropped, scaled until it covers the bucket's size and
  cut to it about its centre. Width and height are scaled by the same factor: nothing is distorted.
- Colours come out as BT.709 limited range, 8 bits, 4:2:0. Primaries and transfer curves stay as they are:
  HDR is not tone-mapped.
- One frame gives a PNG; more give H.264 in MP4 with the span's sound, if any, as AAC.
"""

from __future__ import annotations

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.frames import NEARBY_FRAMES
from pipeline.picture import Picture, layout
from pipeline.reasons import MediaError, Reason
from pipeline.sound import RATE_HZ, Sound, layout_name, read_sound

MP4, PNG = "video/mp4", "image/png"
AUDIO_BITS_PER_S = 96_000
"""A channel of AAC-LC. Ours: half as much again as the usual 128 kbit/s of stereo."""


class Timeline(Protocol):
    """What encoding reads of a video's index."""

    @property
    def pts(self) -> npt.NDArray[np.int64]: ...
    @property
    def time_base(self) -> Fraction: ...
    @property
    def rotation_deg(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def seekable(self) -> bool: ...
    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last."""


Opener = Callable[[], Any]
"""Opens the video anew: an av.container.InputContainer."""
Frames = Callable[[Any, Any, int, int], Iterator[tuple[int, Any]]]
"""(container, index, start, end) -> (frame index, av.VideoFrame) of [start, end), in order, as coded."""


@dataclass(frozen=True)
class EncodeJob:
    """One clip to make: which frames of the video, which part of the picture, and the bucket's shape."""

    start_frame: int
    end_frame: int
    """First frame after the span."""
    width: int
    height: int
    """Pixels of the result, even."""
    fps: int
    frames: int
    """Of the result, 4k + 1: what a video autoencoder with a temporal stride of 4 takes."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """x0, y0, x1, y1 as ratios of the upright picture."""
    crf: int = 18
    """x264's constant quality: 18 is held to be visually lossless (FFmpeg's H.264 guide)."""
    preset: str = "veryfast"
    audio: bool = True

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.crop
        if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
            raise ValueError(f"the crop {self.crop} is not a rectangle within (0, 0, 1, 1)")
        if not 0 <= self.start_frame < self.end_frame:
            raise ValueError(f"the span {self.start_frame}..{self.end_frame} has no frames")
        if min(self.width, self.height) < 2 or self.width % 2 or self.height % 2:
            raise ValueError(f"{self.width}x{self.height} is not an even size")
        if self.frames < 1 or self.frames % 4 != 1:
            raise ValueError(f"{self.frames} frames is not 4k + 1")
        if self.fps < 1:
            raise ValueError(f"{self.fps} frames per second is not a rate")


@dataclass(frozen=True)
class EncodedClip:
    """One clip as it goes into a shard."""

    data: bytes
    media_type: str
    sha256: str
    """Of `data`, hex."""
    width: int
    height: int
    frames: int
    fps: int
    audio_codec: str | None
    """None: no sound in the file."""
    audio_gap_s: float | None
    """Seconds of the clip without sound in the source, made silent; None: no audio stream was read."""
    first_frame: int
    last_frame: int
    """Of the source frames shown, both included."""


def encode_jobs(
    open_video: Opener, frames: Frames, index: Timeline, jobs: Sequence[EncodeJob]
) -> Iterator[EncodedClip | MediaError]:
    """One answer a job, in the order of the jobs and as soon as it is ready; a clip that fails is its error.

    Jobs must be sorted by start frame (else ValueError) and may overlap. They are read in forward passes, and
    the bytes of a clip do not depend on the jobs beside it.
    """
    starts = [job.start_frame for job in jobs]
    if starts != sorted(starts):
        raise ValueError("jobs must be sorted by start frame")
    for group in _groups(jobs, NEARBY_FRAMES if index.seekable else len(index.pts)):
        yield from _encode_group(open_video, frames, index, group)


def _groups(jobs: Sequence[EncodeJob], nearby: int) -> Iterator[list[EncodeJob]]:
    """Runs of jobs with at most `nearby` frames between them."""
    group: list[EncodeJob] = []
    end = 0
    for job in jobs:
        if group and job.start_frame > end + nearby:
            yield group
            group = []
        group.append(job)
        end = max(end, job.end_frame)
    if group:
        yield group


@dataclass
class _Task:
    """One job, which source frames it shows, and its answer once there is one."""

    job: EncodeJob
    sources: Sequence[int]
    answer: EncodedClip | MediaError | None = None


def _planned(index: Timeline, job: EncodeJob) -> _Task:
    try:
        return _Task(job, source_frames(index, job))
    except MediaError as error:
        return _Task(job, (), error)


def _encode_group(
    open_video: Opener, frames: Frames, index: Timeline, jobs: Sequence[EncodeJob]
) -> Iterator[EncodedClip | MediaError]:
    tasks = deque(_planned(index, job) for job in jobs)
    alone = False
    while tasks:
        yield from _answered(tasks)
        batch = list(islice((task for task in tasks if task.answer is None), 1 if alone else None))
        try:
            for _ in _one_pass(open_video, frames, index, batch):
                yield from _answered(tasks)
            alone = False
        except MediaError as error:
            # Damage ends a pass, but its neighbours come through: the first unfinished alone, then the rest.
            fruitless = all(task.answer is None for task in batch)
            lost = batch if fruitless and (len(batch) == 1 or not index.seekable) else []
            for task in lost:
                task.answer = error
            alone = not lost


def _answered(tasks: deque[_Task]) -> Iterator[EncodedClip | MediaError]:
    """Takes the first tasks off, as far as they have their answers."""
    while tasks and (answer := tasks[0].answer) is not None:
        tasks.popleft()
        yield answer


def _one_pass(open_video: Opener, frames: Frames, index: Timeline, tasks: Sequence[_Task]) -> Iterator[_Task]:
    """Each task as it is answered; of each, what fails but for the reading of frames is its own answer."""
    import av

    if not tasks:
        return
    waiting, clips = deque(tasks), list[_Clip]()
    try:
        with closing(open_video()) as container:
            last = max(task.sources[-1] for task in tasks)
            for number, frame in frames(container, index, tasks[0].sources[0], last + 1):
                while waiting and waiting[0].sources[0] <= number:
                    clips.append(_Clip(waiting.popleft(), index, open_video))
                for clip in [clip for clip in clips if clip.show(number, frame)]:
                    clips.remove(clip)
                    yield clip.task
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise MediaError(Reason.DECODE_ERROR, f"the decoder reports: {error.strerror}") from error
    if clips or waiting:
        raise MediaError(Reason.DECODE_ERROR, "the video ended before the clip did")


def source_frames(index: Timeline, job: EncodeJob) -> list[int]:
    """The source frame that each output frame shows: nearest in time, the earlier of two equally near.

    Raises MediaError(encode_error) when the span is shorter than the frames asked for.
    """
    pts = index.pts
    if job.end_frame > len(pts):
        raise MediaError(
            Reason.ENCODE_ERROR, f"the span ends at frame {job.end_frame} of a video of {len(pts)}"
        )
    # Times are counted in 1 / (fps x the time base's denominator): all are integers, so halves are exact.
    unit = index.time_base.numerator * job.fps
    step = index.time_base.denominator
    points = pts[job.start_frame : job.end_frame].tolist()
    span = [(point - points[0]) * unit for point in points]
    if (job.frames - 1) * step >= (_end(index, job) - points[0]) * unit:
        raise MediaError(
            Reason.ENCODE_ERROR,
            f"{job.frames} frames at {job.fps} fps do not fit frames {job.start_frame}..{job.end_frame}",
        )
    chosen = []
    near = 0
    for k in range(job.frames):
        while near + 1 < len(span) and span[near + 1] - k * step < k * step - span[near]:
            near += 1
        chosen.append(job.start_frame + near)
    return chosen


def _end(index: Timeline, job: EncodeJob) -> int:
    """The timestamp at which the span's last frame gives way to the next one, or the video ends."""
    if job.end_frame < len(index.pts):
        return int(index.pts[job.end_frame])
    return int(index.pts[0]) + round(index.duration_s / index.time_base)


class _Clip:
    """One clip in the making; it holds an encoder only while its frames pass by."""

    def __init__(self, task: _Task, index: Timeline, open_video: Opener) -> None:
        self.task = task
        self._job = task.job
        self._sources = task.sources
        self._index = index
        self._open_video = open_video
        pixel_format = "rgb24" if task.job.frames == 1 else "yuv420p"
        self._picture = Picture(layout(index, task.job), pixel_format)
        self._writer: _Png | _Mp4 | None = None
        self._shown = 0

    def show(self, number: int, frame: Any) -> bool:
        """Takes source frame `number` as often as the clip shows it; True when that answers the task."""
        if self._sources[self._shown] == number:
            try:
                self.task.answer = self._step(number, frame)
            except MediaError as error:
                self.task.answer = error
        return self.task.answer is not None

    def _step(self, number: int, frame: Any) -> EncodedClip | None:
        import av

        sound = self._sound() if self._sources[-1] == number else None
        try:
            writer = self._add(number, frame)
            done = self._shown == self._job.frames
            return self._result(writer.finish(sound), sound) if done else None
        except MemoryError:
            raise
        except av.FFmpegError as error:
            raise MediaError(Reason.ENCODE_ERROR, f"the encoder reports: {error.strerror}") from error

    def _add(self, number: int, frame: Any) -> _Png | _Mp4:
        if self._writer is None:
            self._writer = _Png() if self._job.frames == 1 else _Mp4(self._job)
        picture = self._picture.of(frame)
        while self._shown < self._job.frames and self._sources[self._shown] == number:
            self._writer.add(picture, self._shown)
            self._shown += 1
        return self._writer

    def _sound(self) -> Sound | None:
        """The span's sound from the time of its first frame on."""
        import av

        if not self._job.audio or self._job.frames == 1:
            return None
        start_s = int(self._index.pts[self._job.start_frame]) * self._index.time_base
        duration_s = Fraction(self._job.frames, self._job.fps)
        try:
            return read_sound(self._open_video, start_s, duration_s, self._index.seekable)
        except MemoryError:
            raise
        except av.FFmpegError as error:
            raise MediaError(Reason.DECODE_ERROR, f"the sound cannot be read: {error.strerror}") from error

    def _result(self, data: bytes, sound: Sound | None) -> EncodedClip:
        return EncodedClip(
            data=data,
            media_type=PNG if self._job.frames == 1 else MP4,
            sha256=hashlib.sha256(data).hexdigest(),
            width=self._job.width,
            height=self._job.height,
            frames=self._job.frames,
            fps=self._job.fps,
            audio_codec=None if sound is None or sound.samples is None else "aac",
            audio_gap_s=None if sound is None else sound.gap_s,
            first_frame=self._sources[0],
            last_frame=self._sources[-1],
        )


class _Png:
    """A clip of one frame: a PNG, lossless, RGB."""

    def __init__(self) -> None:
        self._data = b""

    def add(self, picture: Any, k: int) -> None:
        import av

        codec = av.CodecContext.create("png", "w")
        codec.width, codec.height, codec.pix_fmt = picture.width, picture.height, "rgb24"
        codec.time_base = Fraction(1)
        codec.thread_count = 1
        picture.pts, picture.time_base = k, Fraction(1)
        self._data = b"".join(bytes(packet) for packet in [*codec.encode(picture), *codec.encode(None)])

    def finish(self, sound: Sound | None) -> bytes:
        return self._data


class _Mp4:
    """A clip of several frames: H.264, and AAC where there is sound; index first, no dates, no versions."""

    def __init__(self, job: EncodeJob) -> None:
        import av
        from av.video.reformatter import ColorRange, Colorspace

        self._buffer = io.BytesIO()
        self._file = av.open(
            self._buffer,
            "w",
            format="mp4",
            container_options={
                "movflags": "+faststart",
                "fflags": "+bitexact",
                "movie_timescale": str(RATE_HZ),
            },
            io_open=self._read_back,
        )
        # cpu-independent: the same decisions whatever instruction sets the processor has
        options = {"crf": str(job.crf), "preset": job.preset, "x264-params": "cpu-independent=1"}
        self._pictures = self._file.add_stream("libx264", rate=job.fps, options=options)
        context = self._pictures.codec_context
        context.width, context.height, context.pix_fmt = job.width, job.height, "yuv420p"
        context.time_base = Fraction(1, job.fps)
        context.thread_count = 1
        context.colorspace, context.color_range = int(Colorspace.ITU709), int(ColorRange.MPEG)
        self._packets: list[Any] = []

    def _read_back(self, url: str, flags: int, options: dict[str, str]) -> io.BytesIO:
        """What has been written: the muxer reads it again to put the index before it."""
        return io.BytesIO(self._buffer.getvalue())

    def add(self, picture: Any, k: int) -> None:
        picture.pts, picture.time_base = k, self._pictures.codec_context.time_base
        self._packets += self._pictures.encode(picture)

    def finish(self, sound: Sound | None) -> bytes:
        self._packets += self._pictures.encode(None)
        if sound is not None and sound.samples is not None:
            self._packets += self._encoded(sound.samples)
        self._file.mux(self._packets)
        self._file.close()
        return self._buffer.getvalue()

    def _encoded(self, samples: npt.NDArray[np.float32]) -> list[Any]:
        """The packets of an AAC stream with these (channels, n) samples."""
        import av
        from av.codec.context import Flags

        channels = samples.shape[0]
        stream = self._file.add_stream("aac", rate=RATE_HZ, layout=layout_name(channels))
        stream.codec_context.bit_rate = AUDIO_BITS_PER_S * channels
        stream.codec_context.flags |= Flags.bitexact
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout_name(channels))
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        return [*stream.encode(frame), *stream.encode(None)]
