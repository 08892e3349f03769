"""Objects and classes in the place of a caption."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pytest

from balance.concepts import Evidence, load_concepts
from balance.stand_ins import of_classes, of_objects

NAMES = ("alp", "cliff", "seashore", "church", "tabby", "lens cap")
MEANT = {
    "alp": "Scenery > Mountain",
    "cliff": "Scenery > Mountain",
    "seashore": "Scenery > Sea",
    "church": "Architecture > Temple",
    "tabby": "Animal",
}
CONCEPTS = dataclasses.replace(load_concepts(), by_class=MEANT, evidence=Evidence(category=0.5, kind=0.75))


def classes(*rows):
    """What is said of these rows in two chunks."""
    labels = [None if row is None else list(row) for row in rows]
    scores = [None if row is None else list(row.values()) for row in rows]
    one, two = (
        pa.chunked_array([values[:1], values[1:]], pa.list_(kind))
        for values, kind in ((labels, pa.string()), (scores, pa.float32()))
    )
    return of_classes(CONCEPTS, one, two).to_pylist()


@pytest.mark.parametrize(
    ("seen", "concept"),
    [
        ({"alp": 0.5, "cliff": 0.25}, "Scenery > Mountain"),
        ({"alp": 0.5, "cliff": 0.125}, "Scenery"),
        ({"alp": 0.25, "seashore": 0.25}, "Scenery"),
        ({"alp": 0.25, "seashore": 0.125, "church": 0.25}, None),
        ({"church": 0.5, "alp": 0.25, "seashore": 0.125}, "Architecture"),
        ({"tabby": 0.9}, "Animal"),
        ({"lens cap": 0.9, "alp": 0.1}, None),
        ({"a class of another network": 1.0}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_likeliest_category_counts_and_its_kind_if_that_is_likely_alone(seen, concept):
    assert classes(None, seen, {"church": 0.9}) == [None, concept, "Architecture > Temple"]


def test_a_kind_never_belongs_to_another_category_than_the_likeliest():
    loose = dataclasses.replace(CONCEPTS, evidence=Evidence(category=0.3, kind=0.3))
    seen = {"alp": 0.2, "seashore": 0.2, "church": 0.35}
    lists = pa.chunked_array([[list(seen)]]), pa.chunked_array([[list(seen.values())]])
    assert of_classes(loose, *lists).to_pylist() == ["Scenery"]


def test_without_a_mapping_or_rows_nothing_is_said():
    lists = pa.chunked_array([[["alp"]]]), pa.chunked_array([[[1.0]]])
    assert of_classes(load_concepts(), *lists).to_pylist() == [None]
    none = pa.chunked_array([], pa.list_(pa.string())), pa.chunked_array([], pa.list_(pa.float32()))
    assert of_classes(CONCEPTS, *none).to_pylist() == []


def test_the_largest_object_that_is_sure_and_tells():
    labels = pa.chunked_array([[["bowl", "dog", "cat"], ["dog", "cat"]], [[], None, ["bowl"], ["kraken"]]])
    evidence = pa.chunked_array([[[0.9, 0.8, 0.9], [0.3, 0.6]], [[], None, [0.9], [0.9]]])
    found = of_objects(CONCEPTS, labels, evidence, ("cat", "dog", "kraken"))
    assert found.to_pylist() == ["Animal > Dog", "Animal > Cat", None, None, None, "Unknown"]
