"""The labels of a run's clips on the axes of a balance, and which columns they are read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from balance import axes as labelling
from balance.clusters import Clusters, clip_vectors
from balance.concepts import SEPARATOR, Concepts
from balance.settings import Axis, Balance, balance_from
from jobs.crops import BORDER, CLEAN, shapes
from jobs.sources import axis_source
from jobs.subjects import CAPTIONED, CLASSED, COLUMNS, DETECTED
from pipeline.buckets import Bucket, bucket_for
from pipeline.recipe import Recipe, RecipeError

EMBEDDING = ("embedding", "embedding_flat")
OF_AXIS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "concept": ((), COLUMNS),
    "kind": ((), COLUMNS),
    "motion": (labelling.MOTION_COLUMNS, ()),
    "bucket": ((), (*CLEAN, *BORDER)),
    "source": ((), ()),
    "cluster": (EMBEDDING, ()),
}
"""By axis the columns that it must have, and those that it reads where they are there."""


def balance_of(recipe: Recipe, concepts: Concepts) -> Balance:
    """The settings of a recipe's `[balance]`. RecipeError says what is wrong with them."""
    known = {"concept": concepts.categories, "kind": concepts.names, "motion": labelling.MOTIONS}
    try:
        return balance_from(recipe.balance, known, recipe.path.parent)
    except ValueError as error:
        raise RecipeError(f"{recipe.path}: balance: {error}.") from None


def lacking(balance: Balance, columns: Sequence[str]) -> str:
    """What a balance asks of a run that makes these columns alone, and that it does not make; empty: nothing."""
    for axis in balance.axes:
        if axis.name in ("concept", "kind"):
            if not any(set(source) <= set(columns) for source in (CAPTIONED, DETECTED, CLASSED)):
                return (
                    f"balances by {axis.name}: the run's stages must have 'caption', 'objects' or 'embedding'"
                    " among them"
                )
        elif axis.name in OF_AXIS:
            missing = [name for name in OF_AXIS[axis.name][0] if name not in columns]
            if missing:
                return f"balances by {axis.name}: the run's stages make no column {missing[0]}"
        elif axis.name not in columns:
            return f"balances by {axis.name}, which is none of {', '.join(OF_AXIS)} and no column of the run"
    if balance.prefer and balance.prefer not in columns:
        return f"prefers by {balance.prefer}, and the run has no such column"
    return ""


@dataclass(frozen=True)
class Labels:
    """Names the clips of a pool's balance on each of its axes."""

    recipe: Recipe
    balance: Balance
    concepts: Concepts
    videos: Mapping[str, Mapping[str, Any]]
    """VIDEOS rows by id."""
    available: tuple[str, ...]
    """The columns that there are."""
    clusters: Clusters | None = None
    """For the axis `cluster`."""

    @property
    def columns(self) -> list[str]:
        """What must be read."""
        named = [column for axis in self.balance.axes for column in self._needed(axis)]
        named += COLUMNS
        named += [self.balance.prefer] if self.balance.prefer else []
        return [column for column in dict.fromkeys(named) if column in self.available]

    @property
    def meaning(self) -> list[Any]:
        """What decides the labels beside the columns: the taxonomy, and where they are an axis sources and buckets."""
        words = (self.concepts.by_type, self.concepts.by_kind, self.concepts.by_class)
        found: list[Any] = [*map(dict, words), asdict(self.concepts.evidence)]
        for axis in self.balance.axes:
            if axis.name == "source":
                found.append({video: axis_source(row, axis.by) for video, row in self.videos.items()})
            if axis.name == "bucket":
                found.append([self.recipe.crop, dict(self.recipe.shard)])
        return found

    def _needed(self, axis: Axis) -> tuple[str, ...]:
        must, may = OF_AXIS.get(axis.name, ((axis.name,), ()))
        return (*must, *may)

    def of(self, rows: pa.Table, kinds: pa.Array) -> tuple[pa.Array, ...]:
        """For each axis (rows,) labels, null where nothing is known; `kinds` are the finest concepts of the clips."""
        return tuple(self._axis(axis, rows, kinds) for axis in self.balance.axes)

    def _axis(self, axis: Axis, rows: pa.Table, kinds: pa.Array) -> pa.Array:
        if axis.name == "kind":
            return kinds
        if axis.name == "concept":
            return pc.list_element(pc.split_pattern(kinds, SEPARATOR), 0)
        if axis.name == "motion":
            return labelling.motion(rows, axis.edges)
        if axis.name == "bucket":
            return self._buckets(rows)
        if axis.name == "source":
            return self._sources(axis.by, rows)
        if axis.name == "cluster":
            assert self.clusters is not None
            return self.clusters.of(clip_vectors(*(rows.column(name) for name in EMBEDDING)))
        try:
            return labelling.by_column(rows.column(axis.name), axis.edges)
        except ValueError as error:
            raise RecipeError(f"{self.recipe.path}: balance: axis {axis.name} {error}.") from None

    def _buckets(self, rows: pa.Table) -> pa.Array:
        """Null for clips that fit no bucket: no shard will hold them."""
        found = (bucket_for(**shape, buckets=self.recipe.buckets) for shape in shapes(rows, self.recipe.crop))
        return pa.array([one.name if isinstance(one, Bucket) else None for one in found], pa.string())

    def _sources(self, by: str, rows: pa.Table) -> pa.Array:
        videos = rows.column("video_id").combine_chunks().dictionary_encode()
        names = [axis_source(self.videos[video], by) for video in videos.dictionary.to_pylist()]
        return pa.array(names, pa.string()).take(videos.indices)
