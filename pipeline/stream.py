"""A stage that is at many clips at once, kept fed: frames are made in threads while its engine works.

Clips of several parts flow through it as one line, so that it never drains between parts; answers come in any order,
and a part is committed when its last one is there. What a worker names is all that may be at work: of a line it died
of, that much comes in small groups the next time, and the group that kills it clip by clip.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from pipeline.ahead import Ahead, Dealt
from pipeline.annotate import Annotate, Frames, Planned, Unit, shown_to
from pipeline.clip import CLIPS, Clip
from pipeline.frames import Decoder
from pipeline.gpu import GpuWatch
from pipeline.ingest import Hands
from pipeline.runner import Done, Several, close
from pipeline.sources import Fetcher
from pipeline.stage import BATCH, ClipError, FrameBatch, Row, Stage, StageDied
from pipeline.store import Failure

FRAMES_AHEAD = 16
"""Clips whose frames are ready before the stage asks for them: the bound on memory beside its window. Ours."""
MOST_DECODERS = 16
"""Of a worker whose stage leaves their number open: one for each clip that is ready ahead. Ours."""
LINE_CLIPS = (256, 4_096)
"""Fewest and most clips of the parts that flow as one line, about: the engine runs empty once in so many. Ours."""
LINES = 32
"""Into so many a run is cut between the two, so that several GPUs end together. Ours."""

Made = tuple[Clip, FrameBatch | None]


@dataclass(frozen=True)
class Line:
    """Parts whose clips flow through a stage one behind the other."""

    units: tuple[Unit, ...]

    @property
    def name(self) -> str:
        first = self.units[0].name
        return first if len(self.units) == 1 else f"{first}+{len(self.units) - 1}"


def lines(units: Sequence[Unit], clips: Sequence[int]) -> list[Line]:
    """The parts in order, as lines; `clips` are their numbers of clips."""
    fewest, most = LINE_CLIPS
    room = min(most, max(fewest, sum(clips) // LINES))
    made: list[list[Unit]] = []
    held = room
    for unit, count in zip(units, clips, strict=True):
        if held + count > room:
            made.append([])
            held = 0
        made[-1].append(unit)
        held += count
    return [Line(tuple(line)) for line in made]


@dataclass
class Maker(Hands):
    """Makes frames in a thread of its own: the decoding process lives as long as that thread."""

    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "frames"))
    seconds: float = 0.0
    """CPU seconds of the thread spent on frames."""

    def close(self) -> None:
        super().close()
        self.thread.shutdown()


@dataclass
class StreamBench:
    """What a streaming worker holds: those who make frames, and the stage's model."""

    makers: tuple[Maker, ...]
    model: Any

    def close(self) -> None:
        for maker in self.makers:
            maker.close()
        close(self.model)


@dataclass
class Page:
    """One part on its way: the clips that are asked for, and what is known of them."""

    unit: Unit
    clips: Sequence[Clip]
    kept: Mapping[str, Row]
    before: Mapping[str, Failure]
    known: Mapping[str, Mapping[str, Row | ClipError]]
    rows: dict[str, Row | ClipError] = field(default_factory=dict)

    @property
    def asked(self) -> list[Clip]:
        return [clip for clip in self.clips if clip.clip_id not in self.kept]

    @property
    def full(self) -> bool:
        return len(self.rows) + len(self.kept) >= len(self.clips)


@dataclass(frozen=True)
class Stream:
    """Runs one stage over lines of parts. A Task of the runner."""

    annotate: Annotate
    """With that one stage."""
    decoders: int = 0
    """Threads that make frames for one worker, where the stage leaves their number open."""

    @property
    def planned(self) -> Planned:
        (planned,) = self.annotate.stages
        return planned

    @property
    def label(self) -> str:
        return self.annotate.label

    @property
    def gpus(self) -> float:
        return self.planned.stage.gpus

    @property
    def cpus(self) -> int:
        return self.planned.stage.decoders or self.decoders or 1

    def fitted(self, cpus: int) -> Stream:
        """With as many decoders as a worker that has so many CPUs can use: one CPU is left to its engine."""
        return replace(self, decoders=max(1, min(MOST_DECODERS, cpus - 1)))

    @property
    def python(self) -> str:
        return self.planned.stage.python

    def open(self) -> StreamBench:
        model = self.planned.stage.load()
        limits, backend = self.annotate.limits, self.annotate.backend
        makers = (Maker(Decoder(limits, backend), Fetcher()) for _ in range(self.cpus))
        return StreamBench(tuple(makers), model)

    def name(self, unit: Line) -> str:
        return unit.name

    def run(self, state: StreamBench, unit: Line, poison: Mapping[str, int]) -> Iterator[str | Done]:
        flow = _Flow(self, state, [self._page(one) for one in unit.units], poison)
        with flow.watch:
            for number, page in enumerate(flow.pages):
                if page.full:
                    yield flow.commit(number)
            for segment in segments([clip.clip_id for clip in flow.clips], poison, BATCH):
                yield from flow.segment(segment)

    def _page(self, unit: Unit) -> Page:
        clips = [Clip(**row) for row in self.annotate.store.table(unit.clips_path, CLIPS.names).to_pylist()]
        kept = self.annotate.kept(unit, [self.planned])[self.planned.stage.name]
        before = self.annotate.before(unit, self.planned)
        return Page(unit, clips, kept, before, self.annotate.known(unit, [self.planned]))


@dataclass(frozen=True)
class Segment:
    """Clips [start, end) of a line; those of a careful one are at work together and alone."""

    start: int
    end: int
    careful: bool = False


def segments(ids: Sequence[str], poison: Mapping[str, int], size: int) -> Iterator[Segment]:
    """The line cut into what flows, and what a worker died of: that by `size`, and by one where it was so few."""
    where = {name: place for place, name in enumerate(ids)}
    suspicion = [0] * len(ids)
    for name in poison:
        first, several, more = name.partition("+")
        if not several:
            continue
        start = where.get(first, 0)  # one that is done since stood at the head of the line
        count = int(more) + 1
        for place in range(start, min(start + count, len(ids))):
            suspicion[place] = max(suspicion[place], 2 if count <= size else 1)
    place = 0
    for doubt, group in groupby(suspicion):
        end = place + len(list(group))
        step = {0: end - place, 1: size, 2: 1}[doubt]
        for start in range(place, end, step):
            yield Segment(start, min(start + step, end), careful=doubt > 0)
        place = end


def name_of(ids: Sequence[str]) -> str:
    """What a worker names before it touches these clips."""
    return ids[0] if len(ids) == 1 else Several(f"{ids[0]}+{len(ids) - 1}")


class _Flow:
    """One line on its way through the stage."""

    def __init__(
        self, task: Stream, bench: StreamBench, pages: list[Page], poison: Mapping[str, int]
    ) -> None:
        self._task = task
        self._makers = bench.makers
        self._poison = poison
        self._stage = task.planned.stage
        self._model = bench.model
        self.pages = pages
        self._page_of = {clip.clip_id: number for number, page in enumerate(pages) for clip in page.asked}
        self.clips = [clip for page in pages for clip in page.asked]
        self.watch = GpuWatch.here() if self._stage.gpus else GpuWatch()
        self._written: set[int] = set()
        self._waited_s = 0.0
        self._began = time.monotonic()
        self._told: dict[str, float] = self._figures()
        self._cpu_s = time.thread_time()
        self._frames_s = sum(maker.seconds for maker in self._makers)

    def segment(self, segment: Segment) -> Iterator[str | Done]:
        """Names what may be at work, and commits each part that is full."""
        ids = [clip.clip_id for clip in self.clips[segment.start : segment.end]]
        depth = -(-FRAMES_AHEAD // len(self._makers))  # of each, and one in hand
        reach = self._stage.window + FRAMES_AHEAD  # and a stage may make a few clips ready on its own
        reach += len(self._makers) * (depth + 1)
        named = len(ids) if segment.careful else min(len(ids), reach + BATCH)
        yield name_of(ids[:named])
        done: set[str] = set()
        oldest = 0
        clips, told_s = self.clips[segment.start : segment.end], 0.0
        hands = [
            Ahead(self._made(clips[place :: len(self._makers)], maker), depth, maker.thread)
            for place, maker in enumerate(self._makers)
        ]
        with Dealt(hands) as source:
            for clip_id, answer in answered(self._stage, self._model, source):
                number = self._page_of[clip_id]
                self.pages[number].rows[clip_id] = answer
                done.add(clip_id)
                if self.pages[number].full:
                    self._waited_s, told_s = self._waited_s + source.waited_s - told_s, source.waited_s
                    yield self.commit(number)
                if named < len(ids) and len(done) + reach > named:
                    while ids[oldest] in done:
                        oldest += 1
                    named = min(len(ids), named + BATCH)
                    yield name_of(ids[oldest:named])
            self._waited_s += source.waited_s - told_s

    def _made(self, clips: Sequence[Clip], maker: Maker) -> Iterator[Made | tuple[str, ClipError]]:
        """Each clip with its frames, or its id and why it has none; made in the maker's thread."""
        for number, share in groupby(clips, key=lambda clip: self._page_of[clip.clip_id]):
            page = self.pages[number]
            # Of one part alone: with it goes what was read of its proxies.
            frames = Frames(self._task.annotate.store, page.unit, maker.decoder, maker.fetcher)
            for clip in share:
                spent = frames.seconds
                shown = shown_to(self._stage, clip, frames, page.known, self._poison, page.before)
                maker.seconds += frames.seconds - spent
                frames.forget()
                yield (clip.clip_id, shown) if isinstance(shown, ClipError) else shown

    def commit(self, number: int) -> Done:
        """Writes the annotation of a full part."""
        page = self.pages[number]
        failed = self._task.annotate.commit(self._task.planned, page.unit, page.clips, page.kept, page.rows)
        self._written.add(number)
        units = tuple(p.unit for n, p in enumerate(self.pages) if n not in self._written)
        video_s = sum(clip.duration_s for clip in page.clips)
        counts = {"clips": len(page.clips), "video_s": video_s, "failed": failed}
        return Done(counts, self._seconds(), self._flowed(), Line(units) if units else None)

    def _seconds(self) -> dict[str, float]:
        """CPU seconds since the last part was committed."""
        cpu_s, frames_s = time.thread_time(), sum(maker.seconds for maker in self._makers)
        spent = {self._stage.name: cpu_s - self._cpu_s, "frames": frames_s - self._frames_s}
        self._cpu_s, self._frames_s = cpu_s, frames_s
        return spent

    def _figures(self) -> dict[str, float]:
        watched = self.watch.figures() if self._stage.gpus else {}
        own = {"stage_s": time.monotonic() - self._began, "frames_wait_s": self._waited_s}
        return {**own, **watched, **self._stage.tally(self._model)}

    def _flowed(self) -> dict[str, float]:
        """What the engine has done since the last part was committed, and how long it waited."""
        now = self._figures()
        since = {name: value - self._told.get(name, 0.0) for name, value in now.items()}
        self._told = now
        return since


def answered(
    stage: Stage,
    model: Any,
    source: Ahead[Made | tuple[str, ClipError]] | Dealt[Made | tuple[str, ClipError]],
) -> Iterator[tuple[str, Row | ClipError]]:
    """Each clip's id and answer, in any order; where the stage raises, the clips that it was at are asked alone."""
    at_work: dict[str, Made] = {}
    faults: list[tuple[str, ClipError]] = []

    def fed() -> Iterator[Made]:
        for one in source:
            if isinstance(one[1], ClipError):
                faults.append((str(one[0]), one[1]))
                continue
            clip, shown = one
            assert isinstance(clip, Clip)
            at_work[clip.clip_id] = clip, shown
            yield clip, shown

    while True:
        try:
            for clip_id, answer in stage.measure_stream(model, fed()):
                del at_work[clip_id]
                yield clip_id, answer
                yield from _emptied(faults)
            break
        except StageDied:
            raise
        except Exception:
            if source.error is not None or not at_work:
                raise
        yield from _emptied(faults)
        for clip_id in list(at_work):
            yield clip_id, _alone(stage, model, at_work.pop(clip_id))
    yield from _emptied(faults)
    for clip_id in at_work:
        yield clip_id, ClipError(f"{stage.name} gave no answer for it")


def _emptied(faults: list[tuple[str, ClipError]]) -> Iterator[tuple[str, ClipError]]:
    while faults:
        yield faults.pop(0)


def _alone(stage: Stage, model: Any, one: Made) -> Row | ClipError:
    """The answer for one clip; whatever the stage raises beside StageDied is its error."""
    try:
        ((_, answer),) = stage.measure_stream(model, iter([one]))
    except StageDied:
        raise
    except Exception as error:
        return ClipError(f"{type(error).__name__}: {error}")
    return answer
