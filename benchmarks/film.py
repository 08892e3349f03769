"""A two-hour film: memory of each worker, two workers against one, and chunks against one pass.

    python -m benchmarks.film MEDIA...           # about an hour of CPU time

Every default stage, captions included, on Ray actors. Memory is from a two-hour film at 720p (the picture's height
weighs little: a worker holds thumbnails and small frames). The speed-up is from a film of 27 minutes, which is four
chunks and a bit. A wall clock means little on a busy machine, so the table says how many cores other programs took
meanwhile: the speed-up counts only where that is near 0. Goals: 1 GiB a worker, a speed-up of 1.8, no difference.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.clock import table
from benchmarks.media import make_film, videos
from benchmarks.watch import Process, Watched, watch

HEIGHT = 720
LONG_MINUTES = 120.0
CHUNKS_MINUTES = 27.0
WORKER, CHILD = "ray::Worker", "pipeline.decode_child"
"""What the commands of a worker and of its decoding process hold."""


def run_on_ray(out: Path, film: Path, workers: int) -> Watched:
    """The steps up to the verdicts in a process of their own, on this many Ray actors a step."""
    return watch(
        [sys.executable, "-m", "benchmarks.steps", str(out), str(workers), "all", str(film)]
    ).ended_well()


def biggest(done: Watched) -> tuple[float, float, float]:
    """Largest peaks in MiB: of a worker, of a decoding process, and of the two that were largest together."""
    worker = done.peak_bytes(WORKER) / 2**20
    child = done.peak_bytes(CHILD) / 2**20
    return worker, child, worker + child


def ray_processes(done: Watched) -> list[Process]:
    """What Ray itself runs beside the workers."""
    return [p for p in done.processes if WORKER not in p.command and CHILD not in p.command]


def same_files(one: Path, other: Path) -> tuple[int, list[str]]:
    """How many Parquet files both runs have, and those that differ or that only one has."""
    found = {path.relative_to(root) for root in (one, other) for path in root.rglob("*.parquet")}
    differ = [str(name) for name in sorted(found) if not _same(one / name, other / name)]
    return len(found), differ


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.read_bytes() == other.read_bytes()


def one_pass_difference(out: Path, film: Path) -> float:
    """Largest difference between the signals of a run in chunks and those of one pass over the whole film."""
    import pyarrow as pa

    from benchmarks.steps import opened
    from pipeline.frames import Decoder, VideoIndex
    from pipeline.scan import SIGNALS, Scan, joined
    from pipeline.segment import signals
    from pipeline.transnet import TransNet

    with opened(out, [film]) as run:
        (video,) = run.used.values()
        names = [unit.name for group in run.groups for unit in group.units]
        tables = [
            run.store.table(
                f"{Scan(run.store, precision=run.config.precision).step}/{name}.parquet", SIGNALS.names
            )
            for name in names
        ]
    chunked = joined(pa.concat_tables(tables), video["video_id"])
    assert chunked is not None
    index = VideoIndex.from_row(video)
    with Decoder() as decoder:
        seen = decoder.scan(video["path"], index, 0, index.frame_count, 0)
    whole = signals(TransNet.load(), seen.thumbs, 0, 0, index.frame_count, index.frame_count)
    fields = ("transnet", "transnet_many", "content", "adaptive", "luma_mean")
    gaps = [np.abs(np.asarray(getattr(chunked, f)) - np.asarray(getattr(whole, f))).max() for f in fields]
    return float(max(gaps))


def memory(film: Path, folder: Path) -> str:
    """Peaks of a run of two workers on this film, as a table."""
    done = run_on_ray(folder / "long", film, 2)
    worker, child, both = biggest(done)
    ray_mib = sum(p.peak_bytes for p in ray_processes(done)) / 2**20
    rows = [
        ("a worker, MiB", f"{worker:.0f}"),
        ("its decoding process, MiB", f"{child:.0f}"),
        ("both, MiB (goal: at most 1024)", f"{both:.0f}"),
        ("the driver and Ray's own processes, MiB", f"{ray_mib:.0f}"),
        ("CPU s", f"{done.cpu_s:.0f}"),
        ("wall s", f"{done.wall_s:.0f}"),
    ]
    return table(("two workers", film.name), rows)


def scaling(film: Path, folder: Path) -> str:
    """One worker against two on this film, and chunks against one pass, as a table."""
    runs = {count: run_on_ray(folder / f"workers-{count}", film, count) for count in (1, 2)}
    rows = [(str(n), f"{r.wall_s:.0f}", f"{r.cpu_s:.0f}", f"{r.others_cores:.1f}") for n, r in runs.items()]
    rows.append(("speed-up", f"{runs[1].wall_s / runs[2].wall_s:.2f}", "", ""))
    files, differ = same_files(folder / "workers-1", folder / "workers-2")
    gap = one_pass_difference(folder / "workers-2", film)
    return (
        f"{table(('workers', 'wall s', 'CPU s', 'cores that others took'), rows)}\n\n"
        f"{files} Parquet files of each run, {len(differ)} of them different{': ' if differ else ''}"
        f"{', '.join(differ)}\nlargest difference of a shot signal, chunks against one pass: {gap:g}"
    )


def main(
    sources: Sequence[str],
    long_minutes: float = LONG_MINUTES,
    chunks_minutes: float = CHUNKS_MINUTES,
    height: int = HEIGHT,
) -> None:
    if not sources:
        raise SystemExit("usage: python -m benchmarks.film MEDIA...")
    found = videos(sources)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(memory(make_film(found, folder / f"film-{height}p.mp4", long_minutes, height), folder))
        print()
        print(scaling(make_film(found, folder / f"chunks-{height}p.mp4", chunks_minutes, height), folder))


if __name__ == "__main__":
    main(sys.argv[1:])
