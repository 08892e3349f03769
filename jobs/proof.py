"""The proof that a run is whole: the units that its settings ask for, their ledger entries, and every file of them.

A step that is not done yet is no fault. An entry is lost when something that was made from it is there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from jobs.earlier import INDEX
from jobs.pointer import VIDEOS_FILE, read_pointer
from jobs.run import NotReady, Run
from jobs.shards import Shards
from pipeline.recipe import Recipe
from pipeline.shards import MANIFEST, Manifest, ShardError
from pipeline.store import Entry, Output, StorageError, Store


@dataclass(frozen=True)
class Ledger:
    """Reads entries and the files that they name, and notes what is wrong with them."""

    store: Store
    problems: list[str] = field(default_factory=list)

    def entry(self, step: str, unit: str, needed: bool, by: str = "") -> Entry | None:
        """A unit's entry, its files proved; None without one, a problem where it is `needed`, `by` which file."""
        entry = self.recorded(step, unit, needed, by)
        for output in entry.outputs if entry else ():
            self.file(output)
        return entry

    def recorded(self, step: str, unit: str, needed: bool, by: str = "") -> Entry | None:
        """A unit's entry, its files unseen."""
        try:
            entry = self.store.recorded(step, unit)
        except StorageError as error:
            self.problems.append(str(error))
            return None
        if entry is None and needed:
            of = f", of which {by} speaks" if by else ""
            self.problems.append(f"ledger/{step}/{unit}.json is missing{of}")
        return entry

    def file(self, output: Output) -> None:
        """Looks at every byte of a file."""
        try:
            data = self.store.read(output.path)
        except FileNotFoundError:
            self.problems.append(f"{output.path} is missing")
            return
        except StorageError as error:
            self.problems.append(str(error))
            return
        if hashlib.sha256(data).hexdigest() != output.sha256:
            self.problems.append(f"{output.path} is damaged: its bytes are not those of the ledger")

    def units(self, step: str) -> set[str]:
        """Names of the units of a step that have an entry."""
        return {name.removesuffix(".json") for name in self.store.names(f"ledger/{step}")}


@dataclass(frozen=True)
class Proof:
    """Reads every file of a run; `deep` decodes every clip of its shards too."""

    shards: Shards
    deep: bool = False

    @property
    def run(self) -> Run:
        return self.shards.run

    def problems(self) -> list[str]:
        """Everything that is wrong, a line each; an empty list proves the run whole."""
        ledger = Ledger(self.run.store)
        try:
            whole = self._tables(ledger)
        except NotReady:  # a table that the later units follow from is not made yet, or gone
            whole = False
        except StorageError as error:
            whole = False
            if not ledger.problems:
                ledger.problems.append(str(error))
        if not whole and ledger.problems:
            self._unplanned(ledger)
        self._index(ledger)
        for pool in self.run.config.shard.pools:
            self._pool(ledger, self.shards.pools.recipe(pool))
        return list(dict.fromkeys(ledger.problems)) + list(self._sets())

    # --- tables

    def _tables(self, ledger: Ledger) -> bool:
        """Every step before the shards; was there a list of videos to plan them by?"""
        if not self._videos(ledger):
            return False
        parts = self._segments(ledger)
        self._annotations(ledger, parts)
        self._whole(ledger)
        return True

    def _unplanned(self, ledger: Ledger) -> None:
        """The entries that are there and such of their files as are, when damage hides which of them are needed."""
        store = self.run.store
        folders = [name for name in store.names("ledger") if name != "shards"]
        nested = [
            f"{name}/{inner}"
            for name in folders
            if "@" not in name
            for inner in store.names(f"ledger/{name}")
        ]
        for step in [*(name for name in folders if "@" in name), *nested]:
            for unit in sorted(ledger.units(step)):
                entry = ledger.recorded(step, unit, needed=False)
                for output in entry.outputs if entry else ():
                    if store.size(output.path) is not None:
                        ledger.file(output)

    def _index(self, ledger: Ledger) -> None:
        """The pointer that later runs follow to the clips of this one."""
        try:
            step = json.loads(self.run.store.read(INDEX))["step"]
        except FileNotFoundError:
            return
        except StorageError as error:
            ledger.problems.append(str(error))
            return
        except (ValueError, KeyError, TypeError, RecursionError):
            step = None
        if step is None or ledger.recorded(step, "all", needed=False) is None:
            ledger.problems.append(
                f"{INDEX} is damaged: delete it and run `rushes dedup {self.run.store.root}`"
            )

    def _videos(self, ledger: Ledger) -> bool:
        """Ingest's units and the videos made of them; are there videos?"""
        try:
            pointer = read_pointer(self.run.store)
        except FileNotFoundError:
            early = ("probed@", "videos@")
            if any(not name.startswith(early) for name in self.run.store.names("ledger")):
                ledger.problems.append(f"{VIDEOS_FILE} is missing")
            return False
        except StorageError as error:
            ledger.problems.append(str(error))
            return False
        for unit in pointer.units:
            ledger.entry(pointer.step, unit, needed=True, by=VIDEOS_FILE)
        made = [ledger.entry(step, unit, needed=True, by=VIDEOS_FILE) for step, unit in pointer.merged]
        found = {output.path for entry in made if entry for output in entry.outputs}
        if all(made) and found != set(pointer.files):
            ledger.problems.append(
                f"{VIDEOS_FILE} is damaged: it does not name the files of its ledger entries"
            )
            return False
        return all(made)

    def _segments(self, ledger: Ledger) -> list[str]:
        """Signals, shots and clips; names of the clips' parts."""
        run, parts = self.run, []
        annotated = {unit.rsplit("-", 1)[0] for planned in run.planned for unit in ledger.units(planned.step)}
        for group in run.groups:
            entry = ledger.entry(run.shots_step, group.name, needed=group.name in annotated)
            for unit in group.units:
                ledger.entry(run.signals_step, unit.name, needed=entry is not None)
            paths = [PurePosixPath(output.path) for output in entry.outputs] if entry else []
            parts += [path.stem for path in paths if path.parts[0].startswith("clips@")]
        return parts

    def _annotations(self, ledger: Ledger, parts: Iterable[str]) -> None:
        """Every stage's annotation of every part."""
        run = self.run
        done = {planned.stage.name: ledger.units(planned.step) for planned in run.planned}
        sharded = self._sharded(ledger)
        for planned in run.planned:
            name = planned.stage.name
            built = set[str]().union(*(done[p.stage.name] for p in run.planned if name in p.stage.requires))
            if sharded:
                built |= {file.split(".")[0] for file in run.store.names(planned.step)}
            for part in parts:
                ledger.entry(planned.step, part, needed=part in built)

    def _whole(self, ledger: Ledger) -> None:
        """Duplicates, verdicts and balance."""
        sharded = self._sharded(ledger)
        needed: dict[str, bool] = {}
        for recipe in self.shards.pools.recipes:
            steps = list(self.shards.pools.steps(recipe))
            for number, step in enumerate(steps):
                later = any(ledger.units(one) for one in steps[number + 1 :])
                left = sharded and bool(self.run.store.names(step))
                needed[step] = needed.get(step, False) or later or left
        for step, wanted in needed.items():
            ledger.entry(step, "all", wanted)

    def _sharded(self, ledger: Ledger) -> bool:
        """Has a pool of the run shards?"""
        store, pools = self.run.store, self.run.config.shard.pools
        return any(
            ledger.units(self.shards.task.step(pool)) or store.size(f"shards/{pool}/{MANIFEST}") is not None
            for pool in pools
        )

    # --- shards

    def _pool(self, ledger: Ledger, recipe: Recipe) -> None:
        """A pool's entries against its manifest, which `_sets` compares with the files."""
        step = self.shards.task.step(recipe.name)
        manifest = self._manifest(recipe.name)
        recorded = ledger.units(step)
        if not recorded and manifest is None:
            return
        absent = f"shards/{recipe.name}/{MANIFEST} is missing"
        planned = self._planned(ledger, recipe)
        gone = manifest is None and self.run.store.size(f"shards/{recipe.name}/{MANIFEST}") is None
        files = {f"shards/{recipe.name}/{f.path}": f.sha256 for f in manifest.files} if manifest else {}
        listed = {PurePosixPath(path).name.split(".")[0] for path in files}
        units = sorted(recorded | listed) if planned is None else planned
        entries = [ledger.recorded(step, unit, needed=unit in listed) for unit in units]
        done = planned is not None and bool(units) and all(entries)
        if (manifest is None and done) or (planned is None and gone):
            ledger.problems.append(absent)
        for output in (output for entry in entries if entry for output in entry.outputs):
            swept = manifest is not None and self.run.store.size(output.path) is None
            if swept and done and output.path not in files:
                ledger.problems.append(
                    f"shards/{recipe.name}/{MANIFEST} is stale: {output.path} is gone from it"
                )
            elif files.get(output.path) != output.sha256 and not swept:
                ledger.file(output)

    def _planned(self, ledger: Ledger, recipe: Recipe) -> list[str] | None:
        """Names of a pool's units; None where what they follow from is damaged or not made."""
        try:
            return [unit.name for unit in self.shards.plan(recipe).units] if not ledger.problems else None
        except (NotReady, StorageError):
            return None

    def _manifest(self, pool: str) -> Manifest | None:
        try:
            return self.shards.manifest(pool)
        except (ShardError, StorageError):
            return None  # `_sets` says what is wrong with it

    def _sets(self) -> Iterator[str]:
        """Every shard set with a manifest, against it."""
        from pipeline.frames import Decoder
        from pipeline.verify import verify

        store = self.run.store
        with Decoder() as decoder:
            for pool in store.names("shards"):
                if store.size(f"shards/{pool}/{MANIFEST}") is not None:
                    found: list[Any] = verify(store, f"shards/{pool}", decoder=decoder, deep=self.deep)
                    yield from (f"shards/{pool}: {problem}" for problem in found)
