"""Near-duplicate clips, found over the whole table: a global step, not a stage.

1. Candidates: two clips of which one frame's 64-bit hash is near. The hash is cut in 6 blocks; for each of the 15
   pairs of blocks the hashes are sorted by those two blocks first, and each is compared with the next few that agree
   in both. Every pair within 4 bits agrees in two blocks somewhere (pigeonhole); wider ones mostly do, and a clip
   has several frames to be found by (multi-index hashing, Norouzi et al. 2012, with sorted lists for tables).
2. Vote: the longest run of frames that are near in the same order in both clips (a longest common subsequence), so
   that a shifted start or another rate of sampling still matches; against the mirrored frames as well.
3. Clusters: connected clips. The best by (pixels, sharpness, length, id) stands for the others.

Flat frames (black, white, a plain card) are never near anything, so they cannot glue clips together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

BLOCKS = ((0, 11), (11, 22), (22, 32), (32, 43), (43, 54), (54, 64))
"""First and past-last bit of each block of a hash."""
ENTRIES_A_PASS = 1 << 22
"""Hashes sorted at once: bounds memory to about 0.5 GiB whatever the table's size."""
CELLS_A_STEP = 1 << 23
"""Pairs of frames voted on at once."""

COLUMNS = (
    "clip_id",
    "shot_id",
    "is_image",
    "width",
    "height",
    "duration_s",
    "sharpness",
    "phash",
    "phash_mirrored",
    "phash_flat",
)
"""What the step reads."""
DUPLICATES = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("duplicate_cluster", pa.string()),  # smallest clip_id of the cluster
        pa.field("duplicate_rank", pa.int32()),  # 0 is the representative
        pa.field("duplicate_of", pa.string()),  # the representative; null for itself
    ]
)


@dataclass(frozen=True)
class Dedup:
    """When two clips are duplicates."""

    max_bits: int = 8
    """Bits of 64 in which the hashes of two near frames may differ: unrelated pictures differ in about 32. Ours."""
    max_bits_alone: int = 4
    """The same between clips of one frame, where no second frame confirms it. Ours."""
    min_vote_ratio: float = 0.6
    """Share of the shorter clip's frames that must be near, in order. Ours."""
    window: int = 16
    """Neighbours that each hash is compared with in a sorted list."""
    same_shot: bool = False
    """Whether clips of one shot may be duplicates: pieces of one take look alike without being copies."""

    def __post_init__(self) -> None:
        if not (0 <= self.max_bits_alone <= 20 and 0 <= self.max_bits <= 20):
            raise ValueError(
                "max_bits and max_bits_alone are bits between 0 and 20: unrelated pictures differ in about 32"
            )
        if not 0 < self.min_vote_ratio <= 1:
            raise ValueError(f"min_vote_ratio is {self.min_vote_ratio}, not in (0, 1]")
        if self.window < 1:
            raise ValueError(f"window is {self.window}, less than 1")


@dataclass(frozen=True)
class _Frames:
    """The hashes of all clips in one row, clip by clip, flat frames left out."""

    plain: Hashes
    mirrored: Hashes
    starts: Ints
    """(clips + 1,) where each clip's hashes start."""
    sampled: Ints
    """(clips,) frames of each clip, flat ones counted."""


def find_duplicates(table: pa.Table, settings: Dedup = Dedup()) -> pa.Table:
    """DUPLICATES of the rows of a table that has COLUMNS, in their order; null where a clip has no hashes.

    ValueError: the plain, mirrored and flat lists of a clip differ in length.
    """
    table = table.select(COLUMNS).combine_chunks()
    frames = _frames(table)
    one, two = _voted(frames, *_candidates(frames, settings), settings)
    shots = _codes(table.column("shot_id"))
    images = table.column("is_image").fill_null(False).to_numpy()
    linked = images[one] == images[two]
    if not settings.same_shot:
        linked &= shots[one] != shots[two]
    return _ranked(table, _components(table.num_rows, one[linked], two[linked]))


def _frames(table: pa.Table) -> _Frames:
    columns = [table.column(name) for name in ("phash", "phash_mirrored", "phash_flat")]
    lengths = [
        pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64) for column in columns
    ]
    if any((length != lengths[0]).any() for length in lengths[1:]):
        raise ValueError("phash, phash_mirrored and phash_flat of a clip differ in length")
    plain, mirrored, flat = (pc.list_flatten(column).to_numpy() for column in columns)
    owners = np.repeat(np.arange(table.num_rows), lengths[0])[~flat]
    starts = np.searchsorted(owners, np.arange(table.num_rows + 1)).astype(np.int64)
    return _Frames(plain[~flat], mirrored[~flat], starts, lengths[0])


def _candidates(frames: _Frames, settings: Dedup) -> tuple[Ints, Ints]:
    """Pairs of clips (the lower row first, each pair once) with at least one near frame."""
    count = len(frames.starts) - 1
    owners = np.repeat(np.arange(count, dtype=np.int32), np.diff(frames.starts))
    sides = [_changes(hashes, owners) for hashes in (frames.plain, frames.mirrored)]
    hashes = np.concatenate([frames.plain[sides[0]], frames.mirrored[sides[1]]])
    owners = np.concatenate([owners[sides[0]], owners[sides[1]]])
    first_mirrored = int(np.count_nonzero(sides[0]))
    found = np.zeros(0, dtype=np.int64)
    for blocks in combinations(range(len(BLOCKS)), 2):
        pairs = [
            np.minimum(one, two) * count + np.maximum(one, two)
            for one, two in _near_neighbours(hashes, owners, first_mirrored, blocks, settings)
        ]
        found = np.unique(np.concatenate([found, *pairs]))
    return found // max(count, 1), found % max(count, 1)


def _changes(hashes: Hashes, owners: npt.NDArray[np.int32]) -> Mask:
    """Where a hash differs from the one before it in its clip: a still clip would fill the windows."""
    changes = np.ones(len(hashes), dtype=np.bool_)
    changes[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return changes


def _near_neighbours(
    hashes: Hashes,
    owners: npt.NDArray[np.int32],
    first_mirrored: int,
    blocks: tuple[int, ...],
    settings: Dedup,
) -> Iterator[tuple[Ints, Ints]]:
    """Owners of hashes that agree in these blocks, stand close in sorted order and are near."""
    turned, key_bits = _arranged(hashes, blocks)
    passes = -(-len(hashes) // ENTRIES_A_PASS)
    for number in range(passes):
        # A pass takes whole cells: all hashes whose key falls in its share of the keys.
        key = turned >> np.uint64(64 - key_bits)
        picked = np.flatnonzero((key * np.uint64(passes)) >> np.uint64(key_bits) == number)
        order = picked[np.argsort(turned[picked], kind="stable")]
        value, key, owner, mirror = turned[order], key[order], owners[order], order >= first_mirrored
        at = np.arange(len(order))
        for step in range(1, settings.window + 1):
            at = at[: np.searchsorted(at, len(order) - step)]
            at = at[key[at] == key[at + step]]
            if not at.size:
                break
            near = np.bitwise_count(value[at] ^ value[at + step]) <= settings.max_bits
            near &= (owner[at] != owner[at + step]) & ~(mirror[at] & mirror[at + step])
            yield owner[at[near]].astype(np.int64), owner[at[near] + step].astype(np.int64)


def _arranged(hashes: Hashes, blocks: tuple[int, ...]) -> tuple[Hashes, int]:
    """The hashes with these blocks moved to the top bits, and how many bits they fill."""
    order = (*blocks, *(number for number in range(len(BLOCKS)) if number not in blocks))
    turned = np.zeros_like(hashes)
    for first, past in (BLOCKS[number] for number in order):
        part = (hashes >> np.uint64(first)) & np.uint64((1 << (past - first)) - 1)
        turned = (turned << np.uint64(past - first)) | part
    return turned, sum(BLOCKS[number][1] - BLOCKS[number][0] for number in blocks)


def _voted(frames: _Frames, one: Ints, two: Ints, settings: Dedup) -> tuple[Ints, Ints]:
    """The candidates of which enough frames are near in order.

    One near frame settles it between clips of one frame alone; others need two, or every clip that shares one
    picture with a short one would be its copy.
    """
    shorter = np.minimum(frames.sampled[one], frames.sampled[two])
    needed = np.ceil(settings.min_vote_ratio * shorter - 1e-9).astype(np.int64)
    single = np.maximum(frames.sampled[one], frames.sampled[two]) == 1
    needed = np.where(single, 1, np.maximum(needed, 2))
    bits = np.where(single, settings.max_bits_alone, settings.max_bits)
    keep = np.zeros(len(one), dtype=np.bool_)
    most = int(np.diff(frames.starts).max(initial=1))
    rows = max(1, CELLS_A_STEP // (most * most))
    for start in range(0, len(one), rows):
        part = slice(start, start + rows)
        votes = np.maximum(
            _common_run(frames, frames.plain, one[part], two[part], most, bits[part]),
            _common_run(frames, frames.mirrored, one[part], two[part], most, bits[part]),
        )
        keep[part] = votes >= needed[part]
    return one[keep], two[keep]


def _common_run(frames: _Frames, other: Hashes, one: Ints, two: Ints, most: int, max_bits: Ints) -> Ints:
    """(pairs,) length of the longest common subsequence of near frames; `other` are the second clips' hashes."""
    ours, our_real = _padded(frames.plain, frames.starts, one, most)
    theirs, their_real = _padded(other, frames.starts, two, most)
    best = np.zeros((most + 1, len(one)), dtype=np.int64)
    for i in range(most):
        row = np.zeros_like(best)
        for j in range(most):
            near = np.bitwise_count(ours[:, i] ^ theirs[:, j]) <= max_bits
            near &= our_real[:, i] & their_real[:, j]
            row[j + 1] = np.where(near, best[j] + 1, np.maximum(best[j + 1], row[j]))
        best = row
    longest: Ints = best[most]
    return longest


def _padded(hashes: Hashes, starts: Ints, clips: Ints, most: int) -> tuple[Hashes, Mask]:
    """(clips, most) hashes and which of them are real."""
    at = starts[clips][:, None] + np.arange(most)
    real = at < starts[clips + 1][:, None]
    return hashes[np.where(real, at, 0)], real


def _components(count: int, one: Ints, two: Ints) -> Ints:
    """(count,) the lowest row that each row is connected with."""
    label = np.arange(count)
    while True:
        low = np.minimum(label[one], label[two])
        before = label.copy()
        # Hooking the labels, not only the rows, halves long chains at each round.
        for rows in (label[one], label[two]):
            np.minimum.at(label, rows, low)
        label = label[label]
        if np.array_equal(label, before):
            return label


def _ranked(table: pa.Table, label: Ints) -> pa.Table:
    """DUPLICATES by cluster labels."""
    ids = table.column("clip_id").combine_chunks()
    id_rank = pc.rank(ids).to_numpy().astype(np.int64)
    pixels = pc.multiply(table.column("width").cast(pa.int64()), table.column("height").cast(pa.int64()))
    quality = [
        _descending(column) for column in (table.column("duration_s"), table.column("sharpness"), pixels)
    ]
    order = np.lexsort((id_rank, *quality, label))
    firsts = np.flatnonzero(np.diff(label[order], prepend=-1))
    sizes = np.diff(firsts, append=len(order))
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order)) - np.repeat(firsts, sizes)
    best = np.empty(len(order), dtype=np.int64)
    best[order] = np.repeat(order[firsts], sizes)
    by_id = np.lexsort((id_rank, label))
    smallest = np.empty(len(order), dtype=np.int64)
    smallest[by_id] = np.repeat(by_id[firsts], sizes)
    unmeasured = table.column("phash").is_null().to_numpy()
    return pa.table(
        [
            ids.cast(pa.string()),
            ids.take(pa.array(smallest, mask=unmeasured)).cast(pa.string()),
            pa.array(rank, mask=unmeasured),
            ids.take(pa.array(best, mask=unmeasured | (rank == 0))).cast(pa.string()),
        ],
        schema=DUPLICATES,
    )


def _descending(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Sort keys that put high values first and nulls last."""
    values: npt.NDArray[np.float64] = column.cast(pa.float64()).fill_null(-np.inf).to_numpy()
    return -values


def _codes(column: pa.ChunkedArray) -> Ints:
    """(rows,) equal numbers for equal texts."""
    codes: Ints = (
        column.combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)
    )
    return codes
