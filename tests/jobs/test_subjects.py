"""Who says what a clip is about."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from balance.concepts import UNKNOWN, load_concepts
from captioner.concepts import TYPE_OF
from filters.descriptors.imagenet import LABELS
from jobs.subjects import COLUMNS, TELLING, concepts_of

CONCEPTS = load_concepts(classes=LABELS)
TYPES = {name: pa.string() if name.startswith("concept") else pa.list_(pa.string()) for name in COLUMNS}
TYPES |= {name: pa.list_(pa.float64()) for name in ("object_evidence", "class_scores")}


def clip(
    caption: tuple[str | None, str | None] = (None, None),
    objects: dict[str, float] | None = None,
    classes: dict[str, float] | None = None,
) -> dict[str, Any]:
    lists = [None if one is None else list(part) for one in (objects, classes) for part in _sides(one)]
    return dict(zip(COLUMNS, (*caption, *lists), strict=True))


def _sides(seen: dict[str, float] | None) -> tuple[Any, Any]:
    return (seen, seen.values()) if seen is not None else ((), ())


def told(*rows: dict[str, Any]) -> list[tuple[str, str | None]]:
    table = pa.Table.from_pylist(list(rows), schema=pa.schema(list(TYPES.items())))
    return list(zip(*(found.to_pylist() for found in concepts_of(CONCEPTS, table)), strict=True))


def test_a_caption_that_names_a_subject_is_believed() -> None:
    seen = {"objects": {"dog": 0.9}, "classes": {"seashore": 0.99}}
    assert told(clip(("Human", "Woman"), **seen), clip(("Blob", None), **seen)) == [
        ("Human > Woman", "caption"),
        (UNKNOWN, "caption"),
    ]


def test_a_sure_object_comes_before_classes_and_a_glimpse_is_none() -> None:
    beach = {"seashore": 0.7, "sandbar": 0.15}
    assert told(
        clip(objects={"dog": 0.5}, classes=beach),
        clip(objects={"dog": 0.49}, classes=beach),
        clip(objects={"dog": 0.49}, classes={"seashore": 0.4}),
        clip(classes=beach),
        clip(),
    ) == [
        ("Animal > Dog", "object"),
        ("Scenery > Sea", "class"),
        (UNKNOWN, None),
        ("Scenery > Sea", "class"),
        (UNKNOWN, None),
    ]


def test_a_bowl_alone_says_nothing() -> None:
    assert told(clip(objects={"bowl": 0.9, "dog": 0.8}), clip(objects={"bowl": 0.9})) == [
        ("Animal > Dog", "object"),
        (UNKNOWN, None),
    ]
    assert {"bowl", "fire hydrant", "chair"} <= set(TYPE_OF) - set(TELLING)


def test_what_is_not_there_is_not_read() -> None:
    bare = pa.table({"clip_id": ["a", "b"]})
    assert [column.to_pylist() for column in concepts_of(CONCEPTS, bare)] == [[UNKNOWN] * 2, [None] * 2]
    half = bare.append_column("class_labels", pa.array([["alp"], None]))
    assert concepts_of(CONCEPTS, half)[1].null_count == 2
    whole = half.append_column("class_scores", pa.array([[0.6], None]))
    assert [column.to_pylist() for column in concepts_of(CONCEPTS, whole)] == [
        ["Scenery", UNKNOWN],
        ["class", None],
    ]
    assert [len(column) for column in concepts_of(CONCEPTS, whole.slice(0, 0))] == [0, 0]
    assert concepts_of(CONCEPTS, whole.slice(1))[0].to_pylist() == [UNKNOWN]
