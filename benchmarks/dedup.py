"""Seconds, memory and recall of the near-duplicate search over synthetic hashes.

    python -m benchmarks.dedup [CLIPS] [FRAMES]

A million clips of five frames by default. Every tenth clip is copied with up to five bits of each hash changed, every
third copy mirrored; the others are random, so whatever else is found is wrong.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.dedup import find_duplicates

FLIPS = 5


def table(clips: int, frames: int) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """The clips, and the rows of the copies (each follows its original)."""
    dice = np.random.default_rng(0)
    plain, mirrored = (dice.integers(0, 2**64, (clips, frames), dtype=np.uint64) for _ in range(2))
    copies = np.arange(1, clips, 10)
    for hashes in (plain, mirrored):
        hashes[copies] = hashes[copies - 1]
        for _ in range(FLIPS):
            hashes[copies] ^= np.uint64(1) << dice.integers(0, 64, (len(copies), frames)).astype(np.uint64)
    turned = copies[::3]
    plain[turned], mirrored[turned] = mirrored[turned], plain[turned].copy()
    offsets = pa.array(np.arange(0, clips * frames + 1, frames, dtype=np.int32))
    names = pa.array(np.char.mod("%020x", np.arange(clips)))
    columns = {
        "clip_id": names,
        "shot_id": names,
        "is_image": np.zeros(clips, np.bool_),
        "width": np.full(clips, 1920, np.int32),
        "height": np.full(clips, 1080, np.int32),
        "duration_s": np.full(clips, 5.0),
        "sharpness": dice.random(clips),
        "phash": pa.ListArray.from_arrays(offsets, pa.array(plain.ravel())),
        "phash_mirrored": pa.ListArray.from_arrays(offsets, pa.array(mirrored.ravel())),
        "phash_flat": pa.ListArray.from_arrays(offsets, pa.array(np.zeros(clips * frames, np.bool_))),
    }
    return pa.table(columns), copies


def main(clips: int, frames: int) -> None:
    rows, copies = table(clips, frames)
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    found = find_duplicates(rows)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    dropped = int(np.count_nonzero(found.column("duplicate_rank").to_numpy()))
    clusters = found.column("duplicate_cluster").combine_chunks().dictionary_encode().indices.to_numpy()
    right = int(np.count_nonzero(clusters[copies] == clusters[copies - 1]))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{clips:,} clips of {frames} frames: {wall_s:.1f} s wall, {cpu_s:.1f} s CPU, {peak_mib} MiB peak")
    print(f"{right:,} of {len(copies):,} copies found, {dropped - right:,} wrong")


if __name__ == "__main__":
    asked = [int(float(value)) for value in sys.argv[1:3]]
    main(*(asked + [1_000_000, 5][len(asked) :]))
