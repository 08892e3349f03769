"""Earlier runs whose clips are there already: the index that a run keeps for later ones, and which indexes it used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jobs.run import NotReady
from pipeline.store import Entry, Store

INDEX = "index.json"
"""Which step holds a run's index."""
PINS = "against.json"
"""The indexes that a run's duplicates were looked for in: it is read instead of the other runs, which may change."""


@dataclass(frozen=True)
class Pin:
    """An index of another run, as it was when it was looked at."""

    run: str
    step: str
    sha256: tuple[str, ...]

    @property
    def contents(self) -> list[Any]:
        """What the answer depends on."""
        return [self.run, list(self.sha256)]


def publish(store: Store, entry: Entry) -> None:
    """Says that the index of this run is what this step has written."""
    store.put_text(INDEX, json.dumps({"step": entry.step}, sort_keys=True) + "\n")


def pin(root: str) -> Pin:
    """The index of a run as it is now. NotReady: it has none."""
    entry = _entry(root)
    return Pin(root, entry.step, tuple(output.sha256 for output in entry.outputs))


def tables(one: Pin, schema: pa.Schema) -> pa.Table:
    """The clips of a pinned index. NotReady: it is not there any more, or is another one."""
    entry = Store(one.run).entry(one.step, "all")
    if entry is None or tuple(output.sha256 for output in entry.outputs) != one.sha256:
        raise _gone(one.run)
    return Store(one.run).tables(entry.outputs, schema)


def keep(store: Store, pins: Sequence[Pin]) -> None:
    """Notes which indexes a run's duplicates are looked for in."""
    plain = [{"run": one.run, "step": one.step, "sha256": list(one.sha256)} for one in pins]
    if plain or store.size(PINS) is not None:
        store.put_text(PINS, json.dumps(plain, indent=1, sort_keys=True) + "\n")


def kept(store: Store, roots: Sequence[str]) -> tuple[Pin, ...] | None:
    """The noted indexes of these runs; None while `rushes dedup` has not looked at them."""
    if not roots:
        return ()
    try:
        plain = json.loads(store.read(PINS))
        found = tuple(Pin(one["run"], one["step"], tuple(one["sha256"])) for one in plain)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return found if [one.run for one in found] == list(roots) else None


def _entry(root: str) -> Entry:
    store = Store(root)
    try:
        step = json.loads(store.read(INDEX))["step"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise _gone(root) from None
    entry = store.entry(step, "all")
    if entry is None:
        raise _gone(root)
    return entry


def _gone(root: str) -> NotReady:
    return NotReady(f"{root} has no index of its clips: run `rushes dedup {root}` first")
