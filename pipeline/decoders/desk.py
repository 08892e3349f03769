"""The commands of the decoding process: each yields the parts of its answer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.decoders.shape import Picture, Pictures, Thumbs, jpeg
from pipeline.frames import NEARBY_FRAMES, PROXY, THUMB_H, THUMB_W, Sample, grid_frames
from pipeline.reasons import MediaError
from pipeline.stage import FrameSpec

if TYPE_CHECKING:
    from pipeline.encode import EncodeJob
    from pipeline.frames import Limits, VideoIndex


class Desk:
    """Answers requests about one file at a time; keeps the last scan's decoder to read on from where it is."""

    def __init__(self, limits: Limits, backend: str, alive: Callable[[], None]) -> None:
        self._limits = limits
        self._alive = alive
        self._frames = _backend(backend, limits, alive)
        self._cursor: _Cursor | None = None

    def probe(self, path: str) -> Iterator[dict[str, Any]]:
        """The VIDEOS columns of the file."""
        from pipeline.decoders.probe import probe

        self._forget()
        yield probe(path, self._limits, self._alive)

    def scan(
        self, path: str, token: Any, index: VideoIndex, start: int, end: int, samples_from: int
    ) -> Iterator[tuple[Picture, list[dict[str, Any]]]]:
        """The thumbnails of [start, end) and the fields of the proxy's samples of [samples_from, end)."""
        cursor = self._cursor
        self._cursor = None
        if cursor is None or not cursor.serves(token, index, start):
            frames = self._frames(path, index, start, index.frame_count)
            cursor = _Cursor(token, index, frames, start)
        thumbs, samples = cursor.piece(start, end, samples_from)
        yield thumbs, [vars(sample) for sample in samples]
        self._cursor = cursor

    def read(
        self,
        path: str,
        index: VideoIndex,
        wanted: Sequence[int],
        spec: FrameSpec,
    ) -> Iterator[tuple[int, Picture]]:
        """(frame, picture) of each of the wanted frames, which are in order."""
        self._forget()
        pictures = Pictures(index, spec, "gray" if spec.gray else "rgb24")
        for run in _runs(wanted, NEARBY_FRAMES if index.seekable else index.frame_count):
            chosen = set(run)
            with closing(self._frames(path, index, run[0], run[-1] + 1)) as frames:
                for number, frame in frames:
                    if number in chosen:
                        yield number, pictures.of(frame)

    def encode(self, path: str, index: VideoIndex, jobs: Sequence[EncodeJob]) -> Iterator[Any]:
        """For each job the fields of its EncodedClip, or the reason and the message of its MediaError."""
        from pipeline.decoders.pyav import iter_frames, open_media
        from pipeline.encode import encode_jobs

        self._forget()
        read = partial(iter_frames, limits=self._limits, alive=self._alive)
        for answer in encode_jobs(partial(open_media, path, self._limits), read, index, jobs):
            yield (answer.reason, answer.message) if isinstance(answer, MediaError) else vars(answer)

    def _forget(self) -> None:
        self._cursor = None


Frames = Callable[["str", "VideoIndex", int, int], Generator[tuple[int, Any]]]


def _backend(name: str, limits: Limits, alive: Callable[[], None]) -> Frames:
    """Opens a file and gives its frames [start, end) as (number, av.VideoFrame)."""
    if name == "decord":
        from pipeline.decoders.decord import read_frames

        return partial(read_frames, limits=limits, alive=alive)
    from pipeline.decoders.pyav import iter_frames, open_media

    def read(path: str, index: VideoIndex, start: int, end: int) -> Generator[tuple[int, Any]]:
        with closing(open_media(path, limits)) as container:
            yield from iter_frames(container, index, start, end, limits, alive)

    return read


def _runs(wanted: Sequence[int], nearby: int) -> Iterator[list[int]]:
    run: list[int] = []
    for number in wanted:
        if run and number > run[-1] + nearby:
            yield run
            run = []
        run.append(number)
    if run:
        yield run


class _Cursor:
    """A decoder at some frame of a file, read on by one piece after another."""

    def __init__(self, token: Any, index: VideoIndex, frames: Iterator[tuple[int, Any]], place: int) -> None:
        self._token = token
        self._index = index
        self._frames = frames
        self._place = place
        self._ahead: Any = None
        self._times = index.times_s
        self._thumbs = Thumbs(index, THUMB_W, THUMB_H)
        self._layers = [Pictures(index, spec, "gray" if spec.gray else "bgr24") for spec in PROXY]

    def serves(self, token: Any, index: VideoIndex, start: int) -> bool:
        """Whether reading on is the way to frame `start`."""
        near = NEARBY_FRAMES if index.seekable else index.frame_count
        same = self._token == token and np.array_equal(self._index.pts, index.pts)
        return same and self._place <= start <= self._place + near

    def piece(self, start: int, end: int, samples_from: int) -> tuple[Picture, list[Sample]]:
        """The thumbnails of [start, end) and the samples of [samples_from, end)."""
        while self._place < start:
            self._next()
        wanted: dict[int, list[int]] = {}
        for layer, spec in enumerate(PROXY):
            for number in grid_frames(self._index, spec.every_s, samples_from, end):
                wanted.setdefault(number, []).append(layer)
        thumbs = np.empty((end - start, THUMB_H, THUMB_W, 3), np.uint8)
        samples = []
        for number in range(start, end):
            frame = self._next()
            thumbs[number - start] = self._thumbs.of(frame)
            if number in wanted:
                samples += [self._sample(layer, number, frame) for layer in wanted[number]]
        return thumbs, samples

    def _sample(self, layer: int, number: int, frame: Any) -> Sample:
        pictures = self._layers[layer]
        data, following, step_s = jpeg(pictures.of(frame)), None, None
        if PROXY[layer].pair and number + 1 < self._index.frame_count:
            following = jpeg(pictures.of(self._peek()))
            step_s = float(self._times[number + 1] - self._times[number])
        return Sample(layer, number, float(self._times[number]), step_s, data, following)

    def _peek(self) -> Any:
        if self._ahead is None:
            self._ahead = next(self._frames)[1]
        return self._ahead

    def _next(self) -> Any:
        frame = self._peek()
        self._ahead = None
        self._place += 1
        return frame
