"""Whether one short text says what another does: by its claims, or by a language model.

yes 1.0, part 0.5, no 0.0, None: it could not be judged. Vectors of meaning and shared words are no judges of that: they
say whether two texts are alike, and opposites are ("opens the door", "closes the door").
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
from captioner.lexicon import CLAIMS, agreement
from captioner.meaning import Meaning
from captioner.prompt import Template, load, quoted
from captioner.serialize import is_chinese

Score = float | None
Pair = tuple[str, str]
"""What is true, and what was said."""
SAME_MEANING = 0.5
"""Cosine from which two texts are alike. Ours: 10 of 12 paraphrases are, 4 of 120 pairs of other clips'
texts, but also 28 of 30 pairs that differ in what matters ("a red dress", "a blue dress")."""
SAME_WORDS = 0.34
"""Dice coefficient of the words from which two texts are alike. Ours: a paraphrase seldom reaches it (3 of 12)."""
VERDICTS: Mapping[str, Score] = {"yes": 1.0, "part": 0.5, "no": 0.0}
ANSWER_TOKENS = 2_048
"""Of a verdict, with the thoughts before it: a model that does not think stops after a few. Ours."""
_VERDICT = re.compile(
    r"\W*(?:(?:the )?(?:answer|verdict)(?: is)?\W+)?(yes|part|partly|partial|partially|no)\b", re.IGNORECASE
)
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

    @property
    def sure(self) -> bool:
        """Whether its scores say that a text is right; else only that it is like the true one (1.0) or not (0.0)."""
        ...

    def scores(self, field_name: str, pairs: Sequence[Pair]) -> list[Score]:
        """One score a pair, in order."""
        ...


@dataclass(frozen=True)
class ByClaims:
    """A Judge that compares the claims of texts that make any (captioner.lexicon), and asks another about the rest.

    Where the other is not sure, a text that claims nothing of what is true is not right, and where the truth claims
    nothing, all but the same text is unjudged.
    """

    other: Judge

    @property
    def name(self) -> str:
        return f"claims, then {self.other.name}"

    @property
    def sure(self) -> bool:
        """See Judge. Of the fields of claims it always is."""
        return self.other.sure

    def scores(self, field_name: str, pairs: Sequence[Pair]) -> list[Score]:
        """See Judge."""
        claims = CLAIMS.get(field_name)
        if claims is None:
            return self.other.scores(field_name, pairs)
        found = [
            1.0 if true.casefold() == said.casefold() else agreement(claims(true), claims(said))
            for true, said in pairs
        ]
        if not self.other.sure:
            return [
                0.0 if score is None and any(claims(true)) else score
                for score, (true, _) in zip(found, pairs, strict=True)
            ]
        open_pairs = [pair for pair, score in zip(pairs, found, strict=True) if score is None]
        rest = iter(self.other.scores(field_name, open_pairs))
        return [next(rest) if score is None else score for score in found]


@dataclass(frozen=True)
class ByMeaning:
    """Likeness by the cosine of the texts' vectors; texts in Chinese, which the model does not know, by their words."""

    meaning: Meaning
    least: float = SAME_MEANING
    sure: bool = False

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
    """Likeness by the words that two texts share (in Chinese the characters): coarse, and always there."""

    least: float = SAME_WORDS
    sure: bool = False

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
    sure: bool = True

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
        return Prompt(key, user, system, max_tokens=ANSWER_TOKENS)

    def _known(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.cache is not None and self.cache.exists():
            for line in self.cache.read_text(encoding="utf-8", errors="replace").splitlines():
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
    """The verdict that an answer begins with, after a model's thoughts; empty where it begins with something else."""
    found = _VERDICT.match(without_thoughts(text))
    return ("part" if found[1].lower().startswith("part") else found[1].lower()) if found else ""
