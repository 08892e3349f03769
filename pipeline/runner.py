"""The same worker in this process or on Ray actors: units in, counts out.

A unit is a name and a few plain values; the worker writes its files and its ledger entry itself, so what a dead driver
had finished stays finished. One unit is in flight a worker and Ray's own retries are off: a crash costs one unit one
attempt and no neighbour anything. A worker names each item before it touches it; the item that was named when the
worker died is put aside after `MAX_DEATHS` deaths and recorded as failed, and its neighbours go on. A worker that is
at many items at once names them together (`Several`), and takes them apart once it has died of them.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pipeline.stage import WorkerSpent

MAX_DEATHS = 3
"""Workers that one item may take with it before it is recorded as failed."""
CLOSE_S = 5.0
"""What an idle worker gets to end its child processes and remove its scratch files."""
START_S = 900.0
"""How long a full cluster is waited for before the run gives up."""
SILENCE_S = 6 * 3600.0
"""Longer than anything that is bounded elsewhere may take (a chunk on the slowest allowed decoder, a large remote file
on a slow line), so that it never decides an outcome."""

U = TypeVar("U")
V = TypeVar("V", contravariant=True)


class Several(str):
    """A name for items that a worker is at together: after one death of them they come in `poison`."""

    __slots__ = ()


@dataclass(frozen=True)
class Done:
    """What a worker says at the end of a unit, or of a part of one."""

    counts: Mapping[str, float] = field(default_factory=dict)
    """What was done, by name: `clips`, `failed`, ..."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """CPU or wall seconds by label, for the report's timings; never part of a run's output."""
    flow: Mapping[str, float] = field(default_factory=dict)
    """What an engine has done and how long it waited (pipeline.stream); for the report's timings, too."""
    left: Any = None
    """What of the unit is still to be done, where that is not all or nothing: another unit."""


class Task(Protocol[V]):
    """One step of a run, picklable: what a worker loads once, and what it does with a unit.

    A task may also have `cpus` (int, else 1), `gpus` (float, else 0) and `python` (an interpreter's path, else that of
    the command): what a worker of it needs on Ray (`actor_options`); and `fitted`, which gives it as it is done by
    workers with so many CPUs each.
    """

    @property
    def label(self) -> str:
        """What messages call it."""
        ...

    def open(self) -> Any:
        """Loads what every unit needs; closed with `close` if it has one."""
        ...

    def name(self, unit: V) -> str:
        """The unit's name, by which deaths are counted."""
        ...

    def run(self, state: Any, unit: V, poison: Mapping[str, int]) -> Iterator[str | Done]:
        """Does one unit: yields each item's id before touching it, then Done.

        `poison` holds worker deaths by name: of items with MAX_DEATHS or more, which are not touched but recorded as
        failed; and of every `Several` with one or more, whose items are touched with care.
        """
        ...


@dataclass(frozen=True)
class Pool:
    """Where units run. `workers` = 0 is this process; `ray_address` None is a Ray of this machine's own."""

    workers: int | None = 0
    """None: one a CPU of the cluster."""
    ray_address: str | None = None
    silence_s: float = SILENCE_S
    """How long a worker on Ray may say nothing before it is taken for hung and killed."""


def run(
    task: Task[U],
    units: Sequence[U],
    pool: Pool,
    observe: Callable[[U, Done], None] = lambda unit, done: None,
) -> None:
    """Does every unit, calling `observe` in this process as each one ends (in any order).

    Raises WorkerError or ClusterError; in this process, whatever the task raises.
    """
    if not units:
        return
    if pool.workers == 0:
        _run_here(task, units, observe)
    else:
        _RayRun(task, units, pool, observe).run()


class Deaths:
    """How many workers have died of each item, by unit."""

    def __init__(self) -> None:
        self._of: dict[str, Counter[str]] = {}

    def add(self, unit: str, item: str) -> int:
        """One more; gives their number."""
        counted = self._of.setdefault(unit, Counter())
        counted[item] += 1
        return counted[item]

    def move(self, unit: str, left: str) -> None:
        """What was counted for a unit holds for what is left of it."""
        if unit in self._of:
            self._of[left] = self._of[unit]

    def poison(self, unit: str) -> dict[str, int]:
        """What the unit's next worker is told."""
        counted: Mapping[str, int] = self._of.get(unit, {})
        return {item: n for item, n in counted.items() if isinstance(item, Several) or n >= MAX_DEATHS}


def _run_here(task: Task[U], units: Sequence[U], observe: Callable[[U, Done], None]) -> None:
    """Does the units in this process, in order; what was opened is opened anew when it is spent."""
    task = fitted(task, len(os.sched_getaffinity(0)))
    deaths = Deaths()
    waiting = deque(units)
    state = task.open()
    try:
        while waiting:
            unit, item = waiting.popleft(), ""
            try:
                for event in task.run(state, unit, deaths.poison(task.name(unit))):
                    if not isinstance(event, Done):
                        item = event
                        continue
                    observe(unit, event)
                    if event.left is not None:
                        deaths.move(task.name(unit), task.name(event.left))
                        unit = event.left
            except WorkerSpent:
                if deaths.add(task.name(unit), item) >= MAX_DEATHS and not item:
                    raise
                waiting.appendleft(unit)
                close(state)
                state = task.open()
    finally:
        close(state)


def close(state: Any) -> None:
    """Ends what a task opened: child processes, file handles."""
    if hasattr(state, "close"):
        state.close()


class Worker:
    """The body of a Ray actor: opens the task at its first unit, then runs the units that it is handed."""

    def __init__(self, task: Task[Any]) -> None:
        self._task = task
        self._opened: list[Any] = []

    def do(self, unit: Any, poison: Mapping[str, int]) -> Iterator[str | Done]:
        """The task's `run`; ends the process where it is spent."""
        if not self._opened:
            self._opened.append(self._task.open())
        try:
            yield from self._task.run(self._opened[0], unit, poison)
        except WorkerSpent:
            os._exit(os.EX_SOFTWARE)  # as if it had died of the item: the runner starts another

    def here(self) -> None:
        """Answers once the process is up."""

    def close(self) -> None:
        """Ends what the task opened."""
        for state in self._opened:
            close(state)


def fitted(task: Task[U], cpus: int) -> Task[U]:
    """The task as workers with so many CPUs each do it."""
    fit: Callable[[int], Task[U]] = getattr(task, "fitted", lambda _: task)
    return fit(max(1, cpus))


def actor_options(task: Task[Any], most_cpus: int) -> dict[str, Any]:
    """What Ray is asked for a worker of this task: CPUs, as far as there are so many, GPUs, and an interpreter."""
    cpus = max(1, min(getattr(task, "cpus", 1), most_cpus))
    options: dict[str, Any] = {"num_cpus": cpus, "max_restarts": 0, "max_task_retries": 0}
    if gpus := getattr(task, "gpus", 0):
        options["num_gpus"] = gpus
    if python := getattr(task, "python", ""):
        options["runtime_env"] = {"py_executable": python}
    return options


class WorkerError(Exception):
    """A worker raised: a fault of the program or of the storage, not of an item; the run stops.

    Its cause is what the worker raised.
    """


@dataclass
class _Flight(Generic[U]):
    """A unit that an actor is at."""

    actor: Any
    unit: U
    events: Any
    """Ray's stream of what the actor says."""
    item: str | None
    """What it named last."""
    heard: float
    """When it last said something, by time.monotonic."""


class _RayRun(Generic[U]):
    """One step on Ray actors: a fixed number of them, one unit in flight each, replaced when they die.

    Units go only to actors that have started, so that a cluster with less room than workers asked for still ends.
    """

    def __init__(
        self, task: Task[U], units: Sequence[U], pool: Pool, observe: Callable[[U, Done], None]
    ) -> None:
        from pipeline.cluster import connect, cpus, lost, room

        self._lost = lost
        self._ray = connect(pool.ray_address, pool.workers or len(os.sched_getaffinity(0)))
        faults = self._ray.exceptions
        self._died = (
            faults.RayActorError,
            faults.OutOfMemoryError,
            faults.NodeDiedError,
            faults.ObjectLostError,
        )
        self._silence_s = pool.silence_s
        self._waiting = deque(units)
        self._cpus = cpus()
        self._workers = min(pool.workers or self._cpus, len(units))
        gpus = getattr(task, "gpus", 0)
        share = room(gpus) if gpus else min(room(0), self._cpus // self._workers)
        self._task = fitted(task, share)
        self._observe = observe
        self._deaths = Deaths()
        self._stillborn = 0
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._flights: dict[Any, _Flight[U]] = {}

    def run(self) -> None:
        """Does all units. Raises WorkerError."""
        try:
            for _ in range(self._workers):
                self._start()
            heard = time.monotonic()
            while self._waiting or self._flights:
                while self._idle and self._waiting:
                    self._launch(self._idle.pop(), self._waiting.popleft())
                if self._next() or self._flights:
                    heard = time.monotonic()
                elif time.monotonic() - heard > START_S:
                    raise WorkerError(f"{self._task.label}: no worker could start: is the cluster full?")
        finally:
            self._shut_down()

    def _shut_down(self) -> None:
        """Ends the actors: the idle ones tidy up first, those in the middle of a unit are killed."""
        if self._lost(self._ray):
            return  # they end by themselves when Ray is gone
        closing = [actor.close.remote() for actor in self._idle]
        try:
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S, fetch_local=False)
        finally:
            busy = [flight.actor for flight in self._flights.values()]
            for actor in (*self._idle, *self._starting.values(), *busy):
                self._ray.kill(actor)

    def _start(self) -> None:
        """Asks for one more actor; it is idle once it has answered."""
        actor = self._ray.remote(Worker).options(**actor_options(self._task, self._cpus)).remote(self._task)
        self._starting[actor.here.remote()] = actor

    def _launch(self, actor: Any, unit: U) -> None:
        """Hands a unit to an idle actor."""
        poison = self._deaths.poison(self._task.name(unit))
        # One unread event at most: the worker waits at each name until it is read here, so that the item which kills
        # it is always the last one heard.
        options = {"num_returns": "streaming", "_generator_backpressure_num_objects": 1}
        events = actor.do.options(**options).remote(unit, poison)
        self._flights[events] = _Flight(actor, unit, events, None, time.monotonic())

    def _next(self) -> bool:
        """Waits for something to happen and deals with it; False when nothing did."""
        if gone := self._lost(self._ray):
            raise WorkerError(f"{self._task.label}: Ray on this machine has ended ({gone})")
        waited = [*self._starting, *self._flights]
        ready, _ = self._ray.wait(waited, num_returns=1, timeout=min(5.0, self._silence_s), fetch_local=False)
        for one in ready:
            if one in self._starting:
                self._started(one)
            else:
                self._event(self._flights[one])
        for flight in list(self._flights.values()):
            if time.monotonic() - flight.heard > self._silence_s:
                self._ray.kill(flight.actor)
                self._replace(flight)
        return bool(ready)

    def _started(self, hello: Any) -> None:
        """An actor that has answered is idle; in place of one that died first another starts. Raises WorkerError once
        MAX_DEATHS have."""
        actor = self._starting.pop(hello)
        try:
            self._ray.get(hello)
        except self._died as error:
            self._stillborn += 1
            if self._stillborn >= MAX_DEATHS:
                said = str(error).strip().split("\n")[0]
                raise WorkerError(
                    f"{self._task.label}: {MAX_DEATHS} workers died before they had begun: {said}"
                ) from None
            self._start()
        else:
            self._idle.append(actor)

    def _event(self, flight: _Flight[U]) -> None:
        """The next thing that a worker says: an item's name, the end of the unit, or its own end."""
        try:
            event = self._ray.get(next(flight.events))
        except StopIteration:
            self._idle.append(self._flights.pop(flight.events).actor)
        except self._died:
            self._replace(flight)
        except self._ray.exceptions.RayTaskError as error:
            raise WorkerError(str(error.cause or error)) from (error.cause or error)
        else:
            flight.heard = time.monotonic()
            if not isinstance(event, Done):
                flight.item = event
                return
            self._observe(flight.unit, event)
            if event.left is not None:
                self._deaths.move(self._task.name(flight.unit), self._task.name(event.left))
                flight.unit = event.left

    def _replace(self, flight: _Flight[U]) -> None:
        """A new actor for one that died; its unit goes back to the head of the queue."""
        del self._flights[flight.events]
        item = flight.item or ""
        if self._deaths.add(self._task.name(flight.unit), item) >= MAX_DEATHS and not item:
            raise WorkerError(
                f"{self._task.label}: {MAX_DEATHS} workers died before they touched an item of unit "
                f"{self._task.name(flight.unit)}: see the Ray logs, or run with --workers 0"
            )
        self._waiting.appendleft(flight.unit)
        self._start()
