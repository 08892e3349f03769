"""Ordered votes: how many frames of two clips are near in the same order, and whether at the same places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.duplicates.columns import Ints

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Votes:
    """What a kind of signal says of pairs of clips; every array has one value a pair."""

    passed: Mask
    """Enough frames are near in order."""
    aligned: Mask
    """And enough of them stand at the same place in both clips."""
    score: Floats
    """Near frames in order, as a share of the shorter clip's frames, at most 1."""

    def or_else(self, others: Votes) -> Votes:
        """Where these have not passed, the others."""
        return Votes(
            self.passed | others.passed,
            np.where(self.passed, self.aligned, others.aligned),
            np.where(self.passed, self.score, others.score),
        )


def empty(count: int) -> Votes:
    """Votes of pairs on which nothing is known."""
    none = np.zeros(count, np.bool_)
    return Votes(none, none, np.zeros(count))


def needed(one: Ints, two: Ints, least_ratio: float) -> Ints:
    """Votes that a pair of clips with so many frames needs.

    One near frame settles it between clips of one frame alone; others need two, or every clip that shares one
    picture with a short one would be its copy.
    """
    share: Ints = np.ceil(least_ratio * np.minimum(one, two) - 1e-9).astype(np.int64)
    return np.where(alone(one, two), 1, np.maximum(share, 2))


def alone(one: Ints, two: Ints) -> Mask:
    """Pairs of clips of one frame."""
    single: Mask = np.maximum(one, two) == 1
    return single


def counted(near: Mask, one: Ints, two: Ints, least: Ints) -> Votes:
    """Votes from which frames are near: (pairs, frames of the first, frames of the second)."""
    length = _common_run(near)
    places = np.einsum("pii->p", near.astype(np.int64))
    passed = length >= least
    score = np.minimum(1.0, length / np.maximum(np.minimum(one, two), 1))
    return Votes(passed, passed & (one == two) & (places >= least), score)


def _common_run(near: Mask) -> Ints:
    """(pairs,) length of the longest common subsequence."""
    pairs, ours, theirs = near.shape
    best = np.zeros((theirs + 1, pairs), np.int64)
    for i in range(ours):
        row = np.zeros_like(best)
        for j in range(theirs):
            row[j + 1] = np.where(near[:, i, j], best[j] + 1, np.maximum(best[j + 1], row[j]))
        best = row
    longest: Ints = best[theirs]
    return longest


def joined(parts: list[Votes]) -> Votes:
    """The votes of several runs of pairs, one after the other."""
    return Votes(
        np.concatenate([part.passed for part in parts]),
        np.concatenate([part.aligned for part in parts]),
        np.concatenate([part.score for part in parts]),
    )
