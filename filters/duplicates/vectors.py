"""Embeddings of many clips: pairs that share a near frame, by a library for nearest neighbours, and votes on pairs.

Vectors are divided among the centres of a k-means (faiss, fixed seed), and those of a centre are compared
with each other exactly. A query looks into the blocks of its `PROBES` nearest centres. Memory holds the vectors in half
precision and one block. A pair is only suggested: a vote asks of every two frames that they are near and that their
small pictures lie in one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.duplicates import alignment, votes
from filters.duplicates.alignment import Look, Thumbs
from filters.duplicates.columns import Ints, flat, flat_bytes, flat_rows, lengths, padded
from filters.duplicates.votes import Mask, Votes

BLOCK = 2048
"""Vectors that a block holds on average: comparing them costs about as much as finding the block."""
ONE_BLOCK = 10 * BLOCK
"""Up to so many vectors are one block: every pair is compared."""
PROBES = 2
"""Blocks that a query looks into."""
HITS = 2
"""Frames by which a pair is found before it is voted on: as many as a vote needs at least."""
SAMPLE = 32
"""Vectors a centre on which the k-means is trained, in ITERATIONS rounds."""
ITERATIONS = 6
ROWS_A_STEP = 1 << 16
PAIRS_A_STEP = 1 << 12
SEED = 1
Vectors = npt.NDArray[np.float16]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Embedded:
    """The vectors and thumbs of all clips in one row, clip by clip, flat frames left out."""

    vectors: Vectors
    thumbs: Thumbs
    starts: Ints
    """(clips + 1,) where each clip's vectors start."""
    sampled: Ints
    """(clips,) frames of each clip, flat ones counted."""

    @classmethod
    def of(cls, table: pa.Table) -> Embedded:
        """Of the rows of a table. ValueError: the lists of a clip differ in length."""
        names = ("embedding", "embedding_flat", "embedding_thumbs")
        counts = [lengths(table.column(name)) for name in names]
        if any((count != counts[0]).any() for count in counts[1:]):
            raise ValueError(f"{', '.join(names)} of a clip differ in length")
        shown = ~flat(table.column("embedding_flat"), np.bool_)
        thumbs = flat_bytes(table.column("embedding_thumbs"), alignment.SIDE_PX**2)
        vectors = flat_rows(table.column("embedding"))
        if not shown.all():
            vectors, thumbs = vectors[shown], thumbs[shown]
        owners = np.repeat(np.arange(table.num_rows), counts[0])[shown]
        starts = np.searchsorted(owners, np.arange(table.num_rows + 1)).astype(np.int64)
        return cls(vectors, thumbs, starts, counts[0])


@dataclass(frozen=True)
class Likeness:
    """When two frames' vectors and thumbs are near."""

    min_similarity: float
    min_alignment: float
    min_alignment_alone: float
    min_vote_ratio: float
    neighbours: int


def pairs(embedded: Embedded, asking: Mask, settings: Likeness) -> Ints:
    """Pairs of clips with near vectors, as `lower row * clips + higher row`, rising; only clips of `asking` look.

    One hit, a frame of a clip that finds one of the other, suggests a pair of clips of one frame; others need two.
    """
    count = len(embedded.starts) - 1
    owners = np.repeat(np.arange(count), np.diff(embedded.starts))
    queries = np.flatnonzero(asking[owners])
    hits = [np.zeros(0, np.int64)]
    for members, askers in _by_block(_blocks(embedded.vectors), queries):
        one, two = _near(embedded.vectors, members, askers, settings)
        one, two = owners[one], owners[two]
        other = one != two
        hits.append(np.minimum(one, two)[other] * count + np.maximum(one, two)[other])
    found, times = np.unique(np.concatenate(hits), return_counts=True)
    alone = votes.alone(embedded.sampled[found // count], embedded.sampled[found % count])
    return found[(times >= HITS) | alone]


def _blocks(vectors: Vectors) -> Ints:
    """(n, PROBES) the nearest centres of each vector, the nearest first."""
    if len(vectors) <= ONE_BLOCK:
        return np.zeros((len(vectors), 1), np.int64)
    import faiss

    centres = len(vectors) // BLOCK
    sample = np.random.default_rng(SEED).choice(len(vectors), min(len(vectors), centres * SAMPLE), False)
    kmeans = faiss.Kmeans(
        vectors.shape[1], centres, niter=ITERATIONS, seed=SEED, spherical=True, min_points_per_centroid=1
    )
    kmeans.train(vectors[np.sort(sample)].astype(np.float32))
    found = np.empty((len(vectors), PROBES), np.int64)
    for start in range(0, len(vectors), ROWS_A_STEP):
        step = slice(start, start + ROWS_A_STEP)
        found[step] = kmeans.index.search(vectors[step].astype(np.float32), PROBES)[1]
    return found


def _by_block(blocks: Ints, queries: Ints) -> Any:
    """For each block: the vectors of which it is the nearest, and the queries that look into it."""
    count = int(blocks.max(initial=-1)) + 1
    members = np.argsort(blocks[:, 0], kind="stable")
    member_starts = np.searchsorted(blocks[members, 0], np.arange(count + 1))
    looks = blocks[queries].ravel()
    order = np.argsort(looks, kind="stable")
    askers = np.repeat(queries, blocks.shape[1])[order]
    asker_starts = np.searchsorted(looks[order], np.arange(count + 1))
    for block in range(count):
        theirs = members[member_starts[block] : member_starts[block + 1]]
        ours = askers[asker_starts[block] : asker_starts[block + 1]]
        if len(theirs) and len(ours):
            yield theirs, ours


def _near(vectors: Vectors, members: Ints, askers: Ints, settings: Likeness) -> tuple[Ints, Ints]:
    """Askers and the nearest members whose similarity is enough; at most `neighbours` each, itself counted."""
    import faiss

    known = np.ascontiguousarray(vectors[members], np.float32)
    ones, twos = [], []
    for start in range(0, len(askers), ROWS_A_STEP):
        asked = askers[start : start + ROWS_A_STEP]
        similarity, which = faiss.knn(
            np.ascontiguousarray(vectors[asked], np.float32),
            known,
            min(settings.neighbours + 1, len(members)),
            metric=faiss.METRIC_INNER_PRODUCT,
        )
        near = similarity >= settings.min_similarity
        ones.append(np.repeat(asked, near.sum(axis=1)))
        twos.append(members[which[near]])
    return np.concatenate(ones), np.concatenate(twos)


def vote(embedded: Embedded, one: Ints, two: Ints, settings: Likeness) -> Votes:
    """Votes on pairs of clips: frames whose vectors are near and whose thumbs lie in one another."""
    found = [votes.empty(0)]
    for start in range(0, len(one), PAIRS_A_STEP):
        part = slice(start, start + PAIRS_A_STEP)
        found.append(_voted(embedded, one[part], two[part], settings))
    return votes.joined(found)


def _voted(embedded: Embedded, one: Ints, two: Ints, settings: Likeness) -> Votes:
    ours, theirs = embedded.sampled[one], embedded.sampled[two]
    least = votes.needed(ours, theirs, settings.min_vote_ratio)
    similar = _similarity(embedded, one, two)
    near = similar >= settings.min_similarity
    # The dear look at the thumbs is spared where the vectors alone are too few.
    hopeful = np.flatnonzero(votes.counted(near, ours, theirs, least).passed)
    # And where even the two most similar frames do not fit, to a quick look first.
    bar = np.where(votes.alone(ours, theirs), settings.min_alignment_alone, settings.min_alignment)
    cells = similar[hopeful].reshape(len(hopeful), near.shape[1] * near.shape[2]).argmax(axis=1)
    i, j = np.unravel_index(cells, near.shape[1:])
    for look, margin in ((alignment.QUICK, alignment.QUICK_MARGIN), (alignment.CLOSE, 0.0)):
        fits = _fits(embedded, one[hopeful], two[hopeful], i, j, look) >= bar[hopeful] - margin
        hopeful, i, j = hopeful[fits], i[fits], j[fits]
    confirmed = np.zeros_like(near)
    pair, i, j = np.nonzero(near[hopeful])
    pair = hopeful[pair]
    confirmed[pair, i, j] = _fits(embedded, one[pair], two[pair], i, j, alignment.CLOSE) >= bar[pair]
    return votes.counted(confirmed, ours, theirs, least)


def _similarity(embedded: Embedded, one: Ints, two: Ints) -> Floats:
    """(pairs, most, most) cosines of the frames; -1 where there is none."""
    most = int(np.diff(embedded.starts).max(initial=1))
    if not len(embedded.vectors):
        return np.full((len(one), most, most), -1, np.float32)
    ours, our_real = padded(embedded.vectors, embedded.starts, one, most)
    theirs, their_real = padded(embedded.vectors, embedded.starts, two, most)
    cosines: Floats = ours.astype(np.float32) @ theirs.astype(np.float32).transpose(0, 2, 1)
    return np.where(our_real[:, :, None] & their_real[:, None, :], cosines, np.float32(-1))


def _fits(embedded: Embedded, one: Ints, two: Ints, i: Ints, j: Ints, look: Look) -> Floats:
    """How well frame i of each first clip and frame j of each second lie in one another."""
    at = embedded.starts[one] + i, embedded.starts[two] + j
    return alignment.alignment(embedded.thumbs[at[0]], embedded.thumbs[at[1]], look)
