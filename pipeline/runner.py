"""The same worker in this process or on Ray actors: units in, counts out.

A unit is a name and a few plain values; the worker writes its files and its ledger entry itself, so what a dead driver
had finished stays finished. One unit is in flight a worker and Ray's own retries are off: a crash costs one unit one
attempt and no neighbour anything. A worker names each item before it touches it; the item that was named when the
worker died is put aside after `MAX_DEATHS` deaths and recorded as failed, and its neighbours go on.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

MAX_DEATHS = 3
"""Workers that one item may take with it before it is recorded as failed."""
ITEM_DEADLINE_S = 900.0
"""Silence after which a worker is taken for hung and killed; decoding has its own, shorter deadlines."""

U = TypeVar("U")


@dataclass(frozen=True)
class Done:
    """What a worker says at the end of a unit."""

    counts: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    """CPU or wall seconds by label, for the report's timings; never part of a run's output."""


class Task(Protocol[U]):
    """One step of a run, picklable: what a worker loads once, and what it does with a unit."""

    @property
    def label(self) -> str: ...
    def open(self) -> Any:
        """Loads what every unit needs; closed with `close` if it has one."""
        ...

    def name(self, unit: U) -> str: ...
    def run(self, state: Any, unit: U, poison: Mapping[str, int]) -> Iterator[str | Done]:
        """Does one unit: yields each item's id before touching it, then Done. Items in `poison` (id: worker deaths)
        are not touched but recorded as failed."""
        ...


@dataclass(frozen=True)
class Pool:
    """Where units run. `workers` = 0 is this process; `ray_address` None is a Ray of this machine's own."""

    workers: int = 0
    ray_address: str | None = None


def run(
    task: Task[U],
    units: Sequence[U],
    pool: Pool,
    observe: Callable[[U, Done], None] = lambda unit, done: None,
) -> None:
    """Does every unit, calling `observe` in this process as each one ends (in any order)."""
    if not units:
        return
    if pool.workers == 0:
        _run_here(task, units, observe)
    else:
        _RayRun(task, units, pool, observe).run()


def _run_here(task: Task[U], units: Sequence[U], observe: Callable[[U, Done], None]) -> None:
    state = task.open()
    try:
        for unit in units:
            for event in task.run(state, unit, {}):
                if isinstance(event, Done):
                    observe(unit, event)
    finally:
        close(state)


def close(state: Any) -> None:
    """Ends what a task opened: child processes, file handles."""
    if hasattr(state, "close"):
        state.close()


class Worker:
    """The body of a Ray actor: opens the task once, then runs the units that it is handed."""

    def __init__(self, task: Task[Any]) -> None:
        self._task = task
        self._state = task.open()

    def do(self, unit: Any, poison: Mapping[str, int]) -> Iterator[str | Done]:
        yield from self._task.run(self._state, unit, poison)


class WorkerError(Exception):
    """A worker raised: a fault of the program or of the storage, not of an item; the run stops."""


@dataclass
class _Flight(Generic[U]):
    actor: Any
    unit: U
    events: Any
    item: str | None
    heard: float


class _RayRun(Generic[U]):
    """One step on Ray actors: a fixed number of them, one unit in flight each, replaced when they die."""

    def __init__(
        self, task: Task[U], units: Sequence[U], pool: Pool, observe: Callable[[U, Done], None]
    ) -> None:
        from pipeline.cluster import connect

        self._ray = connect(pool.ray_address, pool.workers)
        self._task = task
        self._waiting = deque(units)
        self._workers = min(pool.workers, len(units))
        self._observe = observe
        self._deaths: dict[str, Counter[str]] = {}
        self._flights: dict[Any, _Flight[U]] = {}

    def run(self) -> None:
        idle = [self._actor() for _ in range(self._workers)]
        try:
            while self._waiting or self._flights:
                while idle and self._waiting:
                    self._launch(idle.pop(), self._waiting.popleft())
                idle += self._next_events()
        finally:
            for flight in self._flights.values():
                idle.append(flight.actor)
            for actor in idle:
                self._ray.kill(actor)

    def _actor(self) -> Any:
        options: dict[str, Any] = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
        gpus = getattr(self._task, "gpus", 0)
        if gpus:
            options["num_gpus"] = gpus
        return self._ray.remote(Worker).options(**options).remote(self._task)

    def _launch(self, actor: Any, unit: U) -> None:
        poison = {i: n for i, n in self._deaths.get(self._task.name(unit), {}).items() if n >= MAX_DEATHS}
        # One unread event at most: the worker waits at each name until it is read here, so that the item which kills
        # it is always the last one heard.
        options = {"num_returns": "streaming", "_generator_backpressure_num_objects": 1}
        events = actor.do.options(**options).remote(unit, poison)
        flight = _Flight(actor, unit, events, None, time.monotonic())
        self._flights[events] = flight

    def _next_events(self) -> list[Any]:
        """Waits for something to happen; gives back the actors that became idle."""
        ready, _ = self._ray.wait(list(self._flights), num_returns=1, timeout=5.0, fetch_local=False)
        idle = []
        for events in ready:
            flight = self._flights[events]
            try:
                event = self._ray.get(next(events))
            except StopIteration:
                idle.append(self._flights.pop(events).actor)
                continue
            except self._ray.exceptions.RayActorError:
                idle.append(self._replace(events))
                continue
            except self._ray.exceptions.RayTaskError as error:
                raise WorkerError(str(error.cause) if error.cause else str(error)) from error
            flight.heard = time.monotonic()
            if isinstance(event, Done):
                self._observe(flight.unit, event)
            else:
                flight.item = event
        for events, flight in list(self._flights.items()):
            if time.monotonic() - flight.heard > ITEM_DEADLINE_S:
                self._ray.kill(flight.actor)
                idle.append(self._replace(events))
        return idle

    def _replace(self, events: Any) -> Any:
        """A new actor for one that died; its unit goes back to the head of the queue."""
        flight = self._flights.pop(events)
        deaths = self._deaths.setdefault(self._task.name(flight.unit), Counter())
        deaths[flight.item or ""] += 1
        if deaths[""] >= MAX_DEATHS:
            raise WorkerError(
                f"{self._task.label}: {MAX_DEATHS} workers died before they touched an item of unit "
                f"{self._task.name(flight.unit)}: see the Ray logs, or run with --workers 0"
            )
        self._waiting.appendleft(flight.unit)
        return self._actor()
