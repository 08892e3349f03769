"""Seeking: that it is done, not only that the frames are right, which reading from the start would give as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import pytest

from pipeline.decoders.pyav import iter_frames, open_media, packets_of
from pipeline.frames import Decoder, Limits, VideoIndex


class Starved:
    """A container in which decoding runs out of memory once, some packets after it was first sought in."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._left = 6
        self.streams = container.streams

    def seek(self, *place: Any, **how: Any) -> None:
        self._container.seek(*place, **how)

    def demux(self, stream: Any) -> Iterator[Any]:
        for packet in self._container.demux(stream):
            self._left -= 1
            if self._left == 0:
                raise av.error.MemoryError(12, "Cannot allocate memory")
            yield packet


def test_too_little_memory_is_not_tried_again(make_video: Callable[..., Path], tmp_path: Path) -> None:
    """av.error.MemoryError is an FFmpegError too; damage found on seeking would be looked at from the start."""
    path = str(make_video(tmp_path / "a.mp4", frames=40))
    with Decoder() as decoder:
        index = VideoIndex.from_row(decoder.probe(path))
    with closing(open_media(path, Limits())) as container, pytest.raises(MemoryError):
        list(iter_frames(Starved(container), index, 0, 40, Limits()))


@pytest.mark.parametrize(
    ("name", "codec"), [("s.mp4", "h264"), ("s.mkv", "h264"), ("s.mov", "hevc"), ("s.webm", "vp9")]
)
def test_late_frames_are_reached_by_seeking(
    make_video: Callable[..., Path], barcode: Any, tmp_path: Path, name: str, codec: str
) -> None:
    path = str(make_video(tmp_path / name, frames=520, codec=codec, bframes=3, gop=24, size=(128, 64)))
    with Decoder() as decoder:
        index = VideoIndex.from_row(decoder.probe(path))
    signs = 0

    def alive() -> None:
        nonlocal signs
        signs += 1

    limits = Limits()
    with closing(open_media(path, limits)) as container:
        for start in [*range(470, 500), 30, 519]:
            found = list(iter_frames(container, index, start, start + 2, limits, alive))
            assert [number for number, _ in found] == list(range(start, min(520, start + 2)))
            assert [barcode.read(frame.to_ndarray(format="rgb24")) for _, frame in found] == [
                n for n, _ in found
            ]
    assert signs == 0  # one would come with the 250th decoded frame of a call


class Surprised:
    """A container in which a stream appears on the way: PyAV does not know it, and stumbles over it at the end."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self.streams = container.streams

    def demux(self, *streams: Any) -> Iterator[Any]:
        yield from self._container.demux(*streams)
        raise IndexError("list index out of range")


def test_a_stream_that_appears_on_the_way_costs_nothing(
    make_video: Callable[..., Path], tmp_path: Path
) -> None:
    path = str(make_video(tmp_path / "a.ts", frames=40, bframes=2))
    with Decoder() as decoder:
        index = VideoIndex.from_row(decoder.probe(path))
    with closing(open_media(path, Limits())) as container:
        found = list(iter_frames(Surprised(container), index, 0, 40, Limits()))
    assert [number for number, _ in found] == list(range(40))
    with closing(open_media(path, Limits())) as container:
        sizes = [packet.size for packet in packets_of(Surprised(container))]
    assert (len(sizes), sizes[-1]) == (41, 0)  # the last one ends the decoder
