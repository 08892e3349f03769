"""One run: its steps in order, each of them resumable, each a function of what the steps before left in the ledger."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from jobs import flow
from jobs.config import Config, ConfigError
from jobs.pointer import Pointer, read_pointer, write_pointer
from jobs.progress import Progress
from pipeline import ingest, runner, scan, shots
from pipeline.annotate import Annotate, Planned
from pipeline.annotate import Unit as AnnotateUnit
from pipeline.clip import VIDEOS
from pipeline.cluster import cpus
from pipeline.runner import Done, Pool
from pipeline.sources import Sources
from pipeline.stage import Stage, fingerprint
from pipeline.store import Entry, Failure, Output, StorageError, Store
from pipeline.stream import Stream, lines
from pipeline.weights import load_catalogue

U = TypeVar("U")
MOST_FOUND = 200_000
"""Entries of the ledger that a command keeps in mind, some 200 MB; those beyond are read whenever they are wanted."""
Counts = Mapping[str, float]


class NotReady(Exception):
    """A step was asked for before the one it builds on: one sentence that names the command to run first."""


@dataclass(frozen=True)
class Part:
    """A part of the clips table."""

    name: str
    output: Output
    """Its file."""
    group: scan.Group
    """Whose videos its clips are of."""


@dataclass(frozen=True)
class Run:
    """A run directory, its settings, and where its work is done.

    Frozen, but what it has read or worked out stays in its `__dict__` (cached properties); `_forget` drops what a step
    may change.
    """

    store: Store
    config: Config
    pool: Pool = field(default_factory=Pool)
    progress: Progress = field(default_factory=Progress)
    did: Counter[str] = field(default_factory=Counter)
    """Units of work done so far, by step: empty when everything was done before."""

    def _forget(self) -> None:
        """Drops what was read of the ledger: it is read again after every step that did something."""
        for name in ("_videos_pointer", "videos", "used", "groups", "parts", "_digests"):
            self.__dict__.pop(name, None)

    @cached_property
    def _found(self) -> dict[tuple[str, str], Entry]:
        """The entries that were found whole, by step and unit: read again after every step that did something."""
        return {}

    def found(self, step: str, unit: str) -> Entry | None:
        """The unit's entry, if it is finished and its files are there in full (Store.entry)."""
        known = self._found.get((step, unit))
        if known is not None:
            return known
        entry = self.store.entry(step, unit)
        if entry is not None and len(self._found) < MOST_FOUND:
            self._found[step, unit] = entry
        return entry

    # --- videos

    def ingest(self, retry: bool = False) -> None:
        """Sources to videos; `retry` probes refused items again."""
        task = ingest.Ingest(self.store, self.config.limits())
        items = Sources(self.config.sources, self.config.ingest.roots, self.config.ingest.path_column).list()
        units = task.units(items)
        self.work(task, task.step, units, "items", lambda unit: len(unit.items), retry)
        entries = [self.entry(task.step, unit.name, "ingest") for unit in units]
        outputs = ingest.merge(self.store, task.step, entries)
        write_pointer(
            self.store, task.step, [unit.name for unit in units], [output.path for output in outputs]
        )
        self._forget()

    @cached_property
    def _videos_pointer(self) -> Pointer:
        """Which files are the videos table. Raises NotReady."""
        try:
            return read_pointer(self.store)
        except FileNotFoundError:
            raise NotReady(
                f"{self.store.root} has no videos yet: run `rushes ingest SOURCE... --out {self.store.root}` first"
            ) from None

    def ingest_failures(self) -> Iterator[Failure]:
        """The items that were refused, as often as they were tried."""
        for unit in self._videos_pointer.units:
            yield from self.entry(self._videos_pointer.step, unit, "ingest").failures

    @cached_property
    def videos(self) -> pa.Table:
        """The run's VIDEOS rows, used and refused, in order of path."""
        pointer = self._videos_pointer
        entries = [self.entry(step, unit, "ingest") for step, unit in pointer.merged]
        known = {output.path: output for entry in entries for output in entry.outputs}
        if not known.keys() >= set(pointer.files):
            raise self.not_ready("ingest")
        return self.store.tables([known[path] for path in pointer.files], VIDEOS)

    @cached_property
    def used(self) -> dict[str, dict[str, Any]]:
        """The used videos by id, in order of id."""
        rows = self.videos.filter(pc.field("status") == "used").sort_by("video_id").to_pylist()
        return {row["video_id"]: row for row in rows}

    def used_columns(self, names: Sequence[str]) -> pa.Table:
        """`video_id` and these columns of the used videos."""
        return self.videos.filter(pc.field("status") == "used").select(["video_id", *names]).combine_chunks()

    # --- shots

    @cached_property
    def _scan(self) -> scan.Scan:
        """The decode pass with the run's settings."""
        settings = self.config
        return scan.Scan(self.store, settings.limits(), settings.precision, settings.ingest.decoder)

    @cached_property
    def _shots(self) -> shots.FindShots:
        """The segmenter with the run's settings."""
        return shots.FindShots(self.store, self.config.segmenter(), self._scan.step)

    @cached_property
    def groups(self) -> list[scan.Group]:
        """The used videos, in groups whose shots are found together."""
        return scan.groups(list(self.used.values()))

    def segment(self, retry: bool = False) -> None:
        """The decode pass, then shots and clips from its signals; `retry` scans again what failed."""
        units = [unit for group in self.groups for unit in group.units]
        self.work(self._scan, self._scan.step, units, "frames", lambda unit: unit.frames, retry)
        self.work(
            self._shots, self._shots.step, self.groups, "videos", lambda group: len(group.videos), retry
        )

    @cached_property
    def parts(self) -> list[Part]:
        """The parts of the clips table, in order, and the group each comes from."""
        found = []
        for group in self.groups:
            entry = self.entry(self._shots.step, group.name, "segment")
            found += [
                Part(output.path.rsplit("/", 1)[-1].removesuffix(".parquet"), output, group)
                for output in entry.outputs
                if output.path.startswith("clips@")
            ]
        return found

    @property
    def signals_step(self) -> str:
        """The ledger's step of the decode pass."""
        return self._scan.step

    @property
    def shots_step(self) -> str:
        """The ledger's step of the run's shots and clips."""
        return self._shots.step

    def proxies(self, group: scan.Group) -> tuple[tuple[str, scan.Span], ...]:
        """Where the proxies of a group's videos are, if they have not been deleted."""
        return tuple((self._scan.proxy_path(span), span) for unit in group.units for span in unit.spans)

    # --- annotations

    def ready(self, names: Sequence[str]) -> None:
        """Asks the named stages that have work left whether they can load. WeightError: one cannot."""
        for planned in self.planned:
            if planned.stage.name in names and self._work_left(planned):
                planned.stage.ready(self.pool.ray_address is None)

    def _work_left(self, planned: Planned) -> bool:
        """Whether a part lacks this stage, as far as the run can tell."""
        try:
            return any(self.found(planned.step, part.name) is None for part in self.parts)
        except (NotReady, StorageError):  # a step before this one is to be done, or a file of it is gone
            return True

    @cached_property
    def planned(self) -> tuple[Planned, ...]:
        """Every stage of the run with its fingerprint, each after those that it requires."""
        chosen = [stage.pinned() for stage in chosen_stages(self.config)]
        catalogue = load_catalogue()
        prints: dict[str, str] = {}
        planned = []
        for stage in chosen:
            inputs = {"segment": self._shots.fingerprint, "proxy": self._scan.fingerprint}
            inputs |= {f"weights.{name}": catalogue[name].sha256 for name in stage.weights}
            inputs |= {name: prints[name] for name in stage.requires}
            prints[stage.name] = stage.fingerprint(inputs)
            planned.append(Planned(stage, prints[stage.name]))
        return tuple(planned)

    def annotate(self, names: Sequence[str], label: str = "annotate", retry: bool = False) -> None:
        """Runs the named stages over every part that does not have them yet."""
        stages = [planned for planned in self.planned if planned.stage.name in names]
        # One that is at many clips at once has workers of its own: its model may fill a GPU.
        for _, chosen in groupby(stages, key=lambda one: one.stage.streams and one.stage.name):
            self._annotate(list(chosen), label, retry)

    def _annotate(self, chosen: Sequence[Planned], label: str, retry: bool) -> None:
        """Runs stages that share one pass over the clips: any that do not stream, or one that does."""
        needed = {name for planned in chosen for name in planned.stage.requires}
        read = tuple(one for one in self.planned if one not in chosen and one.stage.name in needed)
        settings = self.config
        task = Annotate(self.store, tuple(chosen), read, settings.limits(), label, settings.ingest.decoder)
        units = [
            self._unit(part, todo, retry)
            for part in self.parts
            if (todo := self._stages_left(part, chosen, retry))
        ]
        for unit in units:
            for planned in read:
                self.entry(planned.step, unit.name, "annotate")  # says what to run first where it is missing
        sizes = {part.name: part.output.rows for part in self.parts}
        rows = [sizes[unit.name] for unit in units]
        if chosen[0].stage.streams:
            name = chosen[0].stage.name
            self._work(Stream(task), lines(units, rows), "clips", sum(rows), name)
        else:
            self._work(task, units, "clips", sum(rows), label)
        for planned in chosen:
            self._describe(planned)

    def _stages_left(self, part: Part, chosen: Sequence[Planned], retry: bool) -> tuple[str, ...]:
        """Names of the stages that this part does not have yet, or (on a retry) that failed on a clip of it."""
        return tuple(one.stage.name for one in chosen if self._wanted(one.step, part.name, retry))

    def _unit(self, part: Part, todo: tuple[str, ...], retry: bool) -> AnnotateUnit:
        """A part as a unit of work for the stages `todo`."""
        proxies = self.proxies(part.group)
        return AnnotateUnit(part.name, part.output.path, part.group.videos, proxies, todo, retry)

    def annotation_entries(self) -> Iterator[Entry]:
        """The entries of every stage and part that are done."""
        try:
            parts = self.parts
        except NotReady:
            return
        for planned in self.planned:
            for part in parts:
                entry = self.found(planned.step, part.name)
                if entry is not None:
                    yield entry

    def annotation(self, planned: Planned, part: Part) -> Output:
        """The file of one stage for one part."""
        command = "caption" if planned.stage.name in caption_names() else "annotate"
        return self.entry(planned.step, part.name, command).outputs[0]

    def snapshot(self, columns: Sequence[str]) -> str:
        """A fingerprint of all clips and of the annotations that hold these columns, as they are now."""
        planned = [one for one in self.planned if set(columns) & set(one.stage.columns.names)]
        clips = fingerprint([part.output.sha256 for part in self.parts])
        return fingerprint(clips, [self._digest(one) for one in planned])

    def _digest(self, planned: Planned) -> str:
        """A fingerprint of one stage's annotation of all parts."""
        if planned.step not in self._digests:
            digests = [self.annotation(planned, part).sha256 for part in self.parts]
            self._digests[planned.step] = fingerprint(digests)
        return self._digests[planned.step]

    @cached_property
    def _digests(self) -> dict[str, str]:
        """What `_digest` has found, by step."""
        return {}

    def made(self, name: str, inputs: str) -> Entry | None:
        """What `once` has made of these inputs, if it has."""
        return self.store.entry(f"{name}@{inputs}", "all")

    def once(self, name: str, inputs: str, make: Callable[[], Iterator[tuple[pa.Table, Counts]]]) -> Entry:
        """A step over the whole table, done in this process and once for the same inputs.

        `make` gives the tables of its files in order, each with its counts; they land in `name@inputs/`.
        """
        entry = self.made(name, inputs)
        if entry is None:
            step = f"{name}@{inputs}"
            began = time.monotonic()
            outputs: list[Output] = []
            counts: dict[str, float] = {}
            for number, (table, found) in enumerate(make()):
                outputs.append(self.store.put_table(f"{step}/part-{number:05d}.parquet", table))
                counts = {key: counts.get(key, 0) + found.get(key, 0) for key in {*counts, *found}}
            entry = Entry(step, "all", tuple(outputs), counts)
            self.store.record(entry)
            self.did[name] += 1
            self._note_times(name.split("/")[0], time.monotonic() - began, [Done(counts)])
        return entry

    def _describe(self, planned: Planned) -> None:
        """Writes the annotation's stage.json: what made it."""
        entries = [e for part in self.parts if (e := self.found(planned.step, part.name)) is not None]
        stage = planned.stage
        about = {
            "stage": stage.name,
            "version": stage.version,
            "settings": stage.settings(),
            "weights": {name: load_catalogue()[name].sha256 for name in stage.weights},
            "requires": {p.stage.name: p.fingerprint for p in self.planned if p.stage.name in stage.requires},
            "clips": sum(entry.counts["clips"] for entry in entries),
            "failed": sum(entry.counts["failed"] for entry in entries),
        }
        text = json.dumps(about, indent=1, sort_keys=True, ensure_ascii=False)
        self.store.put_text(f"{planned.step}/stage.json", text + "\n")

    # --- helpers

    def work(
        self,
        task: Any,
        step: str,
        units: Sequence[Any],
        count: str,
        size: Callable[[Any], float],
        retry: bool,
        label: str = "",
    ) -> None:
        """Does the units of a step that are not done; on a retry those, too, in which something failed.

        `task` is a Task of the runner, `step` its name in the ledger. The units are frozen dataclasses with a field
        `retry`, which is set to this `retry`. The bar shows the sum of Done.counts[`count`]; `size` is a unit's amount
        of it. `label` is what the bar and the timings call it, the task's own where it is empty.
        """
        todo: list[Any] = [
            replace(unit, retry=retry) for unit in units if self._wanted(step, task.name(unit), retry)
        ]
        self._work(task, todo, count, sum(map(size, todo)), label or task.label)

    def _wanted(self, step: str, unit: str, retry: bool) -> bool:
        """Whether the unit is not done, or (on a retry) something in it failed or is lacking."""
        entry = self.found(step, unit)
        return entry is None or (retry and bool(entry.failures or entry.partial))

    def entry(self, step: str, unit: str, command: str) -> Entry:
        """The entry of a unit that must be done; NotReady names the command that does it."""
        entry = self.found(step, unit)
        if entry is None:
            raise self.not_ready(command)
        return entry

    def not_ready(self, command: str) -> NotReady:
        """What to say when a step before is missing."""
        root = self.store.root
        return NotReady(f"{root} is not ready for this: run `rushes {command} {root}` first")

    def _work(self, task: Any, units: Sequence[U], count: str, total: float, label: str) -> None:
        """Does the units with live progress, and notes where the time went. `total` is what the bar ends at."""
        if not units:
            self.progress.nothing(label)
            return
        began = time.monotonic()
        notes: list[Done] = []
        flowed: Counter[str] = Counter()
        with self.progress.bar(label, total, count) as bar:

            def observe(_: U, done: Done) -> None:
                self.did[label] += 1
                notes.append(done)
                if done.flow:
                    flowed.update(done.flow)
                    bar.note(", ".join(flow.said(flowed, time.monotonic() - began)))
                bar.update(done.counts.get(count, 0))

            try:
                runner.run(task, units, self.pool, observe)
            finally:
                self._forget()
                self._found.clear()
                self._note_times(label, time.monotonic() - began, notes)
        if advice := flow.advice(label, flowed):
            self.progress.say(f"rushes: {advice}")

    def _note_times(self, label: str, wall_s: float, notes: Sequence[Done]) -> None:
        """Adds a step's timings to `timings/`: the one place of a run where clocks show."""
        seconds: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        flowed: Counter[str] = Counter()
        for done in notes:
            seconds.update(done.seconds)
            counts.update(done.counts)
            flowed.update(done.flow)
        workers = cpus() if self.pool.workers is None else self.pool.workers
        about: dict[str, Any] = {"label": label, "wall_s": wall_s, "workers": workers}
        about |= {"seconds": dict(seconds), "counts": dict(counts), "flow": dict(flowed)}
        self.store.put_text(
            f"timings/{time.time_ns()}-{label.replace(' ', '-')}.json",
            json.dumps(about, sort_keys=True) + "\n",
        )


def all_stages(captioner: str = "embedded") -> tuple[Stage, ...]:
    """Every stage of a run with this captioner, with default settings, each after those that it requires."""
    import captioner as captioning
    import filters

    model = captioner != "embedded"
    return (*filters.STAGES, *(captioning.MODEL_STAGES if model else captioning.STAGES))


def caption_names() -> tuple[str, ...]:
    """The stages that `rushes caption` runs, whoever captions; all others belong to `rushes annotate`."""
    import captioner

    return tuple(dict.fromkeys(stage.name for stage in (*captioner.STAGES, *captioner.MODEL_STAGES)))


def chosen_stages(config: Config) -> list[Stage]:
    """The stages that the settings name (all by default) and those that these and dedup require, in order."""
    from filters import dedup

    stages = {stage.name: stage for stage in all_stages(config.captioner)}
    known = {*stages, *caption_names()}
    unknown = sorted((set(config.stages) | set(config.stage)) - known)
    if unknown:
        raise ConfigError(f"unknown stage '{unknown[0]}'; known are {', '.join(sorted(known))}")
    if asleep := sorted(set(config.stages) - set(stages)):
        raise ConfigError(f'the stage \'{asleep[0]}\' needs captioner = "vllm" or "server"')
    # What a stage requires may depend on its settings.
    stages = {name: _with_engine(config.configured(stage), config) for name, stage in stages.items()}
    wanted = set(config.stages) or set(stages)
    wanted |= {n for n, stage in stages.items() if set(dedup.COLUMNS) & set(stage.columns.names)}
    for name in reversed(stages):
        if name in wanted:
            wanted |= set(stages[name].requires)
    return [stage for name, stage in stages.items() if name in wanted]


def _with_engine(stage: Stage, config: Config) -> Stage:
    """A vision-language model's stage with the engine that the captioner is; any other as it is. ConfigError: its own
    settings name another engine."""
    from captioner.vlm import VlmCaptioner

    if not isinstance(stage, VlmCaptioner):
        return stage
    if config.stage.get(stage.name, {}).get("engine", config.captioner) != config.captioner:
        raise ConfigError(f"stage.vlm.engine is '{stage.engine}', but captioner is '{config.captioner}'")
    return replace(stage, engine=config.captioner)
