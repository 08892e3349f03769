from __future__ import annotations

import faiss
import numpy as np
import pytest

from filters.duplicates.alignment import SIDE_PX
from filters.duplicates.vectors import HITS, ONE_BLOCK, Embedded, Likeness, _blocks, pairs, vote

SETTINGS = Likeness(0.8, 0.8, 0.9, 0.6, 8)


def embedded(vectors, frames, thumbs=None):
    """Clips of so many frames each."""
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    clips = len(vectors) // frames
    blank = np.zeros((len(vectors), SIDE_PX**2), np.int8)
    starts = np.arange(clips + 1) * frames
    return Embedded(vectors, blank if thumbs is None else thumbs, starts, np.full(clips, frames))


def planted(clips, frames, dimensions=24):
    """Random vectors; every tenth clip is nearly the one before it."""
    dice = np.random.default_rng(0)
    vectors = dice.standard_normal((clips, frames, dimensions), np.float32)
    copies = np.arange(1, clips, 10)
    vectors[copies] = vectors[copies - 1] + 0.1 * dice.standard_normal((len(copies), frames, dimensions))
    return embedded(vectors.reshape(-1, dimensions), frames), copies


def test_copies_are_suggested_across_blocks_and_whatever_the_threads():
    known, copies = planted(ONE_BLOCK // 2 + 600, 2)
    clips = len(known.starts) - 1
    assert len(np.unique(_blocks(known.vectors)[:, 0])) > 5
    threads = faiss.omp_get_max_threads()
    found = []
    for number in (1, 2):
        faiss.omp_set_num_threads(number)
        found.append(pairs(known, np.ones(clips, np.bool_), SETTINGS))
    faiss.omp_set_num_threads(threads)
    assert np.array_equal(*found)
    wanted = (copies - 1) * clips + copies
    assert np.isin(wanted, found[0]).mean() > 0.98


def test_one_hit_is_not_enough_for_clips_of_several_frames():
    dice = np.random.default_rng(1)
    vectors = dice.standard_normal((4, 2, 16))
    vectors[1, 0] = vectors[0, 0]
    asking = np.ones(4, np.bool_)
    # Each of the two frames finds the other: two hits, and yet one frame in common: the vote refuses it.
    assert pairs(embedded(vectors.reshape(-1, 16), 2), asking, SETTINGS).tolist() == [1]
    asking[0] = False
    assert pairs(embedded(vectors.reshape(-1, 16), 2), asking, SETTINGS).tolist() == []
    assert HITS == 2


def test_only_clips_that_ask_look_for_others():
    known, copies = planted(40, 1)
    nobody = np.zeros(40, np.bool_)
    assert len(pairs(known, nobody, SETTINGS)) == 0
    one = nobody.copy()
    one[copies[2]] = True
    assert pairs(known, one, SETTINGS).tolist() == [(copies[2] - 1) * 40 + copies[2]]


@pytest.mark.parametrize(("alike", "passes"), [((0, 1, 2), True), ((0, 1), True), ((0,), False)])
def test_a_vote_needs_frames_whose_small_pictures_fit(studio, alike, passes):
    import cv2

    from filters.duplicates.alignment import thumb

    taken = [np.frombuffer(thumb(cv2, studio.texture(160, 90, seed)), np.int8) for seed in range(6)]
    thumbs = np.stack([*taken[:3], *(taken[i] if i in alike else taken[3 + i] for i in range(3))])
    vectors = np.random.default_rng(2).standard_normal((3, 32))
    others = vectors.copy()
    others[2] += 0.3 * np.random.default_rng(3).standard_normal(32)  # the two most similar frames must fit
    known = embedded(np.concatenate([vectors, others]), 3, thumbs)
    votes = vote(known, np.array([0]), np.array([1]), SETTINGS)
    assert votes.passed.tolist() == [passes]
    assert votes.aligned.tolist() == [passes]
    assert votes.score[0] == pytest.approx(len(alike) / 3 if passes else votes.score[0])


def test_no_vectors_suggest_nothing():
    nothing = Embedded(
        np.zeros((0, 1), np.float16),
        np.zeros((0, SIDE_PX**2), np.int8),
        np.zeros(4, np.int64),
        np.zeros(3, np.int64),
    )
    assert len(pairs(nothing, np.ones(3, np.bool_), SETTINGS)) == 0
    assert vote(nothing, np.array([0]), np.array([2]), SETTINGS).passed.tolist() == [False]
