"""Semantic clusters: clips whose embeddings are near each other, by a k-means that sees a sample of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Vectors = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]

SAMPLE = 256
"""Clips a cluster on which the k-means is trained: what faiss takes at most."""
ITERATIONS = 20
SEED = 1


@dataclass(frozen=True)
class Clusters:
    """The clusters' centres."""

    centres: Vectors
    """(clusters, dimensions) of length 1."""

    def of(self, vectors: Vectors) -> pa.Array:
        """(rows,) the name of the cluster of each vector, null for one of zeros: a clip without an embedding."""
        nearest = (
            (vectors @ self.centres.T).argmax(axis=1) if len(self.centres) else np.zeros(len(vectors), int)
        )
        return pa.array(self.names).take(pa.array(nearest, mask=~vectors.any(axis=1)))

    @property
    def names(self) -> list[str]:
        width = len(str(max(len(self.centres) - 1, 0)))
        return [f"cluster {number:0{width}d}" for number in range(max(len(self.centres), 1))]


def train(batches: Iterable[tuple[Vectors, Hashes]], clusters: int) -> Clusters:
    """The clusters of the vectors that are not zeros, in any order of rows the same: those with the lowest hashes are
    the sample. Fewer vectors than clusters: each is one. In one thread."""
    import faiss
    from threadpoolctl import threadpool_limits

    vectors, hashes = _sample(batches, clusters * SAMPLE)
    vectors = vectors[np.argsort(hashes, kind="stable")]
    if len(vectors) <= clusters:
        return Clusters(vectors)
    with threadpool_limits(limits=1):
        kmeans = faiss.Kmeans(
            vectors.shape[1], clusters, niter=ITERATIONS, seed=SEED, spherical=True, min_points_per_centroid=1
        )
        kmeans.train(vectors)
    return Clusters(np.asarray(kmeans.centroids))


def _sample(batches: Iterable[tuple[Vectors, Hashes]], most: int) -> tuple[Vectors, Hashes]:
    """The vectors that are not zeros with the lowest hashes, and these; twice as many are held at most."""
    held: list[tuple[Vectors, Hashes]] = []
    for vectors, hashes in batches:
        there = vectors.any(axis=1)
        held.append((vectors[there], hashes[there]))
        if sum(len(one) for one, _ in held) > 2 * most:
            held = [_lowest(held, most)]
    return _lowest(held, most) if held else (np.zeros((0, 0), np.float32), np.zeros(0, np.uint64))


def _lowest(held: list[tuple[Vectors, Hashes]], most: int) -> tuple[Vectors, Hashes]:
    vectors, hashes = (np.concatenate(parts) for parts in zip(*held, strict=True))
    order = np.argsort(hashes, kind="stable")[:most]
    return vectors[order], hashes[order]


def clip_vectors(embedding: pa.ChunkedArray, flat: pa.ChunkedArray) -> Vectors:
    """(rows, dimensions) the mean of each clip's frames of length 1, of those that are not flat; zeros where there is
    none. ValueError: vectors differ in length."""
    frames = embedding.combine_chunks()
    inner = frames.flatten()
    sizes = np.unique(pc.list_value_length(inner).to_numpy())
    if len(sizes) > 1:
        raise ValueError(f"embeddings of {', '.join(map(str, sizes.tolist()))} values cannot be compared")
    if not len(sizes):
        return np.zeros((len(frames), 1), np.float32)
    values = inner.flatten().cast(pa.float32()).to_numpy().reshape(-1, int(sizes[0]))
    owners = pc.list_parent_indices(frames).to_numpy()
    shown = ~flat.combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.bool_)
    owners, values = owners[shown], values[shown]
    sums = np.zeros((len(frames), values.shape[1]), np.float32)
    if len(owners):
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        sums[owners[starts]] = np.add.reduceat(values, starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    units: Vectors = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return units
