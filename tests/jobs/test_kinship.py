"""Families of videos come of all clips of a run, and what is held out takes its family along."""

from __future__ import annotations

import pyarrow as pa

from captioner.distill import Example, split
from jobs.kinship import kinship
from pipeline.clip import CLIPS

ROWS = (  # clip, video, cluster, rank, copy of
    ("a1", "v1", "a1", 0, None),
    ("a2", "v1", "a2", 0, None),
    ("b1", "v2", "a1", 1, "a1"),  # the copy that no pool keeps: it alone ties v2 to v1
    ("b2", "v2", "b2", 0, None),
    ("c1", "v3", None, None, None),
    ("d1", "v4", "d1", 0, None),
    ("e1", "v5", "o9", 1, "o9"),  # a copy of a clip of an earlier run
)
NAMES = ("clip_id", "video_id", "duplicate_cluster", "duplicate_rank", "duplicate_of")


def batches() -> list[pa.Table]:
    types = [pa.string(), CLIPS.field("video_id").type, pa.string(), pa.int32(), pa.string()]
    schema = pa.schema([pa.field(*one) for one in zip(NAMES, types, strict=True)])
    rows = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    return [pa.Table.from_pylist(rows[n : n + 2], schema=schema) for n in range(0, len(rows), 2)]


def test_a_copy_that_is_in_no_pool_ties_two_videos_all_the_same() -> None:
    found = kinship(batches, frozenset())
    assert found.family == {"v1": "v1", "v2": "v1", "v5": "v5"}
    assert (found.of("v2"), found.of("v4")) == ("v1", "v4")
    assert (found.held, found.unknown) == (frozenset(), 0)
    kept = [Example(clip, f"v{1 if clip < 'b' else 2}", "{}", "e") for clip in ("a1", "a2", "b2")]
    for seed in range(20):
        assert not split(kept, 0.4, seed, found.family).val


def test_what_is_held_takes_its_family_and_copies_of_it_along() -> None:
    assert kinship(batches, {"b2"}).held == {"v1"}
    assert kinship(batches, {"c1", "d1"}).held == {"v3", "v4"}
    found = kinship(batches, {"o9", "nobody"})  # known as what e1 is a copy of
    assert (found.held, found.unknown) == ({"v5"}, 1)


def test_a_run_without_clips_has_no_families() -> None:
    found = kinship(lambda: [], {"a"})
    assert (found.family, found.held, found.unknown) == ({}, frozenset(), 1)
