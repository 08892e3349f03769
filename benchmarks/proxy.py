"""The proxy cache against a second decode pass for the stages.

    python -m benchmarks.proxy MEDIA...          # about 8 minutes of CPU time

With the proxy, the one decode pass also writes the small frames that stages look at, and the stages read them back.
Without it, that pass makes thumbnails alone, and the stages' frames come from a second pass, which decodes once for
every layer. Both end with the same frames in memory; shot detection and the stages themselves are left out. Films of
three minutes at 1080p and 720p. What the proxy costs is disk.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.clock import REPEATS, alternated, median_s, table
from benchmarks.media import make_film, videos
from pipeline.frames import (
    PROXY,
    THUMB_H,
    THUMB_W,
    Decoder,
    Limits,
    Sample,
    VideoIndex,
    batch_from_samples,
    grid_frames,
)

MINUTES = 3.0
HEIGHTS = (1080, 720)
CLIP_FRAMES = 100
"""The stages ask for the frames of spans this long: clips of 4 s."""


@dataclass(frozen=True)
class Film:
    """A film, its index, and a folder to write to."""

    path: Path
    index: VideoIndex
    folder: Path

    @property
    def proxy(self) -> Path:
        return self.folder / "proxy.parquet"


def one_pass(film: Film) -> None:
    """Thumbnails and proxy in one pass, the proxy to disk."""
    from pipeline.scan import Span, put_proxy
    from pipeline.store import Store

    with Decoder() as decoder:
        seen = decoder.scan(str(film.path), film.index, 0, film.index.frame_count, 0)
    film.proxy.unlink(missing_ok=True)
    span = Span({"video_id": "film"}, 0, film.index.frame_count)
    put_proxy(Store(str(film.folder)), film.proxy.name, span, seen.samples)


def frames_of_proxy(film: Film) -> int:
    """Every layer's frames of every clip out of the proxy on disk; gives how many."""
    from pipeline.store import Store

    layers: dict[int, list[Sample]] = {}
    for row in Store(str(film.folder)).table(film.proxy.name).to_pylist():
        row.pop("video_id")
        layers.setdefault(row["layer"], []).append(Sample(**row))
    made = 0
    for start in range(0, film.index.frame_count, CLIP_FRAMES):
        span = (start, min(start + CLIP_FRAMES, film.index.frame_count))
        for layer, spec in enumerate(PROXY):
            made += len(batch_from_samples(layers[layer], spec, film.index, span).frames)
    return made


def thumbnails(film: Film) -> None:
    """A pass that makes thumbnails alone, without even a process of its own."""
    from pipeline.decoders.pyav import iter_frames, open_media
    from pipeline.decoders.shape import Thumbs

    thumbs = Thumbs(film.index, THUMB_W, THUMB_H)
    file = open_media(str(film.path), Limits())
    for _, frame in iter_frames(file, film.index, 0, film.index.frame_count, Limits()):
        thumbs.of(frame)


def second_pass(film: Film) -> int:
    """Every layer's frames in another pass over the source; gives how many."""
    from pipeline.decoders.pyav import iter_frames, open_media
    from pipeline.decoders.shape import Pictures

    index = film.index
    layers = [Pictures(index, spec, "gray" if spec.gray else "rgb24") for spec in PROXY]
    wanted = [set(grid_frames(index, spec.every_s, 0, index.frame_count)) for spec in PROXY]
    for numbers, spec in zip(wanted, PROXY, strict=True):
        numbers |= {number + 1 for number in numbers} if spec.pair else set()
    made = 0
    file = open_media(str(film.path), Limits())
    for number, frame in iter_frames(file, index, 0, index.frame_count, Limits()):
        for numbers, pictures in zip(wanted, layers, strict=True):
            if number in numbers:
                pictures.of(frame)
                made += 1
    return made


def report(path: Path, minutes: float, repeats: int) -> str:
    """This film's figures as a table."""
    with tempfile.TemporaryDirectory() as folder, Decoder() as decoder:
        film = Film(path, VideoIndex.from_row(decoder.probe(str(path))), Path(folder))
        works = {
            "one pass: thumbnails and proxy": lambda: one_pass(film),
            "the stages' frames out of the proxy": lambda: frames_of_proxy(film),
            "a pass for thumbnails alone": lambda: thumbnails(film),
            "a second pass for the stages' frames": lambda: second_pass(film),
        }
        costs = alternated(works, repeats)
        size_mb = film.proxy.stat().st_size / 1e6
    spent = {name: median_s(taken) for name, taken in costs.items()}
    first, out_of, alone, again = spent.values()
    rows = [(name, f"{seconds:.1f}") for name, seconds in spent.items()]
    rows.append(("with the proxy, of without", f"{(first + out_of) / (alone + again):.2f}"))
    rows.append(("looking a second time: proxy, of a decode pass", f"{out_of / again:.2f}"))
    rows.append(("proxy, MB an hour of video", f"{size_mb * 60 / minutes:.0f}"))
    rows.append(("proxy, of the source's bytes", f"{size_mb * 1e6 / path.stat().st_size:.2f}"))
    return table((path.name, "CPU s"), rows)


def main(
    sources: Sequence[str],
    minutes: float = MINUTES,
    repeats: int = REPEATS,
    heights: Sequence[int] = HEIGHTS,
) -> None:
    if not sources:
        raise SystemExit("usage: python -m benchmarks.proxy MEDIA...")
    found = videos(sources)
    with tempfile.TemporaryDirectory() as folder:
        for height in heights:
            film = make_film(found, Path(folder) / f"film-{height}p.mp4", minutes, height)
            print(report(film, minutes, repeats) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
