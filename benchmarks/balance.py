"""Seconds and memory to balance a synthetic pool by several axes at once, and what naive ways keep of it.

    python -m benchmarks.balance [CLIPS]

CLIPS is 10,000,000 by default. Subjects come in the shares of SkyReels-V2 before balance (arXiv 2504.13074, figure 5;
what it leaves unsaid is ours) and are wanted in those after it; how clips move depends on the subject; each clip has a
bucket, a source and a semantic cluster. Each set of axes runs in a process of its own and prints wall and CPU seconds,
its peak memory, the clips kept, the largest distance of any share from what was wanted in points, and what is kept by
cutting one axis after the other until all shares are within a tenth of a point ("in turn").
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from balance.axes import MOTIONS
from balance.resample import Batch, Rows, resample
from balance.settings import Axis, Balance
from pipeline.hashes import keyed_hash

BATCH_ROWS = 1 << 16
ROUNDS = 50
"""Times that every axis is cut in turn: by then the shares are met or the clips are gone."""
BEFORE = {
    "Human": 0.848,
    "Scenery": 0.088,
    "Animal": 0.041,
    "Architecture": 0.006,
    "Plant": 0.005,
    "Vehicles": 0.004,
    "Food": 0.003,
    "Sport": 0.003,
    "Object": 0.002,
}
AFTER = {"Human": 0.553, "Scenery": 0.14, "Animal": 0.085, "Architecture": 0.046}
BUCKETS, SOURCES, CLUSTERS = 12, 200, 64
AXES = {
    "concept": Axis("concept", shares=AFTER),
    "motion": Axis("motion", temperature=0.5),
    "bucket": Axis("bucket", temperature=0.7),
    "source": Axis("source", cap=0.02),
    "cluster": Axis("cluster", temperature=0.5),
}
SETS = (("concept",), ("concept", "motion"), ("concept", "motion", "bucket", "source"), tuple(AXES))


def columns(first: int, rows: int) -> dict[str, npt.NDArray[np.int32]]:
    """The places of the labels of some clips on each axis; more of the first places than of the last."""
    dice = np.random.default_rng(first)
    subject = dice.choice(len(BEFORE), rows, p=list(BEFORE.values())).astype(np.int32)

    def skewed(size: int, mean: float) -> npt.NDArray[np.int32]:
        return np.minimum(dice.exponential(mean, rows), size - 1).astype(np.int32)

    moving = skewed(len(MOTIONS), 1.5)
    return {
        "concept": subject,
        "motion": np.where(subject == 0, moving, len(MOTIONS) - 1 - moving).astype(np.int32),
        "bucket": skewed(BUCKETS, 3.0),
        "source": skewed(SOURCES, 30.0),
        "cluster": ((skewed(CLUSTERS, 12.0) + 7 * subject) % CLUSTERS).astype(np.int32),
    }


def names(axis: str) -> pa.Array:
    sizes = {"bucket": BUCKETS, "source": SOURCES, "cluster": CLUSTERS}
    known = {"concept": list(BEFORE), "motion": list(MOTIONS)}
    return pa.array(known.get(axis) or [f"{axis} {number:03d}" for number in range(sizes.get(axis, 0))])


def batches(clips: int, axes: tuple[str, ...]) -> Iterator[Batch]:
    """As a run hands them over: names, not numbers, some rows at a time."""
    for first in range(0, clips, BATCH_ROWS):
        rows = min(BATCH_ROWS, clips - first)
        found = columns(first, rows)
        labels = tuple(names(axis).take(pa.array(found[axis])) for axis in axes)
        ids = pa.chunked_array([np.char.mod("%020x", np.arange(first, first + rows))])
        yield Batch(labels, np.random.default_rng(first + 1).random(rows), keyed_hash(ids, 0))


def in_turn(rows: Rows, wanted: dict[str, dict[str, float]], within: float) -> int:
    """Clips left by cutting every label of one axis to its share of what the scarcest allows, axis after axis, until
    all shares are within so much; 0 if they never are."""
    left = np.ones(len(rows.hashes), np.bool_)
    for _ in range(ROUNDS):
        worst = 0.0
        for codes, listed, (_, shares) in zip(rows.codes, rows.names, wanted.items(), strict=True):
            counts = np.bincount(codes[left], minlength=len(listed))
            target = np.array([shares.get(name, np.nan) for name in listed])
            worst = max(worst, float(np.nanmax(np.abs(counts / max(left.sum(), 1) - target))))
            rest = np.isnan(target)
            target[rest] = (1 - np.nansum(target)) * counts[rest] / max(counts[rest].sum(), 1)
            total = np.min(counts[target > 0] / target[target > 0])
            for code in range(len(listed)):
                mine = np.flatnonzero(left & (codes == code))
                left[mine[int(target[code] * total) :]] = False
        if worst <= within:
            return int(left.sum())
    return 0


def run(clips: int, chosen: tuple[str, ...]) -> str:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    rows = Rows.of(batches(clips, chosen))
    made_s = time.perf_counter() - wall_s
    balance = Balance(tuple(AXES[name] for name in chosen))
    found = resample(rows, balance)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    worst = max(axis.deviation_ratio for axis in found.axes)
    kept = int(found.copies.sum())
    naive = ""
    if not any(AXES[name].most_only for name in chosen):
        wanted = {
            axis.name: axis.targets(count) for axis, count in zip(balance.axes, rows.counts(), strict=True)
        }
        left = in_turn(rows, wanted, max(worst, 0.001))
        naive = f"; in turn {left:,}" if left else "; in turn none is left before they are"
    return (
        f"{' x '.join(chosen)}: {wall_s:.1f} s wall ({made_s:.1f} of it making the clips), {cpu_s:.1f} s CPU, "
        f"{peak_mib:,} MiB peak; {kept:,} of {clips:,} kept, off by {100 * worst:.3f} points{naive}"
    )


def main(clips: int) -> None:
    for chosen in SETS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            print(fresh.submit(run, clips, chosen).result(), flush=True)


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000)
