"""Previews for the reviewers' page: H.264 that any browser plays, every frame of the clip, stills from around it.

    RUN/review/previews/KEY/clip.mp4      or clip.png for a clip of one frame
    RUN/review/previews/KEY/0.jpg ...     stills, in the order of time
    RUN/review/previews/KEY/about.json    what they are: `About`

Frames come from the guarded decoding process; here they are only drawn on and encoded. A clip with a planted fault
takes the same way as all others, so that nothing but its fault tells it apart. The folder is a cache: deleted, it is
made again; a preview in it is whole, because its folder gets its name last.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.frames import VideoIndex, shown_frames, shown_size
from pipeline.scratch import held
from pipeline.stage import FrameBatch, FrameSpec
from review import faults
from review.faults import Picture
from review.footage import Footage, Order

SCRATCH = ".tmp-preview-"
"""How the folders of previews in the making begin."""
SHORT_SIDE_PX, STILL_PX = 480, 180
EVERY_S = 1 / 72
"""Finer than the frames of 60 fps: all are shown, of faster ones as many as a screen can."""
ALL = FrameSpec(every_s=EVERY_S, short_side_px=SHORT_SIDE_PX)
STILL = FrameSpec(every_s=EVERY_S, short_side_px=STILL_PX)
PIECE_BYTES = 96 << 20
"""Frames are read in pieces of at most so many bytes."""
CRF = 23
"""x264's default: previews are looked at once."""
CLOCK = 90_000
"""Units of a preview's timestamps a second: frame times of any rate come out within 6 microseconds."""


class Reader(Protocol):
    """What previews need of pipeline.frames.Decoder."""

    def read(
        self, path: str, index: VideoIndex, spans: Sequence[tuple[int, int]], spec: FrameSpec
    ) -> list[FrameBatch]: ...


class Sources(Protocol):
    """What previews need of pipeline.sources.Fetcher: a local path with the bytes of a VIDEOS row."""

    def source(self, video: Any) -> str: ...


@dataclass(frozen=True)
class Still:
    """One picture of the strip below the clip."""

    file: str
    where: str
    """shot_before, frame_before, first, middle, last, frame_after or shot_after."""
    time_s: float
    """From the clip's first frame."""


@dataclass(frozen=True)
class About:
    """What a preview shows."""

    file: str
    """clip.mp4 or clip.png."""
    width: int
    height: int
    times_s: tuple[float, ...]
    """Of every frame, from the clip's start, and of the end."""
    stills: tuple[Still, ...]


@dataclass(frozen=True)
class Studio:
    """Makes previews, one at a time, in the thread that its reader belongs to."""

    reader: Reader
    sources: Sources
    folder: Path

    def preview(self, order: Order) -> About:
        """The preview of this order, made if it is not there. MediaError: its source cannot be shown."""
        final = self.folder / order.key
        known = read_about(final)
        if known is not None:
            return known
        self.folder.mkdir(parents=True, exist_ok=True)
        with held(SCRATCH, self.folder) as scratch:
            made = scratch / order.key
            made.mkdir()
            about = self._make(order, made)
            (made / "about.json").write_text(json.dumps(asdict(about)))
            shutil.rmtree(final, ignore_errors=True)  # damaged, or it would have been found
            try:
                os.rename(made, final)
            except OSError as error:
                if error.errno not in (
                    errno.EEXIST,
                    errno.ENOTEMPTY,
                ):  # another server on this run was faster
                    raise
        return about

    def _make(self, order: Order, folder: Path) -> About:
        footage = order.footage
        path, index = self.sources.source(footage.video), VideoIndex.from_row(footage.video)
        frames = shown_frames(index, ALL, footage.start_frame, footage.end_frame)
        times = index.times_s
        ends = np.append(times[frames], times[footage.end_frame]) - times[footage.start_frame]
        pictures = self._pictures(path, index, footage)
        if order.planted is not None:
            pictures = self._with_fault(order, pictures, ends)
        strip = _Strip(folder, index, footage, frames)
        for frame in strip.around:
            strip.add(frame, self.reader.read(path, index, [(frame, frame + 1)], STILL)[0].images[0])
        width, height = shown_size(index, ALL)
        if len(frames) == 1:
            (picture,) = pictures
            strip.add(frames[0], picture)
            _write_picture(folder / "clip.png", picture)
            return About("clip.png", width, height, (0.0, round(float(ends[-1]), 6)), strip.stills())
        width, height = width - width % 2, height - height % 2
        with _Film(folder / "clip.mp4", width, height, ends) as film:
            for frame, picture in zip(frames, pictures, strict=True):
                strip.add(frame, picture)
                film.add(picture)
        return About("clip.mp4", width, height, tuple(np.round(ends, 6).tolist()), strip.stills())

    def _pictures(self, path: str, index: VideoIndex, footage: Footage) -> Iterator[Picture]:
        """Every shown frame of the span, upright, with SHORT_SIDE_PX."""
        width, height = shown_size(index, ALL)
        step = max(1, PIECE_BYTES // (3 * width * height))
        for start in range(footage.start_frame, footage.end_frame, step):
            stop = min(start + step, footage.end_frame)
            yield from self.reader.read(path, index, [(start, stop)], ALL)[0].images

    def _with_fault(
        self, order: Order, pictures: Iterator[Picture], times_s: npt.NDArray[np.float64]
    ) -> Iterator[Picture]:
        assert order.planted is not None
        kind, at = order.planted.kind, order.planted.at
        if kind == "logo":
            mark = int(order.key[:4], 16)
            yield from (faults.marked(picture, mark) for picture in pictures)
        elif kind == "black_run":
            first, end = faults.black_frames(times_s, at)
            for number, picture in enumerate(pictures):
                yield np.zeros_like(picture) if first <= number < end else picture
        elif kind == "cut_inside" and order.donor is not None:
            yield from self._cut(order.donor, pictures, max(1, round(at * (len(times_s) - 1))))
        else:
            yield from pictures

    def _cut(self, donor: Footage, pictures: Iterator[Picture], place: int) -> Iterator[Picture]:
        """The pictures, from `place` on replaced by those of another clip; its last one stays if it is too short."""
        other: Iterator[Picture] | None = None
        shown: Picture | None = None
        for number, picture in enumerate(pictures):
            if number < place:
                yield picture
                continue
            if other is None:
                path = self.sources.source(donor.video)
                other = self._pictures(path, VideoIndex.from_row(donor.video), donor)
            shown = next(other, shown)
            yield faults.fitted(picture if shown is None else shown, picture.shape[1], picture.shape[0])


class _Strip:
    """The stills: the shot before, the frame before the clip, its first, middle and last, the frame after, the shot
    after. Those of the clip are of what is shown, faults included."""

    def __init__(self, folder: Path, index: VideoIndex, footage: Footage, frames: Sequence[int]) -> None:
        places = {
            "shot_before": footage.before,
            "frame_before": footage.start_frame - 1 if footage.start_frame > 0 else None,
            "first": frames[0],
            "middle": frames[(len(frames) - 1) // 2],
            "last": frames[-1],
            "frame_after": footage.end_frame if footage.end_frame < index.frame_count else None,
            "shot_after": footage.after,
        }
        named = {frame: where for where, frame in reversed(places.items()) if frame is not None}
        self._folder = folder
        self._names = {frame: (f"{n}.jpg", named[frame]) for n, frame in enumerate(sorted(named))}
        self._times = index.times_s - index.times_s[footage.start_frame]
        self.around = [frame for frame in self._names if frame not in frames]
        """Frames of the strip that are not the clip's."""

    def add(self, frame: int, picture: Picture) -> None:
        """Takes this frame's picture if it belongs to the strip."""
        if frame in self._names:
            _write_picture(self._folder / self._names[frame][0], _small(picture))

    def stills(self) -> tuple[Still, ...]:
        """All of them, in the order of time."""
        return tuple(
            Still(file, where, round(float(self._times[frame]), 3))
            for frame, (file, where) in self._names.items()
        )


def held_picture(picture: Path, film: Path) -> None:
    """Writes a film of one second that shows a picture, for players of films alone."""
    import cv2

    image = np.asarray(cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB), np.uint8)
    height, width = (side - side % 2 for side in image.shape[:2])
    with _Film(film, width, height, np.array([0.0, 1.0])) as made:
        made.add(image)


def _small(picture: Picture) -> Picture:
    """The picture with STILL_PX on its shorter side, never enlarged."""
    import cv2

    height, width = picture.shape[:2]
    scale = STILL_PX / min(width, height)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def read_about(folder: Path) -> About | None:
    """What the preview in this folder shows; None where there is none, or it is not whole."""
    try:
        plain = json.loads((folder / "about.json").read_bytes())
        stills = tuple(Still(**still) for still in plain["stills"])
        about = About(
            plain["file"], int(plain["width"]), int(plain["height"]), tuple(plain["times_s"]), stills
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    files = [about.file, *(still.file for still in stills)]
    try:
        whole = all((folder / name).stat().st_size for name in files)  # after a power cut a file may be empty
    except OSError:
        return None
    return about if whole else None


def _write_picture(path: Path, picture: Picture) -> None:
    """A JPEG or PNG, by the name's ending."""
    import cv2

    done, data = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise MemoryError("the picture could not be encoded")
    path.write_bytes(data.tobytes())


class _Film:
    """An MP4 file in the making: H.264 without B frames, its index first, every frame at its own time."""

    def __init__(self, path: Path, width: int, height: int, times_s: npt.NDArray[np.float64]) -> None:
        """`times_s`: (n + 1,) seconds of the frames that will be added, and of the end."""
        import av

        ticks = np.round(times_s * CLOCK).astype(np.int64)
        self._length = dict(zip(ticks[:-1].tolist(), np.diff(ticks).tolist(), strict=True))
        self._starts = iter(ticks[:-1].tolist())
        self._size = height, width
        self._file = av.open(
            str(path), "w", format="mp4", container_options={"movflags": "+faststart", "fflags": "+bitexact"}
        )
        rate = Fraction((len(ticks) - 1) * CLOCK, max(int(ticks[-1]), 1)).limit_denominator(1001)
        options = {"crf": str(CRF), "preset": "superfast", "x264-params": "cpu-independent=1"}
        self._stream = self._file.add_stream("libx264", rate=rate, options=options)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = Fraction(1, CLOCK)
        context.thread_count, context.max_b_frames, context.gop_size = 1, 0, 12

    def __enter__(self) -> _Film:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if kind is None:
            self._send(None)
        self._file.close()

    def add(self, picture: Picture) -> None:
        """The next frame."""
        import av

        height, width = self._size
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", threads=1)
        frame.time_base, frame.pts = Fraction(1, CLOCK), next(self._starts)
        self._send(frame)

    def _send(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            packet.duration = self._length[packet.pts]
            self._file.mux(packet)
