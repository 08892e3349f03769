"""Stages over the clips of a part, one by one: each clip's frames are fetched once and shown to every stage."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.clip import CLIPS, Clip
from pipeline.frames import PROXY, Decoder, Limits, Sample, VideoIndex, batch_from_samples, thinned
from pipeline.ingest import Hands
from pipeline.reasons import MediaError, Reason
from pipeline.runner import Done
from pipeline.scan import Span, read_proxy
from pipeline.sources import Fetcher
from pipeline.stage import ClipError, FrameBatch, FrameSpec, Row, Stage, StageDied
from pipeline.store import Entry, Failure, Store

Answers = dict[str, Row | ClipError]
"""What a stage says of clips, by clip id."""


@dataclass(frozen=True)
class Planned:
    """A stage of this run, and the fingerprint that covers it and all it reads."""

    stage: Stage
    fingerprint: str

    @property
    def step(self) -> str:
        return f"annotations/{self.stage.name}@{self.fingerprint}"


@dataclass(frozen=True)
class Unit:
    """One part of the clips table, and where the frames of its videos are."""

    name: str
    clips_path: str
    videos: tuple[Mapping[str, Any], ...]
    proxies: tuple[tuple[str, Span], ...]
    todo: tuple[str, ...]
    """Names of the stages to run; the others' columns are read when one of these requires them."""
    retry: bool = False
    """Measure again only the rows that failed, and keep the others."""


def schema(stage: Stage) -> pa.Schema:
    """An annotation file's columns: clip_id, the stage's own, and the row's error."""
    errors = [pa.field("error_reason", pa.string()), pa.field("error", pa.string())]
    return pa.schema([pa.field("clip_id", pa.string()), *stage.columns, *errors])


@dataclass
class Bench(Hands):
    """What an annotating worker holds: a decoder, a place for remote files, and the stages' models."""

    models: dict[str, Any]


@dataclass(frozen=True)
class Annotate:
    """Runs stages (in an order in which each follows those it requires) over units of clips."""

    store: Store
    stages: tuple[Planned, ...]
    read: tuple[Planned, ...] = ()
    """Stages that are done and whose columns these require."""
    limits: Limits = field(default_factory=Limits)
    label: str = "annotate"
    backend: str = "pyav"
    """Which decoder reads frames that the proxy does not have."""

    def open(self) -> Bench:
        models = {planned.stage.name: planned.stage.load() for planned in self.stages}
        return Bench(Decoder(self.limits, self.backend), Fetcher(), models)

    def name(self, unit: Unit) -> str:
        return unit.name

    def run(self, state: Bench, unit: Unit, poison: Mapping[str, int]) -> Iterator[str | Done]:
        clips = [Clip(**row) for row in self.store.table(unit.clips_path, CLIPS.names).to_pylist()]
        todo = [planned for planned in self.stages if planned.stage.name in unit.todo]
        known = self.known(unit, todo)
        frames = Frames(self.store, unit, state.decoder, state.fetcher)
        clock: dict[str, float] = {}
        kept = self.kept(unit, todo)
        before = {planned.stage.name: self.before(unit, planned) for planned in todo}
        rows: dict[str, Answers] = {planned.stage.name: {} for planned in todo}
        for clip in clips:
            yield clip.clip_id
            frames.forget()
            for planned in todo:
                name = planned.stage.name
                answer: Row | ClipError | None = kept[name].get(clip.clip_id)
                if answer is None:
                    began = time.thread_time() - frames.seconds  # the making of frames has a line of its own
                    answer = rows[name][clip.clip_id] = _answer(
                        planned.stage, state.models[name], clip, frames, known, poison, before[name]
                    )
                    clock[name] = clock.get(name, 0.0) + time.thread_time() - frames.seconds - began
                known.setdefault(name, {})[clip.clip_id] = answer
        failed = 0
        for planned in todo:
            failed += self.commit(planned, unit, clips, kept[planned.stage.name], rows[planned.stage.name])
        clock["frames"] = frames.seconds
        seconds = sum(clip.duration_s for clip in clips)
        yield Done({"clips": len(clips), "video_s": seconds, "failed": failed}, clock)

    def known(self, unit: Unit, todo: Sequence[Planned]) -> dict[str, Answers]:
        """Answers of stages that are done already and that a stage of `todo` requires; on a retry, the last ones of
        `todo` too."""
        wanted = {name for planned in todo for name in planned.stage.requires}
        own = {planned.stage.name for planned in todo}
        wanted = wanted | own if unit.retry else wanted - own
        return {
            planned.stage.name: self._answers(planned, unit)
            for planned in (*self.read, *self.stages)
            if planned.stage.name in wanted
        }

    def kept(self, unit: Unit, todo: Sequence[Planned]) -> dict[str, dict[str, Row]]:
        """On a retry, the rows of each stage that neither failed nor lacked anything the last time."""
        if not unit.retry:
            return {planned.stage.name: {} for planned in todo}
        kept: dict[str, dict[str, Row]] = {}
        for planned in todo:
            again = self.before(unit, planned)
            answers = self._answers(planned, unit).items()
            kept[planned.stage.name] = {
                clip_id: answer
                for clip_id, answer in answers
                if clip_id not in again and not isinstance(answer, ClipError)
            }
        return kept

    def before(self, unit: Unit, planned: Planned) -> dict[str, Failure]:
        """On a retry, what failed or was lacking the last time, by clip id."""
        entry = self.store.entry(planned.step, unit.name) if unit.retry else None
        return {one.item: one for one in (*entry.failures, *entry.partial)} if entry is not None else {}

    def _answers(self, planned: Planned, unit: Unit) -> Answers:
        """What the ledger has of a stage, by clip id."""
        entry = self.store.entry(planned.step, unit.name)
        if entry is None:
            return {}
        names, output = planned.stage.columns.names, entry.outputs[0]
        answers: Answers = {}
        for row in self.store.table(output.path, sha256=output.sha256).to_pylist():
            own = {name: row[name] for name in names}
            reason = row["error_reason"]
            answers[row["clip_id"]] = own if reason is None else ClipError(row["error"], Reason(reason), own)
        return answers

    def commit(
        self,
        planned: Planned,
        unit: Unit,
        clips: Sequence[Clip],
        kept: Mapping[str, Row],
        rows: Mapping[str, Row | ClipError],
    ) -> int:
        """Writes one stage's annotation of the unit; gives the number of failed rows."""
        last = self.store.last(planned.step, unit.name, unit.retry)
        plain: list[dict[str, Any]] = []
        failures: list[Failure] = []
        partial: list[Failure] = []

        def noted(clip: Clip, error: ClipError) -> Failure:
            return Failure(clip.clip_id, planned.stage.name, str(error.reason), error.message, last.attempt)

        for clip in clips:
            answer = kept.get(clip.clip_id) or rows[clip.clip_id]
            if isinstance(answer, ClipError):
                failures.append(noted(clip, answer))
                error = {"error_reason": str(answer.reason), "error": answer.message}
                plain.append({**answer.known, "clip_id": clip.clip_id, **error})
            else:
                plain.append({"clip_id": clip.clip_id, **answer})
                lack = planned.stage.lacks(answer)
                partial += [noted(clip, lack)] if lack is not None else []
        table = pa.Table.from_pylist(plain, schema=schema(planned.stage))
        output = self.store.put_table(f"{planned.step}/{unit.name}{last.suffix}.parquet", table)
        counts = {"clips": len(clips), "failed": len(failures)}
        entry = Entry(planned.step, unit.name, (output,), counts, tuple(failures), tuple(partial))
        self.store.record(entry)
        return len(failures)


def _answer(
    stage: Stage,
    model: Any,
    clip: Clip,
    frames: Frames,
    known: Mapping[str, Mapping[str, Row | ClipError]],
    poison: Mapping[str, int],
    before: Mapping[str, Failure],
) -> Row | ClipError:
    made = shown_to(stage, clip, frames, known, poison, before)
    return made if isinstance(made, ClipError) else measured(stage, model, *made)


def measured(stage: Stage, model: Any, clip: Clip, shown: FrameBatch | None) -> Row | ClipError:
    """The stage's answer for one clip.

    Whatever it raises beside StageDied becomes the clip's error: a stage may wrap any library, and a clip that trips
    one must cost neither its neighbours nor the job. `pipeline.stream` does the same for clips measured together.
    """
    try:
        (answer,) = stage.measure_batch(model, [clip], [shown])
    except StageDied:
        raise
    except Exception as error:
        return ClipError(f"{type(error).__name__}: {error}")
    return answer


def shown_to(
    stage: Stage,
    clip: Clip,
    frames: Frames,
    known: Mapping[str, Mapping[str, Row | ClipError]],
    poison: Mapping[str, int],
    before: Mapping[str, Failure],
) -> tuple[Clip, FrameBatch | None] | ClipError:
    """The clip with the rows that the stage requires and what it failed of `before`, and its frames.

    An error where one of these is missing.
    """
    try:
        if clip.clip_id in poison:
            raise ClipError(f"{poison[clip.clip_id]} workers died on it", Reason.WORKER_DIED)
        upstream = _upstream(stage, clip, known)
        shown = frames.of(clip, stage.frames) if stage.frames else None
    except ClipError as error:
        return error
    except MediaError as error:
        return ClipError(error.message, error.reason)
    last = before.get(clip.clip_id)
    attempt, failed = (last.attempts + 1, last.reason) if last is not None else (1, "")
    return dataclasses.replace(clip, upstream=upstream, attempt=attempt, failed=failed), shown


def _upstream(stage: Stage, clip: Clip, known: Mapping[str, Mapping[str, Row | ClipError]]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for name in stage.requires:
        answer = known.get(name, {}).get(clip.clip_id)
        if answer is None or isinstance(answer, ClipError):
            columns = stage.fallen(name, answer.known) if answer is not None else {}
            raise ClipError(
                f"{stage.name} needs the columns of {name}, which failed for this clip", known=columns
            )
        rows[name] = answer
    last = known.get(stage.name, {}).get(clip.clip_id)
    if last is not None:
        rows[stage.name] = last.known if isinstance(last, ClipError) else last
    return rows


class Frames:
    """The frames of a unit's clips: from the proxy where it has them, else decoded; each made once a clip."""

    def __init__(self, store: Store, unit: Unit, decoder: Decoder, fetcher: Fetcher) -> None:
        self._store = store
        self._unit = unit
        self._decoder = decoder
        self._fetcher = fetcher
        self._videos = {video["video_id"]: video for video in unit.videos}
        self._samples: dict[str, dict[int, list[Sample]]] = {}
        """By proxy file and layer: only of the files that the clips now at hand lie in."""
        self._made: dict[tuple[str, FrameSpec], FrameBatch] = {}
        self.seconds = 0.0
        """CPU seconds of this thread spent on frames."""

    def forget(self) -> None:
        """Drops the frames of the clips before."""
        self._made.clear()

    def of(self, clip: Clip, spec: FrameSpec) -> FrameBatch:
        key = (clip.clip_id, spec)
        if key not in self._made:
            began = time.thread_time()
            self._made[key] = self._make(clip, spec)
            self.seconds += time.thread_time() - began
        return self._made[key]

    def _make(self, clip: Clip, spec: FrameSpec) -> FrameBatch:
        span = (clip.start_frame, clip.end_frame)
        video = self._videos[clip.video_id]
        index = VideoIndex.from_row(video)
        layer = dataclasses.replace(spec, most=None)
        if layer in PROXY:
            reach = clip.end_frame - (1 if spec.pair else 0)  # both frames of a pair lie in the clip
            samples = self._layer(clip, PROXY.index(layer))
            inside = [sample for sample in samples if clip.start_frame <= sample.frame < reach]
            if inside:
                return batch_from_samples(thinned(inside, spec.most), spec, index, span)
        return self._decoder.read(self._fetcher.source(video), index, [span], spec)[0]

    def _layer(self, clip: Clip, layer: int) -> list[Sample]:
        """One layer's samples of the proxies that the clip lies in; the others are let go."""
        near = {path: span for path, span in self._unit.proxies if _overlaps(span, clip)}
        self._samples = {path: self._samples[path] for path in near if path in self._samples}
        for path, span in near.items():
            if path not in self._samples:
                self._samples[path] = self._read(path, span)
        return [sample for path in near for sample in self._samples[path].get(layer, [])]

    def _read(self, path: str, span: Span) -> dict[int, list[Sample]]:
        samples: dict[int, list[Sample]] = {}
        table = read_proxy(self._store, path, span, self._decoder, self._fetcher)
        for row in table.drop_columns("video_id").to_pylist():
            samples.setdefault(row["layer"], []).append(Sample(**row))
        return samples


def _overlaps(span: Span, clip: Clip) -> bool:
    return span.video_id == clip.video_id and span.start < clip.end_frame and clip.start_frame < span.end
