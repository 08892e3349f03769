from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from balance.clusters import clip_vectors, train


def themes(count, per):
    """Vectors near `count` orthogonal directions, and which each is near."""
    dice = np.random.default_rng(0)
    theme = np.repeat(np.arange(count), per)
    vectors = np.eye(16, dtype=np.float32)[theme] + 0.05 * dice.standard_normal((len(theme), 16), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), theme


def test_clips_of_one_theme_are_one_cluster_in_any_order():
    vectors, theme = themes(4, 50)
    hashes = np.random.default_rng(1).permutation(200).astype(np.uint64)
    clusters = train([(vectors, hashes)], 4)
    names = np.array(clusters.of(vectors).to_pylist())
    assert len({(one, name) for one, name in zip(theme.tolist(), names.tolist(), strict=True)}) == 4
    assert set(names) == {f"cluster {i}" for i in range(4)}
    order = np.random.default_rng(2).permutation(200)
    mixed = train(((vectors[part], hashes[part]) for part in np.array_split(order, 7)), 4)
    assert mixed.centres.tolist() == clusters.centres.tolist()


def test_no_more_than_a_sample_is_held():
    vectors, _ = themes(4, 2_000)
    hashes = np.random.default_rng(1).permutation(8_000).astype(np.uint64)
    chosen = np.sort(hashes)[: 2 * 256]
    sample = np.isin(hashes, chosen)
    few = train([(vectors[sample], hashes[sample])], 2)
    assert train(
        [(vectors[:4_000], hashes[:4_000]), (vectors[4_000:], hashes[4_000:])], 2
    ).centres.tolist() == (few.centres.tolist())


def test_fewer_clips_than_clusters_and_clips_without_a_vector():
    vectors, _ = themes(2, 1)
    clusters = train([(vectors, np.array([5, 3], np.uint64))], 8)
    assert clusters.of(np.vstack([vectors, np.zeros((1, 16), np.float32)])).to_pylist() == [
        "cluster 1",
        "cluster 0",
        None,
    ]
    nothing = train([], 8)
    assert nothing.of(np.zeros((2, 1), np.float32)).to_pylist() == [None, None]


def test_a_clips_vector_is_the_mean_of_its_frames_that_show_something():
    half = pa.list_(pa.list_(pa.float16()))
    embedding = pa.chunked_array(
        [pa.array([[[1, 0], [0, 1]], [[0.6, 0.8], [1, 0]], [], None, [[1, 0]]], half)]
    )
    flat = pa.chunked_array([[[False, False], [False, True], [], None, [True]]])
    found = clip_vectors(embedding, flat)
    assert found == pytest.approx(
        np.array([[0.5**0.5, 0.5**0.5], [0.6, 0.8], [0, 0], [0, 0], [0, 0]]), abs=1e-3
    )
    assert found.dtype == np.float32


def test_embeddings_of_different_lengths_are_refused():
    embedding = pa.chunked_array([[[[1.0, 0.0]], [[1.0]]]])
    with pytest.raises(ValueError, match="embeddings of 1, 2 values cannot be compared"):
        clip_vectors(embedding, pa.chunked_array([[[False], [False]]]))
