"""The clips that a gate is about, as review.sample draws from them: what each is, and whether the pool keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.pools import Mask, Pools
from jobs.sources import source_of
from jobs.tables import measurements
from pipeline import recipe as recipes
from pipeline.recipe import Recipe
from review.sample import POPULATION

SCORE = "vtss_score"
"""What score bands are cut from: how suitable a clip is for training (Koala-36M), over all its other measurements."""
CONCEPT = "concept_type"
RESOLUTIONS_PX = (480, 720, 1080)
"""Edges of the classes of short side. Ours: those of the resolutions that pools are made for."""
ASPECTS = (0.9, 1.1)
"""Below the first a picture is tall, above the second wide. Ours."""
DURATIONS_S = (5.0, 10.0)
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """Reads one run's clips for its gates."""

    pools: Pools

    def all(self) -> pa.Table:
        """Every clip of the run, all of them kept: what the gates of sources and of segmentation are about."""
        batches = measurements(self.pools.run, self._columns)
        return pa.concat_tables(
            [
                POPULATION.empty_table(),
                *(self._rows(batch, np.ones(batch.num_rows, np.bool_)) for batch in batches),
            ]
        )

    def of_pool(self, recipe: Recipe, kept: Mask, balanced: Mask) -> pa.Table:
        """The clips that a pool keeps and those that its rules reject; what the balance drops is neither.

        `kept` and `balanced` (kept, and staying) are in the order of the parts.
        """
        tables, misses, start = [POPULATION.empty_table()], list[_Misses](), 0
        for batch in self.pools.measured([*recipe.columns, *self._columns]):
            piece = slice(start, start + batch.num_rows)
            start += batch.num_rows
            stays, out = balanced[piece], ~kept[piece]
            tables.append(self._rows(batch, stays).filter(pa.array(stays | out)))
            misses.append(_Misses.of(recipe, batch.filter(pa.array(stays | out)), out[stays | out]))
        table = pa.concat_tables(tables)
        miss = pa.array(_ranked(misses), pa.float64(), from_pandas=True)
        return table.set_column(POPULATION.get_field_index("miss"), POPULATION.field("miss"), miss)

    @property
    def _columns(self) -> list[str]:
        known = {name for planned in self.pools.run.planned for name in planned.stage.columns.names}
        return [name for name in (SCORE, CONCEPT) if name in known]

    def _rows(self, batch: pa.Table, kept: Mask) -> pa.Table:
        nothing = pa.nulls(batch.num_rows)
        columns = {
            "clip_id": batch.column("clip_id"),
            "video_id": batch.column("video_id"),
            "kept": pa.array(kept),
            "source": self._sources(batch.column("video_id")),
            "bucket": classes(batch),
            "score": batch.column(SCORE) if SCORE in batch.column_names else nothing,
            "miss": nothing,
            "concept": batch.column(CONCEPT) if CONCEPT in batch.column_names else nothing,
            "still": batch.column("is_image").fill_null(False),
        }
        arrays = [columns[field.name].cast(field.type) for field in POPULATION]
        return pa.Table.from_arrays(arrays, schema=POPULATION)

    def _sources(self, videos: pa.ChunkedArray) -> pa.Array:
        named = videos.dictionary_encode().combine_chunks()
        used = self.pools.run.used
        names = pa.array([source_of(used[video]) for video in named.dictionary.to_pylist()], pa.string())
        return names.take(named.indices)


def classes(clips: pa.Table) -> pa.Array:
    """By row, the class of a clip's size, shape and length, such as "720p wide 5-10 s"."""
    side = np.searchsorted(RESOLUTIONS_PX, clips.column("short_side_px").to_numpy(), side="right")
    aspect = np.searchsorted(ASPECTS, clips.column("aspect_ratio").to_numpy(), side="right")
    length = np.searchsorted(DURATIONS_S, clips.column("duration_s").to_numpy(), side="right")
    length = np.where(clips.column("is_image").fill_null(False).to_numpy(), 3, length)
    parts = (
        (("below 480p", "480p", "720p", "1080p"), side),
        (("tall", "square", "wide"), aspect),
        (("under 5 s", "5-10 s", "over 10 s", "image"), length),
    )
    return pc.binary_join_element_wise(
        *(pa.array(names).take(pa.array(places)) for names, places in parts), " "
    )


@dataclass(frozen=True)
class _Misses:
    """Of some clips, the one threshold that each fails, and by how much."""

    recipe: Recipe
    rule: npt.NDArray[np.int16]
    """Place of the rule; -1 where a clip fails several, none, or one without a number."""
    by: npt.NDArray[np.float32]

    @classmethod
    def of(cls, recipe: Recipe, clips: pa.Table, rejected: Mask) -> _Misses:
        failed = recipes.failures(recipe, clips)
        rule = (
            np.where(failed.sum(axis=0) == 1, failed.argmax(axis=0), -1)
            if len(failed)
            else np.full(len(rejected), -1)
        )
        rule[~rejected] = -1
        by = np.full(clips.num_rows, np.nan)
        for place in np.unique(rule[rule >= 0]).tolist():
            rows = np.flatnonzero(rule == place)
            by[rows] = _distance(
                recipe.rules[place], clips.column(recipe.rules[place].column).take(pa.array(rows))
            )
        rule[np.isnan(by)] = -1
        return cls(recipe, rule.astype(np.int16), by.astype(np.float32))


def _distance(rule: recipes.Rule, values: pa.ChunkedArray) -> Floats:
    """How far each value is outside what the rule allows; NaN where that is no number."""
    if rule.least is None and rule.most is None:
        return np.full(len(values), np.nan)
    numbers: Floats = values.cast(pa.float64()).to_numpy()
    under = rule.least - numbers if rule.least is not None else np.full(len(numbers), -np.inf)
    over = numbers - rule.most if rule.most is not None else np.full(len(numbers), -np.inf)
    found: Floats = np.maximum(under, over)
    return found


def _ranked(misses: Sequence[_Misses]) -> Floats:
    """By row, its place among the clips that fail the same rule alone: 0 the nearest, 1 the farthest and the others."""
    rule = np.concatenate([np.zeros(0, np.int16), *(piece.rule for piece in misses)])
    by = np.concatenate([np.zeros(0, np.float32), *(piece.by for piece in misses)])
    found = np.ones(len(rule))
    for place in np.unique(rule[rule >= 0]).tolist():
        rows = np.flatnonzero(rule == place)
        order = np.argsort(by[rows], kind="stable")
        found[rows[order]] = np.arange(len(rows)) / max(1, len(rows) - 1)
    return found
