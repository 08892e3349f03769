"""What Ray costs: the same job by one Ray worker and in this process.

    python -m benchmarks.ray_overhead MEDIA...   # about 15 minutes of CPU time

A film of 15 minutes at 720p, every default stage, captions included. Both run as a process of their own, watched from
outside, so that Ray's own processes count. Goal: at most 5 % more CPU and wall time.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.clock import table
from benchmarks.media import make_film, videos
from benchmarks.watch import Watched, watch

HEIGHT = 720
MINUTES = 15.0
REPEATS = 2


def once(film: Path, workers: int) -> Watched:
    """The steps up to the verdicts with this many workers, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return watch(
            [sys.executable, "-m", "benchmarks.steps", f"{folder}/run", str(workers), "all", str(film)]
        ).ended_well()


def report(film: Path, repeats: int) -> str:
    """Both ways `repeats` times in turn, medians, as a table."""
    runs: dict[int, list[Watched]] = {0: [], 1: []}
    for _ in range(repeats):
        for workers, done in runs.items():
            done.append(once(film, workers))
    here, ray = ((median(r.cpu_s for r in d), median(r.wall_s for r in d)) for d in runs.values())
    rows = [
        ("in process", f"{here[0]:.1f}", f"{here[1]:.1f}"),
        ("Ray, one worker", f"{ray[0]:.1f}", f"{ray[1]:.1f}"),
        ("more", f"{100 * (ray[0] / here[0] - 1):.1f} %", f"{100 * (ray[1] / here[1] - 1):.1f} %"),
    ]
    return table((film.name, "CPU s", "wall s"), rows)


def main(
    sources: Sequence[str], minutes: float = MINUTES, repeats: int = REPEATS, height: int = HEIGHT
) -> None:
    if not sources:
        raise SystemExit("usage: python -m benchmarks.ray_overhead MEDIA...")
    with tempfile.TemporaryDirectory() as folder:
        film = make_film(videos(sources), Path(folder) / f"film-{height}p.mp4", minutes, height)
        print(report(film, repeats))


if __name__ == "__main__":
    main(sys.argv[1:])
