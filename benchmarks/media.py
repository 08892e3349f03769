"""A test film of any length out of real videos: 24 fps H.264 with many shots and sound.

    python -m benchmarks.media OUT.mp4 MINUTES HEIGHT SOURCE...

SOURCE is a video or a folder of videos. Up to `BASE_S` seconds are encoded (about 30 CPU ms a frame at 1080p); a longer
film is those packets again and again with later timestamps, which costs next to nothing. The same sources give the
same bytes.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FPS = 24
BASE_S = 180
"""Seconds that are encoded; a longer film repeats them."""
SHOT_FRAMES = (61, 97, 43, 131, 79, 113)
"""Lengths of the shots, in turn: 2 to 5 s, as in a feature film (primes, so that cuts fall anywhere in a GOP)."""
GOP_FRAMES = 250
"""x264's own default: the distance of key frames in most files of the wild."""
CRF = "18"
RATE_HZ = 48_000
SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".mpg", ".avi"}

Picture = npt.NDArray[np.uint8]


def videos(sources: Sequence[str]) -> list[Path]:
    """The video files among these paths and directly inside those that are folders, sorted within each."""
    found: list[Path] = []
    for source in map(Path, sources):
        inside = sorted(source.iterdir()) if source.is_dir() else [source]
        found += [path for path in inside if path.suffix.lower() in SUFFIXES]
    if not found:
        raise SystemExit(f"no video in {', '.join(sources)}: name a video or a folder of videos")
    return found


def make_film(sources: Sequence[Path], out: Path, minutes: float, height: int) -> Path:
    """Writes the film unless it is there already; gives `out`. Its width is 16:9."""
    if out.exists():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    whole_s = round(minutes * 60)
    base_s = min(whole_s, BASE_S)
    base = out.with_suffix(f".base-{os.getpid()}.mp4")
    _encode(sources, base, base_s, height)
    if whole_s > base_s:
        longer = out.with_suffix(f".long-{os.getpid()}.mp4")
        repeat(base, longer, base_s, -(-whole_s // base_s))
        longer.replace(base)
    base.replace(out)
    return out


def _encode(sources: Sequence[Path], out: Path, seconds: int, height: int) -> None:
    import av

    width = height * 16 // 9 // 2 * 2
    with av.open(str(out), "w", options={"movflags": "faststart"}) as file:
        video = file.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.gop_size = GOP_FRAMES
        video.options = {"preset": "veryfast", "crf": CRF, "threads": "1"}
        sound = file.add_stream("aac", rate=RATE_HZ)
        sound.layout = "stereo"
        pictures = _shots(sources, width, height)
        for number in range(seconds * FPS):
            frame = av.VideoFrame.from_ndarray(next(pictures), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            file.mux(video.encode(frame))
            if number % FPS == 0:
                file.mux(sound.encode(_second_of_sound(number // FPS)))
        file.mux(video.encode(None))
        file.mux(sound.encode(None))


def _shots(sources: Sequence[Path], width: int, height: int) -> Iterator[Picture]:
    """Endless pictures: a shot's length of one source, then of the next; a source that ends begins again."""
    reels = [_reel(path, width, height) for path in sources]
    turn = 0
    while True:
        for reel in reels:
            for _ in range(SHOT_FRAMES[turn % len(SHOT_FRAMES)]):
                yield next(reel)
            turn += 1


def _reel(path: Path, width: int, height: int) -> Iterator[Picture]:
    """Endless (height * 3 / 2, width) yuv420p pictures of one source at FPS, scaled to fill the picture."""
    import av
    from av.filter import Graph

    while True:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            stream.codec_context.thread_count = 1
            graph = Graph()
            rate = stream.average_rate or Fraction(FPS)
            nodes = [
                graph.add_buffer(template=stream),
                graph.add("fps", str(FPS)) if rate > 1 else graph.add("null"),
                graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=increase:flags=bicubic"),
                graph.add("crop", f"{width}:{height}"),
                graph.add("format", "yuv420p"),
                graph.add("buffersink"),
            ]
            for one, following in itertools.pairwise(nodes):
                one.link_to(following)
            graph.configure()
            for frame in file.decode(stream):
                graph.push(frame)
                yield from _pulled(graph)


def _pulled(graph: Any) -> Iterator[Picture]:
    import av

    while True:
        try:
            yield np.asarray(graph.pull().to_ndarray(), dtype=np.uint8)
        except (av.BlockingIOError, av.EOFError):
            return


def _second_of_sound(second: int) -> Any:
    """One second of a stereo tone whose pitch walks up and down, (2, RATE_HZ) as an audio frame."""
    import av

    pitch_hz = 220 + 20 * (second % 12)
    wave = 0.2 * np.sin(2 * np.pi * pitch_hz * np.arange(RATE_HZ) / RATE_HZ)
    frame = av.AudioFrame.from_ndarray(
        np.stack([wave, wave]).astype(np.float32), format="fltp", layout="stereo"
    )
    frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, second * RATE_HZ, Fraction(1, RATE_HZ)
    return frame


def repeat(base: Path, out: Path, base_s: int, times: int) -> None:
    """The packets of `base`, `times` times over, each time `base_s` seconds later."""
    import av

    with av.open(str(out), "w") as file:
        streams: dict[int, Any] = {}
        for turn in range(times):
            with av.open(str(base)) as source:
                if not streams:
                    streams = {s.index: file.add_stream_from_template(s) for s in source.streams}
                for packet in source.demux():
                    later = None if packet.time_base is None else round(base_s / packet.time_base)
                    if packet.dts is None or later is None:
                        continue  # the end mark
                    if packet.stream.type == "audio" and packet.pts + 2 * packet.duration > later:
                        continue  # sound begins a packet before zero: the next turn's is there already
                    packet.pts += turn * later
                    packet.dts += turn * later
                    packet.stream = streams[packet.stream.index]
                    file.mux(packet)


def main(arguments: Sequence[str]) -> None:
    if len(arguments) < 4:
        raise SystemExit("usage: python -m benchmarks.media OUT.mp4 MINUTES HEIGHT SOURCE...")
    out, minutes, height, *sources = arguments
    film = make_film(videos(sources), Path(out), float(minutes), int(height))
    rate_mbps = film.stat().st_size * 8 / (float(minutes) * 60) / 1e6
    print(f"{film}: {film.stat().st_size / 2**20:.1f} MiB, {rate_mbps:.1f} Mbit/s")


if __name__ == "__main__":
    main(sys.argv[1:])
