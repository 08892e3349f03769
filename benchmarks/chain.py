"""The whole CPU chain against the bare decode of the same films, and where its time goes.

    python -m benchmarks.chain MEDIA...          # about 12 minutes of CPU time

MEDIA are videos or folders of videos; three-minute films are made of them at 1080p and at 720p. The chain is ingest,
the decode pass with both shot detectors, every filter, the embedded captions, dedup and the verdicts, in this process;
shards are not part of it. The bare decode is PyAV in order on one thread, frames thrown away, and `ffmpeg -threads 1
-f null` where that program is installed. Loading models costs the same for a film of any length, so it is measured
apart and not part of the ratio. Goals: a ratio of at most 2.2 at 1080p, and at most 1.3 decode passes.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.clock import REPEATS, alternated, cost, median_s, table
from benchmarks.media import FPS, GOP_FRAMES, make_film, videos
from benchmarks.steps import decide, do, measure, opened
from pipeline.frames import Decoder, Scan, VideoIndex
from pipeline.stage import FrameBatch, FrameSpec

if TYPE_CHECKING:
    from jobs.run import Run

MINUTES = 3.0
HEIGHTS = (1080, 720)


def bare_decode(film: Path) -> int:
    """Decodes every frame on one thread to nothing, with PyAV; gives their number."""
    import av

    with av.open(str(film)) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for _ in file.decode(stream))


def ffmpeg_decode(film: Path) -> None:
    """The same by the ffmpeg program."""
    command = ["ffmpeg", "-v", "error", "-threads", "1", "-i", str(film), "-map", "0:v:0", "-f", "null", "-"]
    subprocess.run(command, check=True)


def whole_chain(film: Path) -> None:
    """Ingest to verdicts in this process, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "run", [film]) as run:
        measure(run)
        decide(run)


def loading(film: Path) -> None:
    """What of that is the same for any film: starting decoders and loading models."""
    from pipeline.annotate import Annotate
    from pipeline.ingest import Ingest
    from pipeline.scan import Scan as ScanTask

    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "run", [film]) as run:
        filters, captions = _by_command(run)
        tasks: list[Any] = [Ingest(run.store), ScanTask(run.store)]
        tasks += [Annotate(run.store, stages) for stages in (filters, captions)]
        for task in tasks:
            state = task.open()
            assert state.decoder.networkless is not None  # starts the child
            state.close()


def _by_command(run: Run) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The planned stages of `rushes annotate`, and those of `rushes caption`."""
    from jobs.run import caption_names

    captions = [planned for planned in run.planned if planned.stage.name in caption_names()]
    return tuple(p for p in run.planned if p not in captions), tuple(captions)


class CountingDecoder(Decoder):
    """A decoder that counts the frames it decodes, those passed over to reach a wanted one included."""

    def __init__(self) -> None:
        super().__init__()
        self.frames = 0
        self._reached = 0

    def scan(self, path: str, index: VideoIndex, start: int, end: int, context: int) -> Scan:
        last = min(index.frame_count, end + context)
        self.frames += last - max(self._reached, start - context, 0)
        self._reached = last
        return super().scan(path, index, start, end, context)

    def read(
        self, path: str, index: VideoIndex, spans: Sequence[tuple[int, int]], spec: FrameSpec
    ) -> list[FrameBatch]:
        batches = super().read(path, index, spans, spec)
        for batch in batches:
            if len(batch.frames):
                # At worst a whole GOP is passed over before the first wanted frame.
                self.frames += int(batch.frames[-1] - batch.frames[0]) + GOP_FRAMES
        return batches


@dataclass(frozen=True)
class Pieces:
    """The chain taken apart."""

    cpu_s: dict[str, float]
    """Of every piece, each by itself."""
    passes: float
    """Frames decoded over frames in the film."""
    clips: int
    clips_s: float


def dissect(film: Path) -> Pieces:
    """What every piece of the chain takes on this film."""
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "run", [film]) as run:
        shares: dict[str, float] = {}
        shares["ingest"] = cost(lambda: do(run, "ingest")).cpu_s
        measure(run)
        shares["dedup, verdicts"] = cost(lambda: decide(run)).cpu_s
        decoder = CountingDecoder()
        shares |= _scan_shares(run, decoder)
        shares |= _stage_shares(run, decoder)
        decoder.close()
        frames = sum(int(video["frame_count"]) for video in run.used.values())
        tables = [run.store.table(part.output.path).to_pylist() for part in run.parts]
        lengths_s = [row["end_s"] - row["start_s"] for rows in tables for row in rows]
        return Pieces(shares, decoder.frames / frames, len(lengths_s), sum(lengths_s))


def _scan_shares(run: Run, decoder: CountingDecoder) -> dict[str, float]:
    from pipeline import scan
    from pipeline.segment import CONTEXT, signals
    from pipeline.transnet import TransNet

    net = TransNet.load()
    spans = [span for group in run.groups for unit in group.units for span in unit.spans]
    seen: list[tuple[scan.Span, Scan]] = []

    def look() -> None:
        for span in spans:
            index = VideoIndex.from_row(span.video)
            seen.append((span, decoder.scan(span.video["path"], index, span.start, span.end, CONTEXT)))
        Decoder.close(decoder)

    def shots() -> None:
        for span, found in seen:
            signals(net, found.thumbs, found.first_frame, span.start, span.end, span.video["frame_count"])

    def transnet() -> None:
        for span, found in seen:
            net.predict(found.thumbs, found.first_frame, span.start, span.end, span.video["frame_count"])

    decoding = cost(look)
    net_s = cost(transnet).cpu_s
    return {
        "decode, thumbnails, proxy": decoding.children_s,
        "frames handed over": decoding.cpu_s - decoding.children_s,
        "TransNetV2": net_s,
        "PySceneDetect": max(0.0, cost(shots).cpu_s - net_s),
    }


def _stage_shares(run: Run, decoder: CountingDecoder) -> dict[str, float]:
    """Each stage by itself over every clip, the making of its frames apart."""
    from pipeline import annotate
    from pipeline.clip import CLIPS, Clip
    from pipeline.sources import Fetcher
    from pipeline.stage import ClipError, Row

    models = {planned.stage.name: planned.stage.load() for planned in run.planned}
    spent: dict[str, float] = defaultdict(float)
    for part in run.parts:
        proxies = run.proxies(part.group)
        unit = annotate.Unit(part.name, part.output.path, part.group.videos, proxies, ())
        frames = annotate.Frames(run.store, unit, decoder, Fetcher())
        for row in run.store.table(part.output.path, CLIPS.names).to_pylist():
            known: dict[str, Row] = {}
            frames.forget()
            for planned in run.planned:
                stage = planned.stage
                if any(name not in known for name in stage.requires):
                    continue
                clip = Clip(**row, upstream={name: known[name] for name in stage.requires})
                began = time.process_time()
                shown = frames.of(clip, stage.frames) if stage.frames else None
                made = time.process_time()
                answer = annotate.measured(stage, models[stage.name], clip, shown)
                spent["frames out of the proxy"] += made - began
                spent[stage.name] += time.process_time() - made
                if not isinstance(answer, ClipError):
                    known[stage.name] = answer
    return dict(spent)


def report(film: Path, minutes: float, repeats: int) -> str:
    """The film's figures as two tables."""
    loading(film)  # imports, once for this process
    works: dict[str, Any] = {"PyAV, one thread": lambda: bare_decode(film)}
    if shutil.which("ffmpeg"):
        works["ffmpeg -threads 1 -f null"] = lambda: ffmpeg_decode(film)
    works["the whole chain"] = lambda: whole_chain(film)
    works["of it loading"] = lambda: loading(film)
    costs = alternated(works, repeats)
    bare = median_s(costs["PyAV, one thread"])
    frames = minutes * 60 * FPS
    rows = [_row(name, median_s(taken), frames, bare) for name, taken in costs.items()]
    in_turn = zip(costs["the whole chain"], costs["of it loading"], costs["PyAV, one thread"], strict=True)
    ratios = sorted((whole.cpu_s - load.cpu_s) / decode.cpu_s for whole, load, decode in in_turn)
    own = median_s(costs["the whole chain"]) - median_s(costs["of it loading"])
    rows.append((*_row("chain without loading", own, frames, bare)[:3], f"{statistics.median(ratios):.2f}"))
    rows.append(("run by run", "", "", ", ".join(f"{ratio:.2f}" for ratio in ratios)))
    found = dissect(film)
    shares = found.cpu_s
    parts = [_row("decode alone", bare, frames, bare)]
    shares["thumbnails, proxy"] = shares.pop("decode, thumbnails, proxy") - bare
    parts += [_row(name, spent, frames, bare) for name, spent in sorted(shares.items(), key=lambda s: -s[1])]
    size_mbps = film.stat().st_size * 8 / (minutes * 60) / 1e6
    head = ("", "CPU s", "ms a frame", "of the decode")
    return (
        f"{film.name}: {minutes:g} minutes, {size_mbps:.1f} Mbit/s; {found.clips} clips of {found.clips_s:.0f} s; "
        f"{found.passes:.2f} decode passes\n\n"
        f"{table(head, rows)}\n\n{table(('piece', *head[1:]), parts)}\n"
    )


def _row(name: str, cpu_s: float, frames: float, bare_s: float) -> tuple[str, str, str, str]:
    return name, f"{cpu_s:.1f}", f"{1000 * cpu_s / frames:.2f}", f"{cpu_s / bare_s:.2f}"


def main(
    sources: Sequence[str],
    minutes: float = MINUTES,
    repeats: int = REPEATS,
    heights: Sequence[int] = HEIGHTS,
) -> None:
    if not sources:
        raise SystemExit("usage: python -m benchmarks.chain MEDIA...")
    found = videos(sources)
    with tempfile.TemporaryDirectory() as folder:
        for height in heights:
            film = make_film(found, Path(folder) / f"film-{height}p.mp4", minutes, height)
            print(report(film, minutes, repeats))


if __name__ == "__main__":
    main(sys.argv[1:])
