"""What a clip is about where no caption says so: what a detector found in it, and the classes that a classifier saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from balance.concepts import Concepts, category_of

Floats = npt.NDArray[np.float64]


def of_objects(
    concepts: Concepts, labels: pa.ChunkedArray, evidence: pa.ChunkedArray, telling: Sequence[str]
) -> pa.Array:
    """(rows,) the concept of each row's first label that is among `telling` and sure enough, else null.

    `labels` lists what was found, the largest first, and `evidence` how surely (0 to 1).
    """
    column = labels.combine_chunks()
    flat = column.flatten()
    sure = _numbers(evidence) >= concepts.evidence.object
    tells = pc.is_in(flat, value_set=pa.array(telling, pa.string())).to_numpy(zero_copy_only=False)
    good = np.flatnonzero(sure & tells)
    rows, first = np.unique(pc.list_parent_indices(column).to_numpy()[good], return_index=True)
    place = np.full(len(column), -1)
    place[rows] = good[first]
    named = flat.take(pa.array(place, mask=place < 0))
    found = concepts.assign(pa.chunked_array([pa.nulls(len(named))]), pa.chunked_array([named]))
    return pc.if_else(pc.is_null(named), None, found)


def of_classes(concepts: Concepts, labels: pa.ChunkedArray, scores: pa.ChunkedArray) -> pa.Array:
    """(rows,) the concept whose classes are likeliest, null where none is likely enough.

    `labels` lists classes and `scores` their probabilities, which are added up: by category, which counts from
    `concepts.evidence.category`, and by concept, which says the kind of that category from `concepts.evidence.kind`.
    """
    column = labels.combine_chunks()
    if not concepts.by_class or not len(column):
        return pa.nulls(len(column), pa.string())
    seen = _Seen.of(column, _numbers(scores), concepts.by_class)
    category, likely = seen.likeliest({concept: category_of(concept) for concept in seen.concepts})
    inside = seen.only(likely >= concepts.evidence.category, category)
    kind, narrow = inside.likeliest({concept: concept for concept in seen.concepts})
    named = pc.if_else(pa.array(narrow >= concepts.evidence.kind), kind, category)
    return pc.if_else(pa.array(likely >= concepts.evidence.category), named, None)


@dataclass(frozen=True)
class _Seen:
    """The classes of rows that mean a concept."""

    count: int
    """Rows."""
    concepts: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    """(classes,) the row of each class ..."""
    codes: npt.NDArray[np.int64]
    """... the place of its concept ..."""
    scores: Floats
    """... and its probability."""

    @classmethod
    def of(cls, column: pa.ListArray, scores: Floats, by_class: Mapping[str, str]) -> _Seen:
        names = tuple(sorted(set(by_class.values())))
        places = {label: names.index(concept) for label, concept in by_class.items()}
        found = column.flatten().dictionary_encode()
        meant = np.array([places.get(label, -1) for label in found.dictionary.to_pylist()], np.int64)
        codes = meant[found.indices.to_numpy()]
        known = codes >= 0
        rows = pc.list_parent_indices(column).to_numpy().astype(np.int64)
        return cls(len(column), names, rows[known], codes[known], scores[known])

    def only(self, good: npt.NDArray[np.bool_], category: pa.Array) -> _Seen:
        """The classes of good rows that are of the row's category."""
        owners = pa.array([category_of(concept) for concept in self.concepts])
        same = pc.equal(owners.take(pa.array(self.codes)), category.take(pa.array(self.rows)))
        kept = good[self.rows] & same.to_numpy(zero_copy_only=False)
        return replace(self, rows=self.rows[kept], codes=self.codes[kept], scores=self.scores[kept])

    def likeliest(self, named: Mapping[str, str]) -> tuple[pa.Array, Floats]:
        """(rows,) the name that a row's concepts make likeliest, and its probability."""
        names = sorted(set(named.values()))
        place = np.array([names.index(named[concept]) for concept in self.concepts])
        sums = np.zeros((self.count, len(names)), np.float32)
        np.add.at(sums, (self.rows, place[self.codes]), self.scores)
        return pa.array(names).take(pa.array(sums.argmax(1))), sums.max(1).astype(np.float64)


def _numbers(lists: pa.ChunkedArray) -> Floats:
    """The numbers of all lists, one after another."""
    numbers: Floats = lists.combine_chunks().flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers
