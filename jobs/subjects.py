"""What each clip is about, and who says so: its caption, else the object detector or the classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from balance.concepts import UNKNOWN, Concepts
from balance.stand_ins import of_classes, of_objects
from captioner.concepts import TYPE_OF
from captioner.subjects import PROPS

CAPTIONED = ("concept_type", "concept_sub_type")
DETECTED = ("object_labels", "object_evidence")
CLASSED = ("class_labels", "class_scores")
COLUMNS = (*CAPTIONED, *DETECTED, *CLASSED)
"""What is read where it is there."""
Tell = Callable[[pa.ChunkedArray, pa.ChunkedArray], pa.Array]
TELLING = tuple(label for label, kind in TYPE_OF.items() if kind not in PROPS)
"""The detector's labels that a clip may be about: a bowl or a bollard alone says nothing."""


def concepts_of(concepts: Concepts, rows: pa.Table) -> tuple[pa.Array, pa.Array]:
    """(rows,) the finest concept known of each clip, UNKNOWN where none is, and its source, null where nothing tells.

    A `caption` that names a main subject is believed. Else an object that was surely detected (`object`), else the
    likeliest classes (`class`); see balance.concepts.Evidence.
    """
    found = source = pa.nulls(rows.num_rows, pa.string())
    for name, columns, tell in _sources(concepts):
        silent = pc.is_null(source)
        if set(columns) <= set(rows.column_names) and pc.any(silent).as_py():
            asked = rows.select(columns).filter(silent)
            seen = tell(*(asked.column(column) for column in columns))
            found = pc.replace_with_mask(found, silent, seen)
            source = pc.replace_with_mask(source, silent, pc.if_else(pc.is_valid(seen), name, None))
    return pc.fill_null(found, UNKNOWN), source


def _sources(concepts: Concepts) -> Iterator[tuple[str, tuple[str, ...], Tell]]:
    """The name of each source, the most reliable first, the columns that it reads and what it makes of them."""

    def caption(types: pa.ChunkedArray, sub_types: pa.ChunkedArray) -> pa.Array:
        silent = pc.and_(pc.is_null(types), pc.is_null(sub_types)).combine_chunks()
        return pc.if_else(silent, None, concepts.assign(types, sub_types))

    yield "caption", CAPTIONED, caption
    yield "object", DETECTED, lambda labels, evidence: of_objects(concepts, labels, evidence, TELLING)
    yield "class", CLASSED, lambda labels, scores: of_classes(concepts, labels, scores)
