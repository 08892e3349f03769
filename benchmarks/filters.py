"""CPU milliseconds of each filter for a second of clip, beside the bare decode of the same files.

    python -m benchmarks.filters MEDIA...

MEDIA are videos or folders. Every video is cut into clips of CLIP_S seconds (its first MOST_CLIPS of them), whose
frames are read before the clock starts. The decode is PyAV on one thread, frames thrown away, of the same seconds.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filters
from benchmarks.clock import table
from benchmarks.media import videos
from pipeline.clip import Clip
from pipeline.frames import PROXY, Decoder, VideoIndex
from pipeline.stage import ClipError, FrameBatch, FrameSpec, Row

CLIP_S = 5.0
MOST_CLIPS = 6
Shown = dict[FrameSpec, FrameBatch]


def clips(path: Path, decoder: Decoder) -> Iterator[tuple[Clip, Shown]]:
    """The first clips of a video and their frames."""
    index = VideoIndex.from_row(decoder.probe(str(path)))
    times = index.times_s
    step = max(1, round(CLIP_S * float(index.fps)))
    starts = range(0, index.frame_count, step)[:MOST_CLIPS]
    spans = [(start, min(start + step, index.frame_count)) for start in starts]
    read = {spec: decoder.read(str(path), index, spans, spec) for spec in PROXY}
    for i, (start, end) in enumerate(spans):
        about = (
            start,
            end,
            float(times[start]),
            float(times[end]),
            float(index.fps),
            index.width,
            index.height,
        )
        yield Clip(f"{path.name}-{i}", path.name, path.name, *about), {spec: read[spec][i] for spec in PROXY}


def decode_s(path: Path, seconds: float) -> float:
    """CPU seconds that decoding so much of a file takes on one thread."""
    import av

    began = time.process_time()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        first = None
        for frame in container.decode(stream):
            first = frame.time if first is None else first
            if (frame.time or 0.0) - (first or 0.0) >= seconds:
                break
    return time.process_time() - began


def main(sources: list[str]) -> None:
    """Prints the table."""
    models: dict[str, Any] = {stage.name: stage.load() for stage in filters.STAGES}
    spent = {stage.name: 0.0 for stage in filters.STAGES}
    seconds = decoding = 0.0
    with Decoder() as decoder:
        for path in videos(sources):
            of_video = 0.0
            for clip, shown in clips(path, decoder):
                of_video += clip.duration_s
                rows: dict[str, Row] = {}
                for stage in filters.STAGES:
                    ready = dataclasses.replace(clip, upstream={name: rows[name] for name in stage.requires})
                    began = time.process_time()
                    frames = shown[stage.frames] if stage.frames else None
                    (answer,) = stage.measure_batch(models[stage.name], [ready], [frames])
                    spent[stage.name] += time.process_time() - began
                    if isinstance(answer, ClipError):
                        raise answer
                    rows[stage.name] = answer
            seconds += of_video
            decoding += decode_s(path, of_video)
    if not seconds:
        raise SystemExit("no clip in these files")
    total = sum(spent.values())
    rows_ms = [
        *sorted(spent.items(), key=lambda item: -item[1]),
        ("all filters", total),
        ("bare decode", decoding),
    ]
    print(f"{seconds:.0f} s of clips of at most {CLIP_S:g} s")
    lines = [(name, f"{1000 * cpu / seconds:.2f}", f"{cpu / decoding:.3f}") for name, cpu in rows_ms]
    print(table(("stage", "CPU ms a second", "of the decode"), lines))


if __name__ == "__main__":
    main(sys.argv[1:])
