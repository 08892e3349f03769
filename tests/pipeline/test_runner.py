"""Units in, counts out: in this process, on Ray, and when workers die."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest

from pipeline.runner import Done, Pool, WorkerError, run


@dataclass(frozen=True)
class Letters:
    """Counts its items; 'kill' takes the worker with it and 'raise' is a fault of the program."""

    label: str = "letters"

    def open(self) -> None:
        return None

    def name(self, unit: tuple[str, ...]) -> str:
        return "-".join(unit)

    def run(self, state: None, unit: tuple[str, ...], poison: Mapping[str, int]) -> Iterator[str | Done]:
        counts: dict[str, float] = {}
        for item in unit:
            yield item
            if item in poison:
                counts[f"poison {item}"] = poison[item]
                continue
            if item == "kill":
                os.kill(os.getpid(), 9)
            if item == "raise":
                raise OSError("the disk is gone")
            counts[item] = 1
        yield Done(counts)


def outcome(units: list[tuple[str, ...]], pool: Pool) -> dict[tuple[str, ...], Mapping[str, float]]:
    seen: dict[tuple[str, ...], Mapping[str, float]] = {}
    run(Letters(), units, pool, lambda unit, done: seen.update({unit: done.counts}))
    return seen


@dataclass(frozen=True)
class Fitted(Letters):
    """Says how many CPUs it was fitted to."""

    cpus: int = 0

    def fitted(self, cpus: int) -> "Fitted":
        return replace(self, cpus=cpus)

    def run(self, state: None, unit: tuple[str, ...], poison: Mapping[str, int]) -> Iterator[str | Done]:
        yield Done({"cpus": self.cpus})


def test_a_task_is_fitted_to_the_cpus_of_its_worker() -> None:
    seen: list[float] = []
    run(Fitted(), [("a",)], Pool(), lambda unit, done: seen.append(done.counts["cpus"]))
    assert seen == [len(os.sched_getaffinity(0))]


@pytest.mark.slow
def test_on_ray_workers_share_the_cpus(ray_here: None) -> None:
    from pipeline.cluster import cpus

    seen: list[float] = []
    run(Fitted(), [("a",)], Pool(workers=None), lambda unit, done: seen.append(done.counts["cpus"]))
    assert seen == [cpus()]


def test_in_this_process() -> None:
    assert outcome([("a", "b"), ("c",)], Pool()) == {("a", "b"): {"a": 1, "b": 1}, ("c",): {"c": 1}}


@pytest.mark.slow
def test_on_ray_a_killing_item_costs_no_neighbour(ray_here: None) -> None:
    units = [("a", "b", "kill", "c"), ("d", "e"), ("f",)]
    assert outcome(units, Pool(workers=2)) == {
        ("a", "b", "kill", "c"): {"a": 1, "b": 1, "poison kill": 3, "c": 1},
        ("d", "e"): {"d": 1, "e": 1},
        ("f",): {"f": 1},
    }


@pytest.mark.slow
def test_on_ray_a_fault_of_the_program_stops_the_run_with_its_sentence(ray_here: None) -> None:
    with pytest.raises(WorkerError, match="the disk is gone"):
        outcome([("raise",)], Pool(workers=1))


def test_ray_is_not_imported_before_it_is_needed() -> None:
    import subprocess

    code = "import sys, pipeline.runner; print('ray' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    )
