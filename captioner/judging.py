"""Whether one short text says what another does: by its claims, by its meaning, by its words, or by a language model.

yes 1.0, part 0.5, no 0.0, None: it could not be judged
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from captioner.generate import Finish, Generator, Prompt
from captioner.guards import without_thoughts
from captioner.lexicon import CLAIMS
from captioner.meaning import Meaning
from captioner.prompt import Template, load, quoted
from captioner.serialize import is_chinese

Score = float | None
Pair = tuple[str, str]
"""What is true, and what was said."""
SAME_MEANING = 0.5
"""Cosine from which two texts mean the same. Ours: of 12 paraphrases 10 are above it, of 12 contradictions 11 below;
the twelfth spoke of places, which are compared by their claims."""
SAME_WORDS = 0.34
"""Dice coefficient of the words from which two texts say the same. Ours: a paraphrase seldom reaches it (3 of 12)."""
VERDICTS: Mapping[str, Score] = {"yes": 1.0, "part": 0.5, "no": 0.0}
_EMPTY_WORDS = frozenset(
    (
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "and",
        "with",
        "to",
        "his",
        "her",
        "she",
        "he",
        "it",
        "is",
        "are",
        "by",
    )
)


class Judge(Protocol):
    """Compares texts of one field."""

    @property
    def name(self) -> str:
        """What an evaluation says of how it judged."""
        ...

    def scores(self, field_name: str, pairs: Sequence[Pair]) -> list[Score]:
        """One score a pair, in order."""
        ...


@dataclass(frozen=True)
class ByClaims:
    """A Judge that compares the claims of texts that make any (captioner.lexicon), and asks another about the rest.

    All claims the same: 1; some: 0.5; none: 0.
    """

    other: Judge

    @property
    def name(self) -> str:
        return f"claims, then {self.other.name}"

    def scores(self, field_name: str, pairs: Sequence[Pair]) -> list[Score]:
        """See Judge."""
        claims = CLAIMS.get(field_name)
        found = [_agreement(claims(true), claims(said)) if claims else None for true, said in pairs]
        open_pairs = [pair for pair, score in zip(pairs, found, strict=True) if score is None]
        rest = iter(self.other.scores(field_name, open_pairs))
        return [next(rest) if score is None else score for score in found]


def _agreement(true: frozenset[str], said: frozenset[str]) -> Score:
    if not true or not said:
        return None
    return 1.0 if true == said else 0.5 if true & said else 0.0


@dataclass(frozen=True)
class ByMeaning:
    """A Judge by the cosine of the texts' vectors; texts in Chinese, which the model does not know, by their words."""

    meaning: Meaning
    least: float = SAME_MEANING

    @property
    def name(self) -> str:
        return f"all-MiniLM-L6-v2, cosine from {self.least:g}"

    def scores(self, field_name: str, pairs: Sequence[Pair]) -> list[Score]:
        """See Judge."""
        texts = list(dict.fromkeys(text for pair in pairs if not _chinese(pair) for text in pair))
        place = {text: number for number, text in enumerate(texts)}
        vectors = self.meaning.vectors(texts)
        words = ByWords()
        return [
            words.scores(field_name, [pair])[0]
            if _chinese(pair)
            else float(vectors[place[pair[0]]] @ vectors[place[pair[1]]] >= self.least)
            for pair in pairs
        ]


def _chinese(pair: Pair) -> bool:
    return any(map(is_chinese, pair))


@dataclass(frozen=True)
class ByWords:
    """A Judge by the words that two texts share (in Chinese the characters): coarse, and always there."""

    least: float = SAME_WORDS

    @property
    def name(self) -> str:
        return f"shared words, Dice from {self.least:g}"

    def scores(self, field_name: str, pairs: Sequence[Pair]) -> list[Score]:
        """See Judge."""
        return [float(overlap(*pair) >= self.least) for pair in pairs]


def overlap(one: str, other: str) -> float:
    """Dice coefficient of two texts' words, 0 to 1; stop words do not count."""
    first, second = (
        set(re.findall(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+", text.lower())) - _EMPTY_WORDS
        for text in (one, other)
    )
    return 2 * len(first & second) / (len(first) + len(second)) if first or second else 0.0


@dataclass(frozen=True)
class ByModel:
    """A Judge that asks a language model for yes, part or no, and asks it about the same pair only once."""

    generator: Generator
    cache: Path | None = None
    """JSON Lines of what was asked before; None keeps nothing."""
    template: Template = field(default_factory=lambda: load("judge_en", {"field", "texts"}))

    @property
    def name(self) -> str:
        return f"{self.generator.name} {self.template.label}"

    def scores(self, field_name: str, pairs: Sequence[Pair]) -> list[Score]:
        """See Judge. GeneratorDied passes."""
        keys = [self._key(field_name, pair) for pair in pairs]
        known = self._known()
        asked = {
            key: self._prompt(key, field_name, pair)
            for key, pair in zip(keys, pairs, strict=True)
            if key not in known
        }
        if asked:
            for answer in self.generator.generate(list(asked.values())):
                verdict = _verdict(answer.text) if answer.finish is Finish.STOP else ""
                if answer.key in asked and verdict and not answer.frames_sha256:
                    known[answer.key] = verdict
                    self._keep(answer.key, verdict)
        return [VERDICTS.get(known.get(key, "")) for key in keys]

    def _key(self, field_name: str, pair: Pair) -> str:
        text = json.dumps([self.name, field_name, *pair])
        return hashlib.sha256(text.encode()).hexdigest()

    def _prompt(self, key: str, field_name: str, pair: Pair) -> Prompt:
        texts = quoted({"truth": pair[0], "said": pair[1]})
        system, user = self.template.render({"field": field_name.replace("_", " "), "texts": texts})
        return Prompt(key, user, system, max_tokens=8)

    def _known(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.cache is not None and self.cache.exists():
            for line in self.cache.read_text(encoding="utf-8").splitlines():
                try:
                    row = json.loads(line)
                    found |= {row["key"]: row["verdict"]} if row["verdict"] in VERDICTS else {}
                except (ValueError, KeyError, TypeError):
                    continue  # the line that a killed command was writing
        return found

    def _keep(self, key: str, verdict: str) -> None:
        if self.cache is not None:
            with self.cache.open("a", encoding="utf-8") as file:
                # begins a line of its own, whatever a killed command left
                file.write("\n" + json.dumps({"key": key, "verdict": verdict}) + "\n")


def _verdict(text: str) -> str:
    """The one word of an answer; empty where it is another, or more than one of them."""
    words = set(re.findall(r"[a-z]+", without_thoughts(text).lower()[:200]))
    found = words & VERDICTS.keys()
    return found.pop() if len(found) == 1 else ""
