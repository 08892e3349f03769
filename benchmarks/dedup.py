"""Seconds, memory, recall and precision of the search for copies, over a table made of planted ones.

    python -m benchmarks.dedup [CLIPS] [HASHES] [VECTORS]

A million clips of five hashed and three embedded frames by default. Every tenth clip is a copy of the one before it:
in turn coded again (up to five bits of each hash change, vectors and thumbs get noise), mirrored, cropped (new hashes,
vectors at a cosine of 0.8, thumbs show 80 % of each side). The others have random hashes and thumbs; their vectors
belong to themes of some hundred clips at cosines about 0.65, so that vectors alone suggest many pairs that are none.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.dedup import find_duplicates
from filters.duplicates import alignment

FLIPS = 5
DIMENSIONS = 128
THEME_CLIPS = 300
THEME_COSINE = 0.65
CROP_COSINE = 0.8
KEPT = 0.8
EDITS = ("coded again", "mirrored", "cropped")
ROWS_A_STEP = 1 << 16
Ints = npt.NDArray[np.int64]


def table(clips: int, hashes: int, vectors: int) -> tuple[pa.Table, Ints]:
    """The clips, and the rows of the copies (each follows its original), the edits in turn."""
    dice = np.random.default_rng(0)
    copies = np.arange(1, clips, 10)
    names = pa.array(np.char.mod("%020x", np.arange(clips)))
    columns = {
        "clip_id": names,
        "shot_id": names,
        "is_image": np.zeros(clips, np.bool_),
        "width": np.full(clips, 1920, np.int32),
        "height": np.full(clips, 1080, np.int32),
        "clean_area_ratio": np.ones(clips),
        "duration_s": np.full(clips, 5.0),
        "sharpness": dice.random(clips),
        "content_hash": pa.nulls(clips, pa.string()),
        "embedding_engine": pa.array(["planted"]).take(pa.array(np.zeros(clips, np.int8))),
    }
    return pa.table(
        columns | _hashes(dice, clips, hashes, copies) | _vectors(dice, clips, vectors, copies)
    ), copies


def _hashes(dice: np.random.Generator, clips: int, frames: int, copies: Ints) -> dict[str, pa.Array]:
    plain, mirrored = (dice.integers(0, 2**64, (clips, frames), dtype=np.uint64) for _ in range(2))
    like = np.concatenate([copies[::3], copies[1::3]])
    for values in (plain, mirrored):
        values[like] = values[like - 1]
        for _ in range(FLIPS):
            values[like] ^= np.uint64(1) << dice.integers(0, 64, (len(like), frames)).astype(np.uint64)
    turned = copies[1::3]
    plain[turned], mirrored[turned] = mirrored[turned], plain[turned].copy()
    lists = (plain, mirrored, np.zeros((clips, frames), np.bool_))
    names = ("phash", "phash_mirrored", "phash_flat")
    return {name: _listed(pa.array(one.ravel()), frames) for name, one in zip(names, lists, strict=True)}


def _vectors(dice: np.random.Generator, clips: int, frames: int, copies: Ints) -> dict[str, pa.Array]:
    side = alignment.SIDE_PX
    values = np.empty((clips, frames, DIMENSIONS), np.float16)
    thumbs = np.empty((clips, frames, side, side), np.int8)
    themes = _unit(dice.standard_normal((max(1, clips // THEME_CLIPS), 1, DIMENSIONS), np.float32))
    for start in range(0, clips, ROWS_A_STEP):
        step = slice(start, min(start + ROWS_A_STEP, clips))
        own = _unit(dice.standard_normal((step.stop - start, frames, DIMENSIONS), np.float32))
        theme = themes[dice.integers(0, len(themes), len(own))]
        values[step] = _unit(np.sqrt(THEME_COSINE) * theme + np.sqrt(1 - THEME_COSINE) * own)
        noise = dice.standard_normal((len(own), frames, side + 4, side + 4), np.float32)
        thumbs[step] = _blurred(noise)
    for number in range(len(EDITS)):
        rows = copies[number :: len(EDITS)]
        cosine = CROP_COSINE if EDITS[number] == "cropped" else 0.95
        old = values[rows - 1].astype(np.float32)
        fresh = _unit(dice.standard_normal(old.shape, np.float32))
        values[rows] = _unit(cosine * old + np.sqrt(1 - cosine**2) * fresh)
        thumbs[rows] = _edited(thumbs[rows - 1], EDITS[number])
    return {
        "embedding": _listed(_listed(pa.array(values.ravel()), DIMENSIONS), frames),
        "embedding_flat": _listed(pa.array(np.zeros(clips * frames, np.bool_)), frames),
        "embedding_thumbs": _listed(
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(side * side), clips * frames, [None, pa.py_buffer(thumbs)]
            ),
            frames,
        ),
    }


def _listed(values: pa.Array, size: int) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(values) + 1, size, dtype=np.int32)), values)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    unit: npt.NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def _blurred(noise: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Noise with some extent, as pictures have it: means of 5 x 5."""
    sums = sum(noise[..., y : y - 4 or None, :] for y in range(5))
    sums = sum(sums[..., x : x - 4 or None] for x in range(5))
    return np.clip(np.round(sums * (40 / 5)), -127, 127).astype(np.int8)


def _edited(thumbs: npt.NDArray[np.int8], edit: str) -> npt.NDArray[np.int8]:
    if edit == "mirrored":
        return thumbs[..., ::-1]
    if edit == "coded again":
        return np.clip(thumbs + (np.arange(thumbs.shape[-1]) % 3 - 1) * 4, -127, 127).astype(np.int8)
    at = np.minimum(((1 - KEPT) / 2 + KEPT * (np.arange(24) + 0.5) / 24) * 24, 23).astype(np.int64)
    return thumbs[..., at[:, None], at]


def main(clips: int, hashes: int, vectors: int) -> None:
    rows, copies = table(clips, hashes, vectors)
    before_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    found = find_duplicates(rows)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    dropped = int(np.count_nonzero(found.column("duplicate_rank").to_numpy()))
    clusters = found.column("duplicate_cluster").combine_chunks().dictionary_encode().indices.to_numpy()
    right = clusters[copies] == clusters[copies - 1]
    print(
        f"{clips:,} clips, {hashes} hashes and {vectors} vectors each: {wall_s:.0f} s wall, {cpu_s:.0f} s CPU"
    )
    print(
        f"table {rows.nbytes >> 20} MiB, made at a peak of {before_mib} MiB; peak of the search {peak_mib} MiB"
    )
    for number, edit in enumerate(EDITS):
        part = right[number :: len(EDITS)]
        print(f"{edit:<12} {np.count_nonzero(part):,} of {len(part):,} found")
    print(f"wrong {dropped - np.count_nonzero(right):,} of {dropped:,} that were called copies")


if __name__ == "__main__":
    asked = [int(float(value)) for value in sys.argv[1:4]]
    main(*(asked + [1_000_000, 5, 3][len(asked) :]))
