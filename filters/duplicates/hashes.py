"""Perceptual hashes of many clips: pairs that share a near frame, and votes on pairs.

The hash is cut in 6 blocks; for each of the 15 pairs of blocks the hashes are sorted by those two blocks first, and
each is compared with the next few that agree in both. Every pair within 4 bits agrees in two blocks somewhere
(pigeonhole); wider ones mostly do, and a clip has several frames to be found by (multi-index hashing, Norouzi et al.
2012, with sorted lists for tables).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.duplicates import votes
from filters.duplicates.columns import Ints, flat, lengths, padded
from filters.duplicates.votes import Mask, Votes

Hashes = npt.NDArray[np.uint64]

BLOCKS = ((0, 11), (11, 22), (22, 32), (32, 43), (43, 54), (54, 64))
"""First and past-last bit of each block of a hash."""
ENTRIES_A_PASS = 1 << 22
"""Hashes sorted at once: bounds memory to about 0.5 GiB whatever the table's size."""
CELLS_A_STEP = 1 << 23
"""Pairs of frames voted on at once."""


@dataclass(frozen=True)
class Hashed:
    """The hashes of all clips in one row, clip by clip, flat frames left out."""

    plain: Hashes
    mirrored: Hashes
    starts: Ints
    """(clips + 1,) where each clip's hashes start."""
    sampled: Ints
    """(clips,) frames of each clip, flat ones counted."""

    @classmethod
    def of(cls, table: pa.Table) -> Hashed:
        """Of the rows of a table. ValueError: the lists of a clip differ in length."""
        columns = [table.column(name) for name in ("phash", "phash_mirrored", "phash_flat")]
        counts = [lengths(column) for column in columns]
        if any((count != counts[0]).any() for count in counts[1:]):
            raise ValueError("phash, phash_mirrored and phash_flat of a clip differ in length")
        plain, mirrored = (flat(column, np.uint64) for column in columns[:2])
        shown = ~flat(columns[2], np.bool_)
        owners = np.repeat(np.arange(table.num_rows), counts[0])[shown]
        starts = np.searchsorted(owners, np.arange(table.num_rows + 1)).astype(np.int64)
        return cls(plain[shown], mirrored[shown], starts, counts[0])


@dataclass(frozen=True)
class Nearness:
    """When two frames' hashes are near."""

    max_bits: int
    max_bits_alone: int
    min_vote_ratio: float
    window: int


def pairs(hashed: Hashed, settings: Nearness) -> Ints:
    """Pairs of clips with a near frame, as `lower row * clips + higher row`, rising."""
    count = len(hashed.starts) - 1
    owners = np.repeat(np.arange(count, dtype=np.int32), np.diff(hashed.starts))
    sides = [_changes(hashes, owners) for hashes in (hashed.plain, hashed.mirrored)]
    hashes = np.concatenate([hashed.plain[sides[0]], hashed.mirrored[sides[1]]])
    owners = np.concatenate([owners[sides[0]], owners[sides[1]]])
    first_mirrored = int(np.count_nonzero(sides[0]))
    found = np.zeros(0, dtype=np.int64)
    for blocks in combinations(range(len(BLOCKS)), 2):
        fresh = [
            np.minimum(one, two) * count + np.maximum(one, two)
            for one, two in _near_neighbours(hashes, owners, first_mirrored, blocks, settings)
        ]
        found = np.unique(np.concatenate([found, *fresh]))
    return found


def vote(hashed: Hashed, one: Ints, two: Ints, settings: Nearness) -> Votes:
    """Votes on pairs of clips: frames whose hashes are near, the second clip as it is or mirrored."""
    ours, theirs = hashed.sampled[one], hashed.sampled[two]
    least = votes.needed(ours, theirs, settings.min_vote_ratio)
    bits = np.where(votes.alone(ours, theirs), settings.max_bits_alone, settings.max_bits)
    most = int(np.diff(hashed.starts).max(initial=1))
    found = [votes.empty(0)]
    step = max(1, CELLS_A_STEP // (most * most))
    for start in range(0, len(one), step):
        part = slice(start, start + step)
        plain, mirrored = (
            votes.counted(
                _near(hashed, other, one[part], two[part], most, bits[part]),
                ours[part],
                theirs[part],
                least[part],
            )
            for other in (hashed.plain, hashed.mirrored)
        )
        found.append(plain.or_else(mirrored))
    return votes.joined(found)


def _near(hashed: Hashed, other: Hashes, one: Ints, two: Ints, most: int, bits: Ints) -> Mask:
    """(pairs, most, most) frames that are near; `other` are the second clips' hashes."""
    ours, our_real = padded(hashed.plain, hashed.starts, one, most)
    theirs, their_real = padded(other, hashed.starts, two, most)
    near = np.bitwise_count(ours[:, :, None] ^ theirs[:, None, :]) <= bits[:, None, None]
    real: Mask = near & our_real[:, :, None] & their_real[:, None, :]
    return real


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
    settings: Nearness,
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
            close = at[near]
            yield owner[close].astype(np.int64), owner[close + step].astype(np.int64)


def _arranged(hashes: Hashes, blocks: tuple[int, ...]) -> tuple[Hashes, int]:
    """The hashes with these blocks moved to the top bits, and how many bits they fill."""
    order = (*blocks, *(number for number in range(len(BLOCKS)) if number not in blocks))
    turned = np.zeros_like(hashes)
    for first, past in (BLOCKS[number] for number in order):
        part = (hashes >> np.uint64(first)) & np.uint64((1 << (past - first)) - 1)
        turned = (turned << np.uint64(past - first)) | part
    return turned, sum(BLOCKS[number][1] - BLOCKS[number][0] for number in blocks)
