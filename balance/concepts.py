"""What a clip is about: a caption's words for its main subject, mapped to a concept of the taxonomy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.recipe import RECIPES

UNKNOWN = "Unknown"
"""The concept of a clip whose caption names no subject, or one that the taxonomy does not have."""
SEPARATOR = " > "


@dataclass(frozen=True)
class Concepts:
    """The taxonomy: categories, and by folded word the concept that it means."""

    categories: tuple[str, ...]
    by_type: Mapping[str, str]
    """Category by its name or another word for it."""
    by_kind: Mapping[str, str]
    """Concept (`Human > Woman`) by the name of a kind or another word for it."""

    def concept_of(self, subject_type: str | None, sub_type: str | None) -> str:
        """`Human > Woman`, `Human` where the kind is not known, or UNKNOWN.

        Where type and kind disagree (Animal, Woman), the type wins; a type that is not in the taxonomy gives way to
        the kind.
        """
        first, second = _folded(subject_type), _folded(sub_type)
        category = self.by_type.get(first) or category_of(self.by_kind.get(first, UNKNOWN))
        for word in (second, first):
            concept = self.by_kind.get(word)
            if concept and category in (category_of(concept), UNKNOWN):
                return concept
        return self.by_type.get(second, UNKNOWN) if category == UNKNOWN else category

    def assign(self, subject_types: pa.ChunkedArray, sub_types: pa.ChunkedArray) -> pa.Array:
        """(rows,) concepts as strings; each different pair of words is looked up once."""
        words = [_one(column).dictionary_encode() for column in (subject_types, sub_types)]
        codes = [part.indices.fill_null(-1).to_numpy().astype(np.int64) + 1 for part in words]
        listed = [[None, *part.dictionary.to_pylist()] for part in words]
        width = len(listed[1])
        pairs, inverse = np.unique(codes[0] * width + codes[1], return_inverse=True)
        concepts = [
            self.concept_of(listed[0][pair // width], listed[1][pair % width]) for pair in pairs.tolist()
        ]
        return pa.array(concepts, pa.string()).take(pa.array(inverse))


def category_of(concept: str) -> str:
    """`Human` of `Human > Woman`."""
    return concept.partition(SEPARATOR)[0]


def load_concepts(path: Path = RECIPES / "concepts.toml") -> Concepts:
    """The taxonomy of a file such as recipes/concepts.toml. ValueError names the file and what is wrong with it."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: it cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: it is not TOML: {error}.") from None
    by_type: dict[str, str] = {}
    by_kind: dict[str, str] = {}
    seen: dict[str, str] = {_folded(UNKNOWN): UNKNOWN}
    for category, table in document.items():
        for word, concept in _words(path, category, table):
            key = _folded(word)
            if not key or key in seen:
                raise ValueError(
                    f"{path}: {concept}: the word {word!r} is empty or stands for {seen.get(key)} too."
                )
            seen[key] = concept
            (by_kind if SEPARATOR in concept else by_type)[key] = concept
    if not document:
        raise ValueError(f"{path}: it has no category.")
    return Concepts(tuple(document), by_type, by_kind)


def _words(path: Path, category: str, table: Any) -> Iterator[tuple[str, str]]:
    """Every word of a category and the concept that it means."""
    if (
        not isinstance(table, dict)
        or set(table) - {"also", "kinds"}
        or not isinstance(table.get("kinds", {}), dict)
    ):
        raise ValueError(f"{path}: {category}: a category is a table of `also` and `kinds`.")
    lists = {category: table.get("also", [])}
    lists |= {f"{category}{SEPARATOR}{kind}": words for kind, words in table.get("kinds", {}).items()}
    for concept, words in lists.items():
        if SEPARATOR.strip() in concept.replace(SEPARATOR, "", 1):
            raise ValueError(f"{path}: {concept}: a name has no {SEPARATOR.strip()} in it.")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"{path}: {concept}: its other words are a list of texts.")
        yield concept.rpartition(SEPARATOR)[2], concept
        yield from ((word, concept) for word in words)


def _folded(word: str | None) -> str:
    """The word without case, punctuation between words and plural s."""
    plain = re.sub(r"[\s_-]+", " ", word or "").strip().casefold()
    return plain[:-1] if len(plain) > 3 and plain.endswith("s") and not plain.endswith("ss") else plain


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.cast(pa.string()).combine_chunks()
