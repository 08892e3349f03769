"""From measurements to pools: duplicates, verdicts, balance. Whole-table steps that touch no media."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from balance.clusters import clip_vectors, train
from balance.concepts import Concepts, Unmapped
from balance.resample import BALANCED, Batch, Rows, preferred, resample
from balance.settings import Balance
from filters import dedup
from jobs import earlier
from jobs.axes import EMBEDDING, Labels, balance_of
from jobs.run import Counts, NotReady, Run
from jobs.subjects import CAPTIONED, concepts_of
from jobs.tables import measurements
from jobs.tables import schema as joined_schema
from pipeline import recipe as recipes
from pipeline.hashes import keyed_hash
from pipeline.recipe import Origin, Recipe
from pipeline.stage import fingerprint
from pipeline.store import Entry

Mask = npt.NDArray[np.bool_]
VERSION = 1
"""Bumped when the same table would be judged otherwise."""
BALANCE_VERSION = 3
"""Bumped when the same pool would be balanced otherwise."""
NO_BUCKET = "bucket: none fits"
"""Why a clip is left out that no shard of the pool can hold."""
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

    @cached_property
    def concepts(self) -> Concepts:
        return self.run.config.taxonomy()

    def balance_of(self, recipe: Recipe) -> Balance:
        """The settings of a recipe's `[balance]`; RecipeError: they are wrong."""
        return balance_of(recipe, self.concepts)

    def labels(self, recipe: Recipe) -> Labels:
        """What names the clips of a pool on the axes of its balance; clusters are not trained yet."""
        made = joined_schema([planned.stage for planned in self.run.planned]).names
        return Labels(
            recipe, self.balance_of(recipe), self.concepts, self.run.used, (*made, *DUPLICATE_COLUMNS)
        )

    def _balance_inputs(self, recipe: Recipe) -> str:
        labels = self.labels(recipe)
        return fingerprint(
            "balance",
            BALANCE_VERSION,
            asdict(labels.balance),
            labels.meaning,
            self.run.config.seed,
            self._verdict_inputs(recipe),
            self.run.snapshot(labels.columns),
        )

    def balance(self, recipe: Recipe) -> Entry | None:
        """Which of the kept clips stay: `balance/POOL@.../part-*.parquet`; None when the recipe does not balance."""
        if not recipe.balance:
            return None
        inputs = self._balance_inputs(recipe)
        return self.run.once(f"balance/{recipe.name}", inputs, lambda: self._balance(recipe))

    def _balance(self, recipe: Recipe) -> Iterator[tuple[pa.Table, Counts]]:
        labels = self._trained(self.labels(recipe))
        ids: list[pa.Array] = []
        kinds: list[tuple[pa.Array, pa.Array]] = []

        def batches() -> Iterator[Batch]:
            for rows in self._kept(recipe, labels.columns):
                ids.extend(rows.column("clip_id").chunks)
                told = concepts_of(labels.concepts, rows)
                kinds.append((told[0].dictionary_encode(), told[1].dictionary_encode()))
                hashes = keyed_hash(rows.column("clip_id"), self.run.config.seed)
                yield Batch(labels.of(rows, told[0]), preferred(rows, labels.balance.prefer), hashes)

        rows = Rows.of(batches())
        if not ids:
            return
        fits = rows.known("bucket", labels.balance)
        found = resample(rows.only(fits), labels.balance)
        copies, blamed = np.zeros(len(fits), np.int8), np.zeros(len(fits), np.int64)
        copies[fits], blamed[fits] = found.copies, found.blamed
        names = pa.chunked_array(ids)
        kind, source = (pa.chunked_array(parts).cast(pa.string()) for parts in zip(*kinds, strict=True))
        for start in range(0, len(fits), ROWS_A_FILE):
            step = slice(start, start + ROWS_A_FILE)
            listed, why = rows.said(step, labels.balance, blamed[step])
            why = pc.if_else(pa.array(fits[step]), why, NO_BUCKET)
            stays = copies[step] > 0
            columns = [
                names.slice(start, ROWS_A_FILE),
                kind.slice(start, ROWS_A_FILE),
                source.slice(start, ROWS_A_FILE),
                listed,
                stays,
                copies[step],
                pc.if_else(pa.array(stays), None, why),
            ]
            yield pa.table(columns, schema=BALANCED), {"clips": len(stays), "kept": int(stays.sum())}

    def _kept(self, recipe: Recipe, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Batches of the clips that the pool's rules keep, with all that belongs to a clip and these columns."""
        kept = self.verdicts(recipe).column("kept")
        start = 0
        for batch in self.measured(columns):
            yield batch.filter(kept.slice(start, batch.num_rows))
            start += batch.num_rows

    def _trained(self, labels: Labels) -> Labels:
        """The labels with clusters, where an axis asks for them."""
        for axis in labels.balance.axes:
            if axis.name == "cluster":
                batches = (
                    (
                        clip_vectors(*(rows.column(name) for name in EMBEDDING)),
                        keyed_hash(rows.column("clip_id"), self.run.config.seed),
                    )
                    for rows in self._kept(labels.recipe, EMBEDDING)
                )
                return replace(labels, clusters=train(batches, axis.clusters))
        return labels

    def unmapped(self) -> Counter[Unmapped]:
        """What the captions of all clips say of their main subjects that the taxonomy does not have. NotReady: the run
        has no captions."""
        if not set(CAPTIONED) <= set(joined_schema([planned.stage for planned in self.run.planned]).names):
            raise NotReady("this run has no captions: its stages must have 'caption' among them")
        found: Counter[Unmapped] = Counter()
        for batch in measurements(self.run, CAPTIONED):
            found += self.concepts.unmapped(*(batch.column(name) for name in CAPTIONED))
        return found

    def balanced(self, recipe: Recipe) -> pa.Table | None:
        """BALANCED of the clips that the pool's rules keep; None while it is not made."""
        if not recipe.balance:
            return None
        entry = self.run.made(f"balance/{recipe.name}", self._balance_inputs(recipe))
        return None if entry is None else self.run.store.tables(entry.outputs, BALANCED)

    def staying(self, recipe: Recipe, kept: Mask) -> Mask | None:
        """Of the clips that the rules keep, those that the balance lets stay; None while it is not made."""
        if not recipe.balance:
            return kept
        found = self.balanced(recipe)
        if found is None:
            return None
        stays = kept.copy()
        stays[kept] = found.column("balanced").to_numpy()
        return stays

    def copies(self, recipe: Recipe) -> npt.NDArray[np.int8] | None:
        """(clips,) how many times a trainer should see each; None where no clip of the pool is repeated."""
        found = self.balanced(recipe)
        if found is None or self.balance_of(recipe).repeat == 1:
            return None
        kept = self.verdicts(recipe).column("kept").to_numpy(zero_copy_only=False)
        copies = np.zeros(len(kept), np.int8)
        copies[kept] = found.column("copies").to_numpy()
        return copies

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
