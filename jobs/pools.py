"""From measurements to pools: duplicates, verdicts, balance. Whole-table steps that touch no media."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from balance.concepts import SEPARATOR, load_concepts
from balance.resample import BALANCED, balance_from, resample
from filters import dedup
from jobs import earlier
from jobs.run import Counts, NotReady, Run
from jobs.tables import measurements
from jobs.tables import schema as joined_schema
from pipeline import recipe as recipes
from pipeline.recipe import Origin, Recipe
from pipeline.stage import fingerprint
from pipeline.store import Entry

Mask = npt.NDArray[np.bool_]
VERSION = 1
"""Bumped when the same table would be judged otherwise."""
CONCEPT_COLUMNS = ("concept_type", "concept_sub_type")
DUPLICATE_COLUMNS = tuple(name for name in dedup.DUPLICATES.names if name != "clip_id")
ROWS_A_FILE = 1 << 18

VERDICTS = pa.schema([*recipes.VERDICTS, pa.field("failed_stages", pa.list_(pa.string()))])
"""A verdict, and the stages that failed for this clip among those that the recipe needs."""


@dataclass(frozen=True)
class Pools:
    """The pools of a run."""

    run: Run

    @cached_property
    def recipes(self) -> tuple[Recipe, ...]:
        return tuple(recipes.load(name) for name in self.run.config.recipes)

    def recipe(self, pool: str) -> Recipe:
        """The recipe of this pool, among those of the run."""
        for one in self.recipes:
            if one.name == pool:
                return one
        known = ", ".join(one.name for one in self.recipes)
        raise NotReady(f"this run has no pool '{pool}'; its recipes are {known}")

    # --- duplicates

    @cached_property
    def _dedup_settings(self) -> dedup.Dedup:
        return self.run.config.deduplicator()

    @cached_property
    def _dedup_columns(self) -> list[str]:
        """The columns that the run has of those that dedup reads."""
        known = set(joined_schema([planned.stage for planned in self.run.planned]).names)
        wanted = [*dedup.COLUMNS, *(name.removeprefix("-") for name in self._dedup_settings.prefer)]
        return [name for name in dict.fromkeys(wanted) if name in known]

    @property
    def _index_inputs(self) -> str:
        return fingerprint("index", VERSION, self.run.snapshot(dedup.COLUMNS))

    @property
    def _dedup_inputs(self) -> str:
        settings = asdict(self._dedup_settings)
        pins = earlier.kept(self.run.store, settings.pop("against"))
        contents = None if pins is None else [one.contents for one in pins]
        return fingerprint("dedup", VERSION, settings, contents, self.run.snapshot(self._dedup_columns))

    def dedup(self) -> Entry:
        """Clusters of copies among clips: `dedup@.../part-*.parquet`, in the order of the parts.

        Beside them it keeps what later runs need to find copies of these clips: `index@.../part-*.parquet`. NotReady:
        a run of `dedup.against` has no index.
        """
        store = self.run.store
        if store.root in self._dedup_settings.against:
            raise NotReady(f"dedup.against names {store.root} itself: give it earlier runs only")
        earlier.publish(store, self.run.once("index", self._index_inputs, self._index))
        earlier.keep(store, [earlier.pin(root) for root in self._dedup_settings.against])
        return self.run.once("dedup", self._dedup_inputs, self._dedup)

    def _index(self) -> Iterator[tuple[pa.Table, Counts]]:
        for batch in measurements(self.run, dedup.COLUMNS):
            yield batch.select(dedup.COLUMNS), {"clips": batch.num_rows}

    def _dedup(self) -> Iterator[tuple[pa.Table, Counts]]:
        columns = self._dedup_columns
        parts = [batch.select(columns) for batch in measurements(self.run, columns)]
        if not parts:
            return
        pins = earlier.kept(self.run.store, self._dedup_settings.against) or ()
        known = [(one.run, earlier.tables(one, parts[0].select(dedup.COLUMNS).schema)) for one in pins]
        found = dedup.find_duplicates(pa.concat_tables(parts), self._dedup_settings, known)
        for start in range(0, found.num_rows, ROWS_A_FILE):
            piece = found.slice(start, ROWS_A_FILE)
            copies = pc.sum(pc.greater(piece.column("duplicate_rank"), 0)).as_py() or 0
            yield piece, {"clips": piece.num_rows, "duplicates": copies}

    def measured(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Batches of all that is known of each clip, duplicates included."""
        entry = self.run.made("dedup", self._dedup_inputs)
        if entry is None:
            raise self.run.not_ready("dedup")
        duplicates = self.run.store.tables(entry.outputs, dedup.DUPLICATES)
        start = 0
        for batch in measurements(self.run, columns):
            found = duplicates.slice(start, batch.num_rows)
            if not found.column("clip_id").equals(batch.column("clip_id")):
                raise ValueError("the duplicates table does not have the rows of the clips table")
            start += batch.num_rows
            for name in DUPLICATE_COLUMNS:
                batch = batch.append_column(name, found.column(name))
            yield batch

    @property
    def duplicate_origins(self) -> dict[str, Origin]:
        """By column, where what is known of duplicates comes from."""
        return dict.fromkeys(DUPLICATE_COLUMNS, Origin("dedup", self._dedup_inputs))

    # --- verdicts

    def _verdict_inputs(self, recipe: Recipe) -> str:
        seen = self.run.snapshot(recipe.columns)
        return fingerprint("verdict", VERSION, recipe.fingerprint, seen, self._dedup_inputs)

    def select(self, recipe: Recipe) -> Entry:
        """The verdict of one recipe on every clip: `verdicts/POOL@.../part-*.parquet`."""
        inputs = self._verdict_inputs(recipe)
        return self.run.once(f"verdicts/{recipe.name}", inputs, lambda: self._select(recipe))

    def _select(self, recipe: Recipe) -> Iterator[tuple[pa.Table, Counts]]:
        needed = pa.array(
            planned.stage.name
            for planned in self.run.planned
            if set(recipe.columns) & set(planned.stage.columns.names)
        )
        for batch in self.measured(recipe.columns):
            verdict = recipes.judge(recipe, batch)
            failed = _within(batch.column("failed_stages").combine_chunks(), needed)
            table = verdict.append_column(VERDICTS.field("failed_stages"), failed)
            yield table, {"clips": table.num_rows, "kept": pc.sum(table.column("kept")).as_py() or 0}

    def known_verdicts(self, recipe: Recipe) -> pa.Table | None:
        """The pool's VERDICTS in the order of the parts; None while the run has not come so far."""
        try:
            return self.verdicts(recipe)
        except NotReady:
            return None

    def verdicts(self, recipe: Recipe) -> pa.Table:
        """The pool's VERDICTS; NotReady while they are not made."""
        entry = self.run.made(f"verdicts/{recipe.name}", self._verdict_inputs(recipe))
        if entry is None:
            raise self.run.not_ready("select")
        return self.run.store.tables(entry.outputs, VERDICTS)

    # --- balance

    def _balance_inputs(self, recipe: Recipe) -> str:
        columns = [*CONCEPT_COLUMNS, str(recipe.balance.get("prefer", ""))]
        settings = dict(recipe.balance)
        seed = self.run.config.seed
        seen = self.run.snapshot(columns)
        return fingerprint("balance", VERSION, settings, seed, self._verdict_inputs(recipe), seen)

    def balance(self, recipe: Recipe) -> Entry | None:
        """Which of the kept clips stay: `balance/POOL@.../part-*.parquet`; None when the recipe does not balance."""
        if not recipe.balance:
            return None
        inputs = self._balance_inputs(recipe)
        return self.run.once(f"balance/{recipe.name}", inputs, lambda: self._balance(recipe))

    def _balance(self, recipe: Recipe) -> Iterator[tuple[pa.Table, Counts]]:
        concepts = load_concepts()
        settings = balance_from(recipe.balance, concepts.categories)
        columns = [*CONCEPT_COLUMNS, *((settings.prefer,) if settings.prefer else ())]
        kept = self.verdicts(recipe).column("kept")
        tables, start = [], 0
        for batch in self.measured(columns):
            rows = batch.select(["clip_id", *columns]).filter(kept.slice(start, batch.num_rows))
            start += batch.num_rows
            named = concepts.assign(rows.column("concept_type"), rows.column("concept_sub_type"))
            tables.append(
                rows.append_column("concept", pc.list_element(pc.split_pattern(named, SEPARATOR), 0))
            )
        if not tables:
            return
        found = resample(pa.concat_tables(tables), settings, self.run.config.seed)
        for start in range(0, found.table.num_rows, ROWS_A_FILE):
            piece = found.table.slice(start, ROWS_A_FILE)
            yield piece, {"clips": piece.num_rows, "kept": pc.sum(piece.column("balanced")).as_py() or 0}

    def staying(self, recipe: Recipe, kept: Mask) -> Mask | None:
        """Of the clips that the rules keep, those that the balance lets stay; None while it is not made."""
        if not recipe.balance:
            return kept
        entry = self.run.made(f"balance/{recipe.name}", self._balance_inputs(recipe))
        if entry is None:
            return None
        stays = kept.copy()
        stays[kept] = self.run.store.tables(entry.outputs, BALANCED).column("balanced").to_numpy()
        return stays

    # --- the ledger

    def steps(self, recipe: Recipe) -> Iterator[str]:
        """The ledger's steps that make a pool, each built on the one before; NotReady while stages are missing."""
        yield f"index@{self._index_inputs}"
        yield f"dedup@{self._dedup_inputs}"
        yield f"verdicts/{recipe.name}@{self._verdict_inputs(recipe)}"
        if recipe.balance:
            yield f"balance/{recipe.name}@{self._balance_inputs(recipe)}"


def _within(lists: pa.ListArray, needed: pa.Array) -> pa.Array:
    """The lists without the values that are not among `needed`."""
    flat = lists.flatten()
    wanted = pc.is_in(flat, value_set=needed.cast(pa.string())).to_numpy(zero_copy_only=False)
    parents = pc.list_parent_indices(lists).to_numpy()
    counts = np.bincount(parents[wanted], minlength=len(lists))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat.filter(pa.array(wanted)))


def by_clip(table: pa.Table, clip_id: str) -> dict[str, Any] | None:
    """The row of one clip."""
    rows = table.filter(pc.field("clip_id") == clip_id).to_pylist()
    return rows[0] if rows else None
