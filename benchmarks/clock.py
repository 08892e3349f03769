"""CPU seconds, medians of alternated runs, and small tables.

CPU time is the figure everywhere: a shared machine's wall clock measures its neighbours. What is compared is run in
turn (A, B, A, B, ...), so that a slow minute hits both.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

REPEATS = 3


@dataclass(frozen=True)
class Cost:
    """What a piece of work took."""

    cpu_s: float
    """Of this process and of its ended children, user and system."""
    children_s: float
    """The part of `cpu_s` that ended children took: decoding, in rushes."""
    wall_s: float


def cost(work: Callable[[], object]) -> Cost:
    """Does the work and says what it took; a child counts once it has been waited for."""
    gc.collect()
    began, own, children = time.perf_counter(), _used(resource.RUSAGE_SELF), _used(resource.RUSAGE_CHILDREN)
    work()
    children_s = _used(resource.RUSAGE_CHILDREN) - children
    own_s = _used(resource.RUSAGE_SELF) - own
    return Cost(own_s + children_s, children_s, time.perf_counter() - began)


def _used(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def alternated(works: Mapping[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, list[Cost]]:
    """What each work took, every one of them run `repeats` times in turn."""
    runs: dict[str, list[Cost]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            runs[name].append(cost(work))
    return runs


def median_s(costs: Sequence[Cost]) -> float:
    """The median CPU seconds."""
    return statistics.median(one.cpu_s for one in costs)


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]
    lines = [
        [cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [headings, *rows]
    ]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
