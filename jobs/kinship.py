"""Which videos of a run belong together: those that copies tie, over all clips, in a pool or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from captioner.distill import families

NAMED = ("clip_id", "duplicate_of")
"""Columns that may name a clip that is held: itself, or the one (of an earlier run perhaps) that it is a copy of."""


@dataclass(frozen=True)
class Kinship:
    """The families of a run's videos, and what some clips that are held out take with them."""

    family: dict[str, str]
    """By video; one that is not there is a family of its own."""
    held: frozenset[str]
    """The families of the clips that are held, and of their copies."""
    unknown: int
    """Clips that are held and that the run does not know."""

    def of(self, video: str) -> str:
        """The family of a video."""
        return self.family.get(video, video)


def kinship(clips: Callable[[], Iterable[pa.Table]], held: Set[str]) -> Kinship:
    """The families of all videos of a run, and those of the clips that are `held`.

    `clips` gives batches of all clips with video_id and the columns of filters.dedup.DUPLICATES, and is asked twice:
    what is kept grows with the clips that have copies, not with all clips.
    """
    copied = _copied(clips())
    ids = pa.array(sorted(held), pa.string())
    ties: set[tuple[str, str]] = set()
    videos: set[str] = set()
    known: set[str] = set()
    for batch in clips():
        tied = batch.filter(pc.is_in(batch.column("duplicate_cluster"), value_set=copied))
        ties.update(zip(tied["video_id"].to_pylist(), tied["duplicate_cluster"].to_pylist(), strict=True))
        for name in NAMED:
            mine = batch.filter(pc.is_in(batch.column(name), value_set=ids))
            videos.update(mine["video_id"].to_pylist())
            known.update(mine[name].to_pylist())
    family = families(sorted(ties))
    return Kinship(
        family, frozenset(family.get(video, video) for video in videos), len(frozenset(held) - known)
    )


def _copied(clips: Iterable[pa.Table]) -> pa.Array:
    """The clusters that hold a copy: of this run, or of a clip of an earlier one."""
    found: set[str] = set()
    for batch in clips:
        copies = batch.filter(pc.greater(batch.column("duplicate_rank"), 0))
        found.update(copies["duplicate_cluster"].to_pylist())
    return pa.array(sorted(found), pa.string())
