"""Stages over clips: each frame fetched once, each clip's fault its own, batches that kill taken apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline.annotate import Annotate, Planned, Unit
from pipeline.clip import CLIPS, VIDEOS, Clip, span_id
from pipeline.frames import MOTION, VIEW, Decoder
from pipeline.ingest import digest_of
from pipeline.runner import Done
from pipeline.scan import Span
from pipeline.stage import ClipError, FrameBatch, FrameSpec, Row, Stage
from pipeline.store import Entry, Store

FRAMES, FPS = 60, 20


@dataclass(frozen=True)
class Count(Stage):
    """How many frames it was shown; fails on the clips that begin at the frames named."""

    name: ClassVar[str] = "count"
    columns: ClassVar[pa.Schema] = pa.schema([pa.field("shown", pa.int64())])
    frames: ClassVar[FrameSpec | None] = VIEW
    fails: tuple[int, ...] = ()
    bursts: tuple[int, ...] = ()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        if clip.start_frame in self.fails:
            raise ClipError("not this one")
        if clip.start_frame in self.bursts:
            raise IndexError("a fault of some library")
        assert frames is not None
        return {"shown": len(frames.images)}


@dataclass(frozen=True)
class Doubled(Stage):
    """Twice what Count says."""

    name: ClassVar[str] = "doubled"
    columns: ClassVar[pa.Schema] = pa.schema([pa.field("twice", pa.int64())])
    requires: ClassVar[tuple[str, ...]] = ("count",)

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        return {"twice": 2 * clip.upstream["count"]["shown"]}


@dataclass(frozen=True)
class Pairs(Count):
    """How many pairs of frames it was shown."""

    name: ClassVar[str] = "pairs"
    frames: ClassVar[FrameSpec | None] = MOTION


@dataclass(frozen=True)
class OffGrid(Count):
    """Asks for frames that no proxy has."""

    name: ClassVar[str] = "off_grid"
    frames: ClassVar[FrameSpec | None] = replace(VIEW, short_side_px=VIEW.short_side_px + 2)


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> dict[str, Any]:
    path = make_video(tmp_path_factory.mktemp("v") / "a.mp4", frames=FRAMES, fps=FPS)
    with Decoder() as decoder:
        probed = decoder.probe(str(path))
    return (
        dict.fromkeys(VIDEOS.names) | {"path": str(path), "video_id": digest_of(str(path))[0][:20]} | probed
    )


def clip_row(video: Mapping[str, Any], start: int, end: int) -> dict[str, Any]:
    name = span_id(video["video_id"], start, end)
    times = {"start_s": start / FPS, "end_s": end / FPS, "fps": float(FPS)}
    size = {"width": video["width"], "height": video["height"]}
    spans = {"start_frame": start, "end_frame": end}
    return {"clip_id": name, "shot_id": name, "video_id": video["video_id"], **spans, **times, **size}


SPANS = ((0, 20), (20, 40), (40, 43), (43, 60))


@pytest.fixture
def unit(row: dict[str, Any], tmp_path: Path) -> tuple[Store, Unit]:
    """Four clips of one video whose proxy is not made yet."""
    store = Store(str(tmp_path / "run"))
    table = pa.Table.from_pylist([clip_row(row, *span) for span in SPANS], CLIPS)
    store.put_table("clips@x/part-1.parquet", table)
    proxies = (("proxies@x/part-1.parquet", Span(row, 0, FRAMES)),)
    return store, Unit("part-1", "clips@x/part-1.parquet", (row,), proxies, ())


def annotated(
    store: Store, unit: Unit, *stages: Stage, poison: Mapping[str, int] | None = None
) -> tuple[list[str], dict[str, list[dict[str, Any]]], dict[str, Entry]]:
    """The items named, and each stage's rows and entry."""
    planned = tuple(Planned(stage, "f" * 8) for stage in stages)
    task = Annotate(store, planned)
    state = task.open()
    named = []
    try:
        todo = unit.todo or tuple(stage.name for stage in stages)
        for event in task.run(state, replace(unit, todo=todo), poison or {}):
            if not isinstance(event, Done):
                named.append(event)
    finally:
        state.close()
    rows, entries = {}, {}
    for one in planned:
        entry = store.entry(one.step, unit.name)
        assert entry is not None
        rows[one.stage.name] = store.table(entry.outputs[-1].path).to_pylist()
        entries[one.stage.name] = entry
    return named, rows, entries


def test_rows_are_those_of_the_clips_in_order(unit: tuple[Store, Unit], row: dict[str, Any]) -> None:
    ids = [span_id(row["video_id"], *span) for span in SPANS]
    named, rows, _ = annotated(*unit, Count(), Doubled(), Pairs())
    assert named == ids
    assert [[r["clip_id"] for r in found] for found in rows.values()] == [ids] * 3
    assert [r["shown"] for r in rows["count"]] == [1, 1, 1, 1]
    assert [r["twice"] for r in rows["doubled"]] == [2, 2, 2, 2]
    assert [r["shown"] for r in rows["pairs"]] == [2, 2, 1, 1]


def test_frames_of_the_proxy_are_those_of_a_decode(unit: tuple[Store, Unit], row: dict[str, Any]) -> None:
    """A clip that holds only the first frame of a pair of the grid shows its middle pair, like a decode would."""
    store, part = unit
    spans = [(2, 11), (0, 3), (10, 12), (9, 11), (10, 11)]
    store.put_table("clips@x/part-2.parquet", pa.Table.from_pylist([clip_row(row, *s) for s in spans], CLIPS))
    _, rows, _ = annotated(store, replace(part, name="part-2", clips_path="clips@x/part-2.parquet"), Pairs())
    with Decoder() as decoder:
        from pipeline.frames import VideoIndex

        shown = decoder.read(row["path"], VideoIndex.from_row(row), spans, MOTION)
    assert [r["shown"] for r in rows["pairs"]] == [len(batch.images) for batch in shown] == [1, 1, 1, 1, 0]


def test_a_fault_is_of_its_clip_and_of_what_needs_it(unit: tuple[Store, Unit]) -> None:
    _, rows, entries = annotated(*unit, Count(fails=(20,), bursts=(40,)), Doubled())
    assert [r["shown"] for r in rows["count"]] == [1, None, None, 1]
    assert [r["error"] for r in rows["count"]] == [
        None,
        "not this one",
        "IndexError: a fault of some library",
        None,
    ]
    assert [r["error_reason"] for r in rows["doubled"]] == [None, "stage_error", "stage_error", None]
    assert [f.reason for f in entries["count"].failures] == ["stage_error"] * 2
    assert entries["count"].counts == {"clips": 4, "failed": 2}


def test_a_retry_measures_what_failed_and_keeps_the_rest(unit: tuple[Store, Unit], tmp_path: Path) -> None:
    store, part = unit
    annotated(store, part, Count(fails=(20,)), Doubled())
    fixed = Count(fails=(0, 40, 43))  # would fail on all that is not to be touched
    _, rows, entries = annotated(store, replace(part, retry=True), fixed, Doubled())
    assert [r["shown"] for r in rows["count"]] == [1, 1, 1, 1]
    assert [r["twice"] for r in rows["doubled"]] == [2, 2, 2, 2]
    assert entries["count"].failures == ()
    assert ".r2." in entries["count"].outputs[0].path


def test_an_item_that_kills_workers_fails_alone(unit: tuple[Store, Unit], row: dict[str, Any]) -> None:
    killer = span_id(row["video_id"], 20, 40)
    _, rows, _ = annotated(*unit, Count(), poison={killer: 3})
    assert [r["error_reason"] for r in rows["count"]] == [None, "worker_died", None, None]


def test_only_the_proxies_that_a_clip_lies_in_are_read(row: dict[str, Any], tmp_path: Path) -> None:
    """Of a film's many proxies a part reads its own: the others may be missing with their media."""
    store = Store(str(tmp_path / "run"))
    gone = {**row, "path": str(tmp_path / "gone.mp4")}
    near, far = Span(row, 0, 40), Span(gone, 40, 60)
    table = pa.Table.from_pylist([clip_row(row, 0, 20), clip_row(row, 20, 40)], CLIPS)
    store.put_table("clips@x/part-1.parquet", table)
    part = Unit(
        "part-1", "clips@x/part-1.parquet", (row,), (("p/near.parquet", near), ("p/far.parquet", far)), ()
    )
    _, rows, _ = annotated(store, part, Count())
    assert [r["shown"] for r in rows["count"]] == [1, 1]
    assert store.files.size("p/near.parquet") is not None
    assert store.files.size("p/far.parquet") is None


def test_frames_are_not_taken_from_a_file_that_was_exchanged(
    unit: tuple[Store, Unit], row: dict[str, Any], tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    store, part = unit
    other = make_video(tmp_path / "other.mp4", frames=FRAMES, fps=FPS, size=(192, 128))
    _, rows, _ = annotated(store, replace(part, videos=({**row, "path": str(other)},)), OffGrid())
    assert [r["error_reason"] for r in rows["off_grid"]] == ["changed"] * 4
