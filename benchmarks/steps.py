"""The steps of a run up to the verdicts, as the other benchmarks call them; or as a process of its own:

    python -m benchmarks.steps RUN WORKERS STAGE,STAGE... VIDEO...

STAGE is a name out of `rushes annotate --help`; "all" is every default stage, captions included.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.run import Run

ALL: tuple[str, ...] = ()
"""Every default stage."""


@contextmanager
def opened(out: Path, videos: Sequence[Path], stages: Sequence[str] = ALL, workers: int = 0) -> Iterator[Run]:
    """A run over these videos in the folder `out`."""
    from jobs import chain
    from jobs.config import Config

    config = Config(sources=tuple(str(video.resolve()) for video in videos), stages=tuple(stages))
    with chain.opened(str(out), config, workers, None, quiet=True) as run:
        yield run


def measure(run: Run) -> None:
    """Ingest, the decode pass with its shots and clips, and every stage of the run."""
    do(run, "ingest", "segment", "annotate", "caption")


def decide(run: Run) -> None:
    """Near duplicates, and the verdict of every recipe."""
    do(run, "dedup", "select")


def do(run: Run, *steps: str) -> None:
    """These steps of `rushes run`."""
    from jobs import chain

    for step in steps:
        chain.do(run, step)


def main(arguments: Sequence[str]) -> None:
    if len(arguments) < 4:
        raise SystemExit("usage: python -m benchmarks.steps RUN WORKERS STAGE,STAGE...|all VIDEO...")
    out, workers, stages, *videos = arguments
    names = ALL if stages == "all" else tuple(stages.split(","))
    with opened(Path(out), [Path(video) for video in videos], names, int(workers)) as run:
        measure(run)
        if names == ALL:  # recipes ask for the columns of every stage
            decide(run)


if __name__ == "__main__":
    main(sys.argv[1:])
