"""Which pairs of clips are copies: candidates from every signal, each judged by votes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filters.duplicates import clusters, hashes, vectors
from filters.duplicates.columns import Ints
from filters.duplicates.hashes import Hashed, Nearness
from filters.duplicates.vectors import Embedded, Likeness
from filters.duplicates.votes import Floats, Mask

SAME_LENGTH_S = 1.0
"""Clips whose lengths differ by more are no copies at the same time: the view has a frame a second."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of clips by row."""

    one: Ints
    two: Ints


@dataclass(frozen=True)
class Judged:
    """What is known of pairs; every array has one value a pair."""

    copy: Mask
    exact: Mask
    same_time: Mask
    """Both show the same at the same time; else one is a part of the other, or shifted."""
    score: Floats
    """Share of the shorter clip's frames that match in order."""


@dataclass(frozen=True)
class Copies:
    """All clips' signals, one value a clip."""

    hashed: Hashed
    embedded: Embedded
    content: Ints
    """Equal for clips of equal content; -1 where that says nothing."""
    ids: Ints
    shots: Ints
    images: Mask
    durations_s: Floats
    run: Ints
    """0 for the clips that are asked about, else the number of an earlier run."""
    same_shot: bool
    nearness: Nearness
    likeness: Likeness

    @property
    def count(self) -> int:
        return len(self.ids)

    def linked(self, place: Ints) -> Pairs:
        """Pairs of copies, those of each clip with the best one (by `place`) that it is connected with among them."""
        found = self._copies(np.unique(np.concatenate([self._exact(), self._similar()])))
        # A candidate search misses some pairs: what hangs together is compared with the best of it.
        label = clusters.components(self.count, found // self.count, found % self.count)
        best = clusters.best_of(label, place)
        rows = np.flatnonzero(best != np.arange(self.count))
        with_best = np.minimum(rows, best[rows]) * self.count + np.maximum(rows, best[rows])
        found = np.union1d(found, self._copies(np.setdiff1d(with_best, found)))
        return Pairs(found // self.count, found % self.count)

    def judged(self, one: Ints, two: Ints) -> Judged:
        """What the signals say of pairs, from the cheapest to the dearest."""
        exact = (self.ids[one] == self.ids[two]) | (
            (self.content[one] == self.content[two]) & (self.content[one] >= 0)
        )
        votes = hashes.vote(self.hashed, one, two, self.nearness)
        open_ = np.flatnonzero(~(exact | votes.passed))
        seen = vectors.vote(self.embedded, one[open_], two[open_], self.likeness)
        passed, aligned, score = votes.passed.copy(), votes.aligned.copy(), votes.score.copy()
        passed[open_], aligned[open_], score[open_] = seen.passed, seen.aligned, seen.score
        alike = np.abs(self.durations_s[one] - self.durations_s[two]) <= SAME_LENGTH_S
        return Judged(exact | passed, exact, exact | (aligned & alike), np.where(exact, 1.0, score))

    def _similar(self) -> Ints:
        """Candidates by hash and by embedding."""
        asking = self.run == 0
        return np.union1d(
            hashes.pairs(self.hashed, self.nearness), vectors.pairs(self.embedded, asking, self.likeness)
        )

    def _exact(self) -> Ints:
        """Each clip of equal content, or of the same id, with the first one."""
        found = []
        for keys in (self.content, self.ids):
            known = np.flatnonzero(keys >= 0)
            order = known[np.argsort(keys[known], kind="stable")]
            firsts = np.flatnonzero(np.diff(keys[order], prepend=-1))
            first = np.repeat(order[firsts], np.diff(firsts, append=len(order)))
            found.append((first * self.count + order)[first != order])
        return np.concatenate(found)

    def _copies(self, candidates: Ints) -> Ints:
        """Those of the pairs that may be copies and are."""
        one, two = candidates // self.count, candidates % self.count
        may = (self.images[one] == self.images[two]) & ((self.run[one] == 0) | (self.run[two] == 0))
        if not self.same_shot:
            may &= (self.shots[one] != self.shots[two]) | (self.run[one] != self.run[two])
        candidates, one, two = candidates[may], one[may], two[may]
        return candidates[self.judged(one, two).copy]
