"""A stage that is at many clips at once: fed across parts, rows in order, faults and deaths of their own clips."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from pipeline.ahead import Ahead
from pipeline.annotate import Annotate, Planned, Unit
from pipeline.clip import CLIPS, VIDEOS, Clip, span_id
from pipeline.frames import VIEW, Decoder
from pipeline.ingest import digest_of
from pipeline.reasons import Reason
from pipeline.runner import MAX_DEATHS, Done, Pool, Several, run
from pipeline.scan import Span
from pipeline.stage import BATCH, ClipError, FrameBatch, FrameSpec, Row, Stage, StageDied, WorkerSpent
from pipeline.store import Entry, Store
from pipeline.stream import (
    LINE_CLIPS,
    MOST_DECODERS,
    Line,
    Segment,
    Stream,
    answered,
    lines,
    name_of,
    segments,
)

FRAMES, FPS = 60, 20
SPANS = ((0, 20), (20, 40), (40, 43), (43, 60))


@dataclass(frozen=True)
class Shuffled(Stage):
    """How many frames it was shown, `window` clips at once, the last taken answered first."""

    name: ClassVar[str] = "shuffled"
    columns: ClassVar[pa.Schema] = pa.schema([pa.field("shown", pa.int64())])
    frames: ClassVar[FrameSpec | None] = VIEW
    window: ClassVar[int] = 3
    fails: tuple[int, ...] = ()
    bursts: tuple[int, ...] = ()
    kills: tuple[int, ...] = ()
    spends: tuple[int, ...] = ()
    """First frames of the clips that fail, trip a library, end the process, and end the engine in it."""

    def load(self) -> dict[str, float]:
        return {"answers": 0.0}

    def tally(self, state: dict[str, float]) -> Mapping[str, float]:
        return dict(state)

    def measure(self, state: dict[str, float], clip: Clip, frames: FrameBatch | None) -> Row:
        if clip.start_frame in self.fails:
            raise ClipError("not this one")
        if clip.start_frame in self.bursts:
            raise IndexError("a fault of some library")
        if clip.start_frame in self.kills:
            os._exit(9)
        if clip.start_frame in self.spends:
            raise WorkerSpent("the engine died")
        assert frames is not None
        state["answers"] += 1
        return {"shown": len(frames.images)}

    def measure_stream(
        self, state: dict[str, float], clips: Iterable[tuple[Clip, FrameBatch | None]]
    ) -> Iterator[tuple[str, Row | ClipError]]:
        at_work: list[tuple[Clip, FrameBatch | None]] = []
        for one in clips:
            at_work.append(one)
            if len(at_work) == self.window:
                yield self._answer(state, at_work)
        while at_work:
            yield self._answer(state, at_work)

    def _answer(
        self, state: dict[str, float], at_work: list[tuple[Clip, FrameBatch | None]]
    ) -> tuple[str, Row | ClipError]:
        clip, frames = at_work[-1]
        try:
            answer: Row | ClipError = self.measure(state, clip, frames)
        except ClipError as error:
            answer = error
        at_work.pop()
        return clip.clip_id, answer


@dataclass(frozen=True)
class Batched(Shuffled):
    """One that says nothing of streams: the default does it in batches."""

    name: ClassVar[str] = "batched"
    measure_stream = Stage.measure_stream


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


def part(store: Store, video: dict[str, Any], name: str, spans: Sequence[tuple[int, int]]) -> Unit:
    table = pa.Table.from_pylist([clip_row(video, *span) for span in spans], CLIPS)
    store.put_table(f"clips@x/{name}.parquet", table)
    proxies = (("proxies@x/part-1.parquet", Span(video, 0, FRAMES)),)
    return Unit(name, f"clips@x/{name}.parquet", (video,), proxies, ())


@pytest.fixture
def line(row: dict[str, Any], tmp_path: Path) -> tuple[Store, Line]:
    """Six clips of one video in two parts."""
    store = Store(str(tmp_path / "run"))
    units = part(store, row, "part-1", SPANS), part(store, row, "part-2", [(0, 10), (50, 60)])
    return store, Line(units)


@dataclass(frozen=True)
class Said:
    """What a worker said, and what it wrote."""

    names: list[str]
    done: list[Done]
    rows: dict[str, list[dict[str, Any]]]
    entries: dict[str, Entry]


def streamed(store: Store, line: Line, stage: Stage, poison: Mapping[str, int] | None = None) -> Said:
    planned = Planned(stage, "f" * 8)
    task = Stream(Annotate(store, (planned,)))
    state = task.open()
    said = Said([], [], {}, {})
    try:
        for event in task.run(state, line, poison or {}):
            if isinstance(event, Done):
                said.done.append(event)
            else:
                said.names.append(event)
    finally:
        state.close()
    return replace(said, **written(store, line, planned))


def written(store: Store, line: Line, planned: Planned) -> dict[str, Any]:
    entries = {unit.name: store.entry(planned.step, unit.name) for unit in line.units}
    assert all(entries.values())
    rows = {name: store.table(e.outputs[-1].path).to_pylist() for name, e in entries.items() if e}
    return {"rows": rows, "entries": entries}


@pytest.mark.parametrize("stage", [Shuffled(), Batched()])
def test_rows_are_in_the_order_of_the_clips_whatever_that_of_the_answers(
    line: tuple[Store, Line], row: dict[str, Any], stage: Stage
) -> None:
    said = streamed(*line, stage)
    assert [r["clip_id"] for r in said.rows["part-1"]] == [span_id(row["video_id"], *s) for s in SPANS]
    assert [r["shown"] for r in said.rows["part-1"]] == [1, 1, 1, 1]
    assert [r["shown"] for r in said.rows["part-2"]] == [1, 1]
    assert said.names == [f"{span_id(row['video_id'], *SPANS[0])}+5"]
    assert isinstance(said.names[0], Several)


def test_each_part_is_done_when_its_last_clip_is_and_says_what_is_left(line: tuple[Store, Line]) -> None:
    done = streamed(*line, Batched()).done
    assert [one.counts["clips"] for one in done] == [4, 2]
    assert done[0].left == Line(line[1].units[1:])
    assert done[1].left is None
    assert sum(one.flow["answers"] for one in done) == 6
    assert {"stage_s", "frames_wait_s"} <= set(done[0].flow)
    assert all(one.seconds["frames"] >= 0 for one in done)


def test_a_part_whose_first_clip_is_slow_is_committed_after_the_next(
    line: tuple[Store, Line], row: dict[str, Any]
) -> None:
    """The last taken is answered first: the first two clips wait for the end."""
    said = streamed(*line, Shuffled())
    assert [one.counts["clips"] for one in said.done] == [2, 4]
    assert said.done[0].left == Line(line[1].units[:1])
    assert [r["shown"] for r in said.rows["part-1"]] == [1, 1, 1, 1]


@pytest.mark.parametrize("kind", [Shuffled, Batched])
def test_a_fault_is_of_its_clip_alone(line: tuple[Store, Line], kind: type[Shuffled]) -> None:
    said = streamed(*line, kind(fails=(20,), bursts=(40, 50)))
    assert [r["error"] for r in said.rows["part-1"]] == [
        None,
        "not this one",
        "IndexError: a fault of some library",
        None,
    ]
    assert [r["shown"] for r in said.rows["part-2"]] == [1, None]
    assert [one.counts["failed"] for one in said.done] == [2, 1]


def test_frames_that_cannot_be_made_are_their_clips_error(
    line: tuple[Store, Line], row: dict[str, Any], tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    store, whole = line
    other = make_video(tmp_path / "other.mp4", frames=FRAMES, fps=FPS, size=(192, 128))
    first = replace(whole.units[0], videos=({**row, "path": str(other)},), proxies=())
    said = streamed(store, Line((first, whole.units[1])), Shuffled())
    assert [r["error_reason"] for r in said.rows["part-1"]] == ["changed"] * 4
    assert [r["shown"] for r in said.rows["part-2"]] == [1, 1]


def test_a_retry_asks_for_what_failed_and_keeps_the_rest(line: tuple[Store, Line]) -> None:
    store, whole = line
    streamed(store, whole, Shuffled(fails=(20,)))
    again = Line(tuple(replace(unit, retry=True) for unit in whole.units))
    said = streamed(
        store, again, Shuffled(fails=(0, 40, 43, 50))
    )  # would fail on all that is not to be touched
    assert [r["shown"] for r in said.rows["part-1"]] == [1, 1, 1, 1]
    assert [one.flow["answers"] for one in said.done] == [0, 1]
    assert ".r2." in said.entries["part-1"].outputs[0].path


@dataclass(frozen=True)
class Weighing(Shuffled):
    """Keeps a weak hand on all that it was shown, and one clip at once."""

    window: ClassVar[int] = 1
    seen: list[Any] = field(default_factory=list)

    def measure(self, state: dict[str, float], clip: Clip, frames: FrameBatch | None) -> Row:
        assert frames is not None
        self.seen.append(weakref.ref(frames))
        return {"shown": len(frames.images)}


def test_no_frames_are_held_of_parts_that_are_done(row: dict[str, Any], tmp_path: Path) -> None:
    store, stage = Store(str(tmp_path / "run")), Weighing()
    units = [part(store, row, f"part-{n:02d}", [(n, n + 20)]) for n in range(20)]
    held: list[int] = []
    state = Stream(Annotate(store, (planned := Planned(stage, "f" * 8),))).open()
    try:
        for event in Stream(Annotate(store, (planned,))).run(state, Line(tuple(units)), {}):
            if isinstance(event, Done):
                held.append(sum(one() is not None for one in stage.seen))
    finally:
        state.close()
    assert len(held) == len(stage.seen) == 20
    assert max(held) <= 3  # the last one shown, and those that a thread has in hand


@dataclass(frozen=True)
class Told(Shuffled):
    """What a clip says of the attempts before; looks at nothing."""

    name: ClassVar[str] = "told"
    frames: ClassVar[FrameSpec | None] = None
    columns: ClassVar[pa.Schema] = pa.schema(
        [pa.field("attempt", pa.int64()), pa.field("before", pa.string())]
    )
    enough: int = 3

    def settings(self) -> dict[str, Any]:
        return {}

    def measure(self, state: dict[str, float], clip: Clip, frames: FrameBatch | None) -> Row:
        if clip.attempt < self.enough and clip.start_frame in self.fails:
            raise ClipError("not yet", Reason.CAPTION_INVALID)
        return {"attempt": clip.attempt, "before": clip.failed}


@pytest.mark.parametrize("task", [Stream, lambda annotate: annotate], ids=["streamed", "one by one"])
def test_a_clip_knows_which_attempt_it_is_at_and_why(
    line: tuple[Store, Line], task: Callable[[Annotate], Any]
) -> None:
    store, whole = line
    planned = Planned(Told(fails=(20,)), "f" * 8)
    for attempt in range(1, 4):
        units = [replace(unit, retry=attempt > 1, todo=("told",)) for unit in whole.units]
        made = task(Annotate(store, (planned,)))
        run(made, [Line(tuple(units))] if isinstance(made, Stream) else units, Pool(0))
    rows = written(store, whole, planned)["rows"]["part-1"]
    assert [(r["attempt"], r["before"]) for r in rows] == [(1, ""), (3, "caption_invalid"), (1, ""), (1, "")]


@dataclass(frozen=True)
class Wide(Shuffled):
    """One whose frames several make."""

    decoders: ClassVar[int] = 2


@dataclass(frozen=True)
class Open(Wide):
    """One that leaves the number of those who make frames open."""

    decoders: ClassVar[int] = 0


def test_decoders_are_as_many_as_cpus_are_left_where_the_stage_does_not_say(
    line: tuple[Store, Line],
) -> None:
    def task(stage: Stage) -> Stream:
        return Stream(Annotate(line[0], (Planned(stage, "f" * 8),)))

    assert task(Open()).cpus == 1
    assert [task(Open()).fitted(cpus).cpus for cpus in (1, 2, 3, 8, 64)] == [1, 1, 2, 7, MOST_DECODERS]
    assert task(Wide()).fitted(8).cpus == 2


@dataclass(frozen=True)
class Lacking(Told):
    """One whose rows lack something until the third attempt; and one clip fails, of which something is known."""

    name: ClassVar[str] = "lacking"

    def lacks(self, row: Row) -> ClipError | None:
        short = row["attempt"] < self.enough
        return ClipError("a word is missing", Reason.CAPTION_INVALID) if short else None

    def measure(self, state: dict[str, float], clip: Clip, frames: FrameBatch | None) -> Row:
        last = clip.upstream.get("lacking", {}).get("before", "nothing")
        if clip.start_frame in self.fails and clip.attempt < self.enough:
            raise ClipError("no", Reason.ENGINE_FAILED, {"before": f"{last}, failed"})
        return {"attempt": self.enough if clip.start_frame else clip.attempt, "before": last}


@dataclass(frozen=True)
class After(Told):
    """Requires it, and says what it knows where that has failed."""

    name: ClassVar[str] = "after"
    requires: ClassVar[tuple[str, ...]] = ("lacking",)

    def fallen(self, name: str, known: Row) -> Row:
        return {"before": f"{name}: {known['before']}"}


@pytest.mark.parametrize("task", [Stream, lambda annotate: annotate], ids=["streamed", "one by one"])
def test_what_is_known_of_a_failure_and_what_a_row_lacks_are_kept_and_tried_again(
    line: tuple[Store, Line], task: Callable[[Annotate], Any]
) -> None:
    store, whole = line
    planned, after = Planned(Lacking(fails=(20,)), "f" * 8), Planned(After(), "f" * 8)

    def attempted(one: Planned, retry: bool, read: tuple[Planned, ...] = ()) -> tuple[Any, Entry]:
        units = [replace(unit, retry=retry, todo=(one.stage.name,)) for unit in whole.units[:1]]
        made = task(Annotate(store, (one,), read))
        run(made, [Line(tuple(units))] if isinstance(made, Stream) else units, Pool(0))
        entry = store.entry(one.step, "part-1")
        assert entry is not None
        return store.table(entry.outputs[-1].path).to_pylist(), entry

    rows, entry = attempted(planned, retry=False)
    assert [(r["attempt"], r["before"], r["error"]) for r in rows[:2]] == [
        (1, "nothing", None),
        (None, "nothing, failed", "no"),
    ]
    assert (entry.counts["failed"], len(entry.failures), len(entry.partial)) == (1, 1, 1)
    assert (entry.partial[0].item, entry.partial[0].message) == (rows[0]["clip_id"], "a word is missing")
    following, _ = attempted(after, False, (planned,))
    assert [r["before"] for r in following[:2]] == ["", "lacking: nothing, failed"]
    assert following[1]["error"] == "after needs the columns of lacking, which failed for this clip"
    for _ in range(2):
        rows, entry = attempted(planned, retry=True)
    assert [(r["attempt"], r["before"]) for r in rows] == [
        (3, "nothing"),
        (3, "nothing, failed, failed"),
        (3, "nothing"),
        (3, "nothing"),
    ]
    assert entry.failures == entry.partial == ()


@pytest.mark.slow
def test_frames_that_several_make_come_in_order_and_each_has_made_some(line: tuple[Store, Line]) -> None:
    store, whole = line
    planned = Planned(Wide(), "f" * 8)
    task = Stream(Annotate(store, (planned,)))
    assert task.cpus == 2
    state = task.open()
    try:
        done = [event for event in task.run(state, whole, {}) if isinstance(event, Done)]
        assert len(state.makers) == 2
        assert all(maker.seconds > 0 for maker in state.makers)
    finally:
        state.close()
    assert sum(one.seconds["frames"] for one in done) == pytest.approx(sum(m.seconds for m in state.makers))
    alone = streamed(store, whole, Shuffled())
    assert written(store, whole, planned)["rows"] == alone.rows


def test_a_fault_of_the_storage_is_no_clips() -> None:
    def broken() -> Iterator[Any]:
        yield from ()
        raise OSError("the disk is gone")

    with (
        ThreadPoolExecutor(1) as thread,
        Ahead(broken(), 2, thread) as source,
        pytest.raises(OSError, match="the disk is gone"),
    ):
        list(answered(Shuffled(), {"answers": 0.0}, source))


def made(count: int) -> list[tuple[Clip, FrameBatch | None]]:
    shown = FrameBatch(np.zeros((1, 4, 4, 3), np.uint8), np.zeros(1), np.zeros(1, np.int64))
    return [(Clip(f"c{n}", "s", "v", n, n + 1, 0.0, 1.0, 24.0, 4, 4), shown) for n in range(count)]


class Odd(Shuffled):
    """Forgets the second clip, and ends without a word."""

    def measure_stream(
        self, state: Any, clips: Iterable[tuple[Clip, FrameBatch | None]]
    ) -> Iterator[tuple[str, Row | ClipError]]:
        for clip, _ in clips:
            if clip.start_frame != 1:
                yield clip.clip_id, {"shown": 1}


def test_a_clip_without_an_answer_is_an_error() -> None:
    with ThreadPoolExecutor(1) as thread, Ahead(made(3), 2, thread) as source:
        found = dict(answered(Odd(), {}, source))
    assert str(found["c1"]) == "stage_error: shuffled gave no answer for it"
    assert found["c2"] == {"shown": 1}


def test_a_dead_engine_is_raised_and_not_looked_for_in_the_clips() -> None:
    class Dead(Shuffled):
        def measure_stream(self, state: Any, clips: Any) -> Iterator[Any]:
            next(iter(clips))
            yield from ()
            raise StageDied("the server is gone")

    with (
        ThreadPoolExecutor(1) as thread,
        Ahead(made(3), 2, thread) as source,
        pytest.raises(StageDied, match="the server is gone"),
    ):
        list(answered(Dead(), {}, source))


def test_no_more_frames_are_made_than_the_window_and_those_ahead() -> None:
    """A slow engine holds its window and no more; the frames of the others wait for it."""
    count = 0
    enough = threading.Event()

    def source() -> Iterator[Any]:
        nonlocal count
        for one in made(100):
            count += 1
            if count == 8:
                enough.set()
            yield one

    with ThreadPoolExecutor(1) as thread, Ahead(source(), 4, thread) as ahead:
        answers = answered(Shuffled(), {"answers": 0.0}, ahead)
        assert next(answers)[0] == "c2"
        assert enough.wait(5)
        assert count == 3 + 4 + 1  # at work, in the queue, in hand
        answers.close()


# --- what a worker names, and what becomes of a line that killed one

IDS = [f"{n:03d}" for n in range(100)]


def test_a_line_flows_as_one_until_a_worker_dies_of_it() -> None:
    assert list(segments(IDS, {}, BATCH)) == [Segment(0, 100)]
    assert list(segments([], {}, BATCH)) == []
    assert name_of(["a"]) == "a"
    assert name_of(["a", "b", "c"]) == Several("a+2")


def test_what_was_at_work_comes_in_groups_and_the_group_that_kills_one_by_one() -> None:
    first = {name_of(IDS[20:60]): 1}
    cut = list(segments(IDS, first, BATCH))
    assert cut == [
        Segment(0, 20),
        Segment(20, 36, True),
        Segment(36, 52, True),
        Segment(52, 60, True),
        Segment(60, 100),
    ]
    second = first | {name_of(IDS[36:52]): 1}
    singles = [one for one in segments(IDS, second, BATCH) if one.end - one.start == 1]
    assert [one.start for one in singles] == list(range(36, 52))
    assert all(one.careful for one in singles)


def test_a_name_whose_first_clip_is_done_since_stood_at_the_head() -> None:
    assert next(segments(IDS[50:], {name_of(IDS[40:60]): 1}, BATCH)) == Segment(0, 16, True)


def test_names_grow_with_the_line(row: dict[str, Any], tmp_path: Path) -> None:
    """All that may be at work is named, and nothing is at work that is not."""
    spans = [(start, end) for start in range(0, 30) for end in range(start + 2, start + 7)]
    store = Store(str(tmp_path / "run"))
    said = streamed(store, Line((part(store, row, "part-1", spans),)), Shuffled())
    ids = [r["clip_id"] for r in said.rows["part-1"]]
    reached = 0
    for name in said.names:
        first, _, more = name.partition("+")
        start, end = ids.index(first), ids.index(first) + int(more) + 1
        assert start <= reached < end
        reached = end
    assert reached == len(ids) == 150
    assert 4 < len(said.names) < 12


def test_the_clip_that_spends_its_worker_is_found_in_this_process(
    line: tuple[Store, Line], row: dict[str, Any]
) -> None:
    """A dead engine costs its process: here the task is opened anew, as an actor is replaced."""
    store, whole = line
    planned = Planned(Shuffled(spends=(40,)), "f" * 8)
    done: list[Done] = []
    run(Stream(Annotate(store, (planned,))), [whole], Pool(0), lambda unit, one: done.append(one))
    rows = written(store, whole, planned)["rows"]
    assert [r["error_reason"] for r in rows["part-1"]] == [None, None, "worker_died", None]
    assert [r["shown"] for r in rows["part-2"]] == [1, 1]
    assert rows["part-1"][2]["error"] == f"{MAX_DEATHS} workers died on it"
    assert sorted(one.counts["clips"] for one in done) == [2, 4]


@pytest.mark.slow
@pytest.mark.parametrize("stage", [Shuffled(kills=(20,)), Shuffled(spends=(20,))], ids=["process", "engine"])
def test_the_clip_that_ends_its_worker_is_found_on_ray(
    line: tuple[Store, Line], ray_here: None, stage: Shuffled
) -> None:
    store, whole = line
    planned = Planned(stage, "f" * 8)
    run(Stream(Annotate(store, (planned,))), [whole], Pool(1))
    rows = written(store, whole, planned)["rows"]
    assert [r["error_reason"] for r in rows["part-1"]] == [None, "worker_died", None, None]
    assert [r["shown"] for r in rows["part-2"]] == [1, 1]


def test_parts_are_cut_into_lines_that_end_together() -> None:
    units = [Unit(f"part-{n}", "", (), (), ()) for n in range(100)]
    few = lines(units[:3], [128] * 3)
    assert [len(line.units) for line in few] == [2, 1]
    assert few[0].name == "part-0+1"
    assert lines([], []) == []
    middling = lines(units, [320] * 100)  # 32,000 clips: 1,000 a line
    assert [len(line.units) for line in middling] == [3] * 33 + [1]
    assert [unit for line in middling for unit in line.units] == units
    assert [len(line.units) for line in lines(units, [2_000] * 100)] == [2] * 50
    assert [len(line.units) for line in lines(units[:2], [2 * LINE_CLIPS[1]] * 2)] == [1, 1]
