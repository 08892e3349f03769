"""Clips to shard files: a unit's name is its contents, a clip's fault its own, retry adds what was missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.buckets import WHOLE, Bucket
from pipeline.clip import VIDEOS, span_id
from pipeline.frames import Decoder
from pipeline.ingest import digest_of
from pipeline.runner import Done
from pipeline.sharding import Cut, Encoding, Unit, WriteShards, unit
from pipeline.store import Entry, Store

BUCKET = Bucket("t009-ar16x9", 9, 96, 64, 16)


def cut(video: Mapping[str, Any], start: int, end: int) -> Cut:
    name = span_id(video["video_id"], start, end)
    score = (("black_ratio", 0.25),)
    return Cut(name, video["video_id"], start, end, start / 20, end / 20, WHOLE, "{}", "e/1", "Human", score)


@pytest.fixture(scope="module")
def rows(
    tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]
) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("v")
    found = {}
    with Decoder() as decoder:
        for number in range(2):
            path = make_video(folder / f"{number}.mp4", frames=48 + number, fps=20)
            name = digest_of(str(path))[0][:20]
            plain = {"path": str(path), "video_id": name, "extra": '{"title": "T"}'}
            found[name] = dict.fromkeys(VIDEOS.names) | plain | decoder.probe(str(path))
    return found


@pytest.fixture
def work(rows: dict[str, dict[str, Any]], tmp_path: Path) -> tuple[WriteShards, Unit]:
    cuts = [cut(video, start, start + 24) for video in rows.values() for start in (24, 0)]
    made = unit("tiny", BUCKET, cuts, rows, {"recipe": "tiny@1"})
    return WriteShards(Store(str(tmp_path)), Encoding(preset="ultrafast")), made


def written(task: WriteShards, one: Unit, poison: Mapping[str, int] | None = None) -> tuple[list[str], Entry]:
    state = task.open()
    try:
        named = [event for event in task.run(state, one, poison or {}) if not isinstance(event, Done)]
    finally:
        state.close()
    entry = task.store.entry(task.step(one.pool), one.name)
    assert entry is not None
    return named, entry


def ids(task: WriteShards, entry: Entry) -> list[str]:
    return [
        name
        for output in entry.outputs
        for name in pq.read_table(Path(task.store.root) / output.path).column("clip_id").to_pylist()
    ]


def test_a_units_name_is_what_goes_into_it(rows: dict[str, dict[str, Any]]) -> None:
    cuts = [cut(video, 0, 24) for video in rows.values()]
    base = unit("tiny", BUCKET, cuts, rows, {"a": 1})
    assert unit("tiny", BUCKET, cuts[::-1], rows, {"a": 1}) == base
    moved = {name: {**row, "extra": '{"title": "U"}'} for name, row in rows.items()}
    others = [
        unit("other", BUCKET, cuts, rows, {"a": 1}),
        unit("tiny", replace(BUCKET, fps=24), cuts, rows, {"a": 1}),
        unit("tiny", BUCKET, [replace(cuts[0], caption="x"), cuts[1]], rows, {"a": 1}),
        unit("tiny", BUCKET, cuts, moved, {"a": 1}),
        unit("tiny", BUCKET, cuts, rows, {"a": 2}),
    ]
    assert len({one.name for one in (base, *others)}) == 6


def test_one_pass_a_video_and_every_clip_in_the_file(work: tuple[WriteShards, Unit]) -> None:
    task, one = work
    named, entry = written(task, one)
    assert named == sorted({cut.video_id for cut in one.cuts})
    assert sorted(ids(task, entry)) == sorted(cut.clip_id for cut in one.cuts)
    assert entry.counts == {"clips": 4, "rows": 4, "failed": 0}
    row = pq.read_table(Path(task.store.root) / entry.outputs[0].path).to_pylist()[0]
    assert (row["bucket"], row["pool"], row["concept"], row["extra"]) == (
        BUCKET.name,
        "tiny",
        "Human",
        '{"title": "T"}',
    )


def test_a_lost_video_costs_its_own_clips_and_retry_adds_them(
    work: tuple[WriteShards, Unit], tmp_path: Path
) -> None:
    task, one = work
    lost = one.videos[0]
    away = {**lost, "path": str(tmp_path / "gone.mp4")}
    broken = replace(one, videos=(away, one.videos[1]))
    _, entry = written(task, broken)
    mine = [cut.clip_id for cut in one.cuts if cut.video_id == lost["video_id"]]
    assert sorted((f.item, f.reason, f.attempts) for f in entry.failures) == sorted(
        (i, "not_found", 1) for i in mine
    )
    assert entry.counts["rows"] == 2
    named, again = written(task, replace(one, retry=True))
    assert named == [lost["video_id"]]
    assert again.failures == ()
    assert again.counts == {"clips": 4, "rows": 4, "failed": 0}
    assert sorted(ids(task, again)) == sorted(cut.clip_id for cut in one.cuts)
    assert len(again.outputs) == 2


def test_a_file_that_was_exchanged_gives_no_rows(
    work: tuple[WriteShards, Unit], tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    """Another video of the same timing stands in its place."""
    task, one = work
    other = make_video(tmp_path / "other.mp4", frames=one.videos[0]["frame_count"], fps=20, size=(192, 128))
    changed = {**one.videos[0], "path": str(other)}
    _, entry = written(task, replace(one, videos=(changed, one.videos[1])))
    assert [failure.reason for failure in entry.failures] == ["changed"] * 2
    assert entry.counts["rows"] == 2


def test_a_clip_that_kills_workers_is_found_and_put_aside(work: tuple[WriteShards, Unit]) -> None:
    task, one = work
    video, killer = one.cuts[0].video_id, one.cuts[1].clip_id
    named, entry = written(task, one, {video: 3, killer: 3})
    assert named == [one.cuts[0].clip_id, killer, one.cuts[2].video_id]
    assert [(f.item, f.reason) for f in entry.failures] == [(killer, "worker_died")]
    assert len(ids(task, entry)) == 3


def test_the_same_unit_gives_the_same_bytes(work: tuple[WriteShards, Unit], tmp_path: Path) -> None:
    task, one = work
    _, first = written(task, one)
    _, second = written(replace(task, store=Store(str(tmp_path / "other"))), one)
    assert [output.sha256 for output in first.outputs] == [output.sha256 for output in second.outputs]


def test_other_encoding_is_another_step() -> None:
    store = Store("x")
    steps = {
        WriteShards(store, encoding).step("p")
        for encoding in (Encoding(), Encoding(crf=19), Encoding(audio=False))
    }
    assert len(steps) == 3
