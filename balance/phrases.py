"""What a phrase for a subject may be looked up as: itself, then the words of it that say what it is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

BRACKETED = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|【[^【】]*】")
CHINESE = re.compile("[\u3400-\u9fff]")
AFTER = re.compile(
    r" (?:of|with|without|in|on|at|by|from|for|to|near|behind|beside|under|inside|who|that|which"
    r"|wearing|holding|riding|carrying) "
)
"""What stands before one of these words is what a thing is: a statue of a woman is a statue. Ours."""
THROUGH = re.compile(
    r"\b(?:group|herd|flock|pack|school|swarm|bunch|bouquet|pair|couple|row|line|pile|number|lot|variety|kind|type|piece"
    r"|slice|view|shot|headshot|scene|image|picture|closeup|close up)s?$"
)
"""... unless "of" follows one of these, which say nothing of themselves: a herd of elephants is elephants. Ours."""
MARKS = " .,;:!?\"'()[]“”‘’「」【】《》。、"
"""What does not count at either end."""
LONGEST = 100
"""Characters at the end of a phrase that are looked at. Ours."""
SIBILANTS = ("s", "x", "z", "ch", "sh", "o")
"""Ends of words that make their plural with es."""


def folded(word: str | None) -> str:
    """The word without case, width, remarks in brackets, and punctuation between and around words."""
    plain = unicodedata.normalize("NFKC", word or "").casefold()
    plain = BRACKETED.sub(" ", plain) if BRACKETED.sub("", plain).strip() else plain
    return re.sub(r"[\s_-]+", " ", plain).strip(MARKS)


def key(word: str) -> str:
    """A folded word as a taxonomy is kept: without a last s."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def keys(word: str) -> Iterator[str]:
    """Every key of which a folded word may be the plural: wolves of wolve and wolf."""
    yield key(word)
    if word.endswith("es") and word[:-2].endswith(SIBILANTS):
        yield key(word[:-2])
    if word.endswith("ies"):
        yield key(word[:-3] + "y")
    if word.endswith("ves"):
        yield from (word[:-3] + "f", word[:-3] + "fe")


def phrases(word: str | None, short: bool = False) -> Iterator[str]:
    """The keys that say what a word or phrase is, from the most to the least that is said.

    What a thing is comes last in English and in Chinese: a young woman is a woman, 年轻女人 too. The last character
    of a longer Chinese word counts only where `short`: 白猫 is a cat (猫), but 河马 (hippopotamus) no horse (马).
    """
    whole = folded(word)
    yield from keys(whole)
    for head in _heads(whole):
        for start in _starts(head):
            if short or len(head) - start > 1 or not CHINESE.match(head[start]):
                yield from keys(head[start:])


def _heads(phrase: str) -> list[str]:
    """What a phrase says that it is, without what follows, the most telling first."""
    heads = []
    while cut := AFTER.search(phrase):
        head = phrase[: cut.start()]
        heads.append(head)
        if cut.group() != " of " or not THROUGH.search(head):
            return heads[::-1]
        phrase = phrase[cut.end() :]
    return [phrase, *heads[::-1]]


def _starts(phrase: str) -> list[int]:
    """Where its last words start, and in Chinese, which has no spaces, its last characters."""
    first = max(0, len(phrase) - LONGEST)
    return [
        place
        for place, one in enumerate(phrase[first:], first)
        if one != " " and (not place or phrase[place - 1] == " " or CHINESE.match(one))
    ]
