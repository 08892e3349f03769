"""The taxonomy: a caption's words for a main subject, and a classifier's classes, mapped to concepts."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from balance.phrases import folded, key, keys, phrases
from pipeline.recipe import RECIPES

UNKNOWN = "Unknown"
"""The concept of a clip of which nothing names the subject, or of a subject that the taxonomy does not have."""
SEPARATOR = " > "
RANGE = " .. "
"""Between the first and the last of a run of classes."""
EVIDENCE = "evidence"


@dataclass(frozen=True)
class Evidence:
    """How sure must be what stands in for a caption; chosen on real clips (docs/log.md)."""

    object: float = 0.5
    """Evidence of a detected object (docs/filters.md): the one from which the embedded captioner names a subject."""
    category: float = 0.5
    """Sum of the probabilities of a category's classes from which a clip is of it."""
    kind: float = 0.8
    """The same of a narrower concept."""


@dataclass(frozen=True)
class Concepts:
    """The taxonomy: categories, and by folded word the concept that it means."""

    categories: tuple[str, ...]
    by_type: Mapping[str, str]
    """Category by its name or another word for it."""
    by_kind: Mapping[str, str]
    """Concept (`Human > Woman`) by the name of a kind or another word for it."""
    by_class: Mapping[str, str] = field(default_factory=dict)
    """Concept by a classifier's class."""
    evidence: Evidence = Evidence()

    @property
    def names(self) -> tuple[str, ...]:
        """Every concept, from the broad to the narrow: Human, Human > Baby ..."""
        return tuple(sorted({*self.categories, *self.by_kind.values()}))

    def concept_of(self, subject_type: str | None, sub_type: str | None) -> str:
        """`Human > Woman`, `Human` where the kind is not known, or UNKNOWN.

        Where type and kind disagree (Animal, Woman), the type wins; a type that is not in the taxonomy gives way to
        the kind. Of a phrase that is not in it, the last words count (balance.phrases): a young woman is a woman. The
        last character of a Chinese word alone may say the kind, never the category.
        """
        category = self._category(tuple(phrases(subject_type)))
        sure = category != UNKNOWN
        for word in (sub_type, subject_type):
            for phrase in phrases(word, short=sure):
                concept = self.by_kind.get(phrase)
                if concept and category in (category_of(concept), UNKNOWN):
                    return concept
        return category if sure else self._category(tuple(phrases(sub_type)))

    def _category(self, asked: tuple[str, ...]) -> str:
        """The category of the first of these phrases that is known, else UNKNOWN."""
        for phrase in asked:
            concept = self.by_type.get(phrase) or self.by_kind.get(phrase)
            if concept:
                return category_of(concept)
        return UNKNOWN

    def assign(self, subject_types: pa.ChunkedArray, sub_types: pa.ChunkedArray) -> pa.Array:
        """(rows,) concepts as strings; each different pair of words is looked up once."""
        pairs, inverse = _pairs(subject_types, sub_types)
        concepts = [self.concept_of(*pair) for pair in pairs]
        return pa.array(concepts, pa.string()).take(pa.array(inverse))

    def unmapped(self, subject_types: pa.ChunkedArray, sub_types: pa.ChunkedArray) -> Counter[Unmapped]:
        """How many rows say something that the taxonomy does not have as it is said, and what it takes them for."""
        pairs, inverse = _pairs(subject_types, sub_types)
        counts = np.bincount(inverse, minlength=len(pairs)).tolist()
        found: Counter[Unmapped] = Counter()
        for (first, second), count in zip(pairs, counts, strict=True):
            words = [word for word in (first, second) if word and word.strip()]
            if not all(self._category(tuple(keys(folded(word)))) != UNKNOWN for word in words):
                concept = self.concept_of(first, second)
                sure = concept != UNKNOWN
                guessed = sure and all(
                    self._category(tuple(phrases(word, sure))) != UNKNOWN for word in words
                )
                found[Unmapped(first or "", second or "", concept, guessed)] += count
        return found


@dataclass(frozen=True, order=True)
class Unmapped:
    """A pair of words of which the taxonomy lacks one, and the concept that is left."""

    subject_type: str
    sub_type: str
    concept: str
    guessed: bool = False
    """Nothing but the last words of what it lacks told the concept."""


def category_of(concept: str) -> str:
    """`Human` of `Human > Woman`."""
    return concept.partition(SEPARATOR)[0]


def load_concepts(path: Path = RECIPES / "concepts.toml", classes: Sequence[str] = ()) -> Concepts:
    """The taxonomy of a file such as recipes/concepts.toml. ValueError names the file and what is wrong with it.

    `classes` are those of the classifier, in its order; without them the file is not asked what they mean.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: it cannot be read: {error.strerror}.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: it is not TOML: {error}.") from None
    evidence = _evidence(path, document.pop(EVIDENCE, {}))
    by_type: dict[str, str] = {}
    by_kind: dict[str, str] = {}
    seen: dict[str, str] = {key(folded(UNKNOWN)): UNKNOWN}
    for category, table in document.items():
        for word, concept in _words(path, category, table):
            kept = key(folded(word))
            if not kept or kept in seen:
                raise ValueError(
                    f"{path}: {concept}: the word {word!r} is empty or stands for {seen.get(kept)} too."
                )
            seen[kept] = concept
            (by_kind if SEPARATOR in concept else by_type)[kept] = concept
    if not document:
        raise ValueError(f"{path}: it has no category.")
    concepts = {*document, *by_kind.values()}
    by_class = _by_class(path, document, classes, concepts) if classes else {}
    return Concepts(tuple(document), by_type, by_kind, by_class, evidence)


def _evidence(path: Path, table: Any) -> Evidence:
    names = set(asdict(Evidence()))
    if not isinstance(table, dict) or set(table) - names:
        raise ValueError(f"{path}: {EVIDENCE}: it is a table of {', '.join(sorted(names))}.")
    for name, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise ValueError(f"{path}: {EVIDENCE}.{name}: {value!r} is no share over 0 and up to 1.")
    return Evidence(**{name: float(value) for name, value in table.items()})


def _by_class(
    path: Path, document: Mapping[str, Any], classes: Sequence[str], concepts: set[str]
) -> dict[str, str]:
    """By class the concept that the tables `classes` give it."""
    place = {name: number for number, name in enumerate(classes)}
    found: dict[str, str] = {}
    for category, table in document.items():
        for name, runs in table.get("classes", {}).items():
            concept = category if name == category else f"{category}{SEPARATOR}{name}"
            if concept not in concepts or not isinstance(runs, list):
                raise ValueError(
                    f"{path}: {category}.classes: {name} is no kind of it with a list of classes."
                )
            for run in runs:
                first, _, last = str(run).partition(RANGE)
                ends = place.get(first), place.get(last or first)
                if ends[0] is None or ends[1] is None or ends[0] > ends[1]:
                    raise ValueError(
                        f"{path}: {concept}: the classifier has no class or run of them {run!r}."
                    )
                for label in classes[ends[0] : ends[1] + 1]:
                    if label in found:
                        raise ValueError(f"{path}: {concept}: the class {label!r} means {found[label]} too.")
                    found[label] = concept
    return found


def _words(path: Path, category: str, table: Any) -> Iterator[tuple[str, str]]:
    """Every word of a category and the concept that it means."""
    if (
        not isinstance(table, dict)
        or set(table) - {"also", "kinds", "classes"}
        or not all(isinstance(table.get(name, {}), dict) for name in ("kinds", "classes"))
    ):
        raise ValueError(f"{path}: {category}: a category is a table of `also`, `kinds` and `classes`.")
    lists = {category: table.get("also", [])}
    lists |= {f"{category}{SEPARATOR}{kind}": words for kind, words in table.get("kinds", {}).items()}
    for concept, words in lists.items():
        if SEPARATOR.strip() in concept.replace(SEPARATOR, "", 1):
            raise ValueError(f"{path}: {concept}: a name has no {SEPARATOR.strip()} in it.")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"{path}: {concept}: its other words are a list of texts.")
        yield concept.rpartition(SEPARATOR)[2], concept
        yield from ((word, concept) for word in words)


def _pairs(
    one: pa.ChunkedArray, two: pa.ChunkedArray
) -> tuple[list[tuple[str | None, str | None]], npt.NDArray[np.int64]]:
    """The different pairs of words of two columns, and (rows,) which of them each row has."""
    words = [_one(column).dictionary_encode() for column in (one, two)]
    codes = [part.indices.fill_null(-1).to_numpy().astype(np.int64) + 1 for part in words]
    listed = [[None, *part.dictionary.to_pylist()] for part in words]
    width = len(listed[1])
    pairs, inverse = np.unique(codes[0] * width + codes[1], return_inverse=True)
    return [(listed[0][pair // width], listed[1][pair % width]) for pair in pairs.tolist()], inverse


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.cast(pa.string()).combine_chunks()
