"""A structured caption as a prompt: the words that training reads and that generation must repeat byte for byte.

Two kinds (SkyReels-V2, arXiv 2504.13074, caption fusion): t2v is dense: the shot, each subject's action, appearance,
expression and position, then environment and lighting; i2v is sparse, for the first frame shows the rest: subjects,
action, expression. The camera's motion comes last in both. Fields are dropped at random, keyed by the clip's id, so
that a model learns to do with less; a subject is always named, and dropping never leaves a prompt empty.

Nothing here needs more than the schema: a trainer and a server import this module, and no other of the pipeline.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from captioner import chinese, english
from captioner.phrases import in_chinese
from captioner.schema import Caption, Subject

ENGINE = "rushes-serializer/2"
"""Who wrote a text of this module: its number goes up when the same caption gives other words."""

Kind = Literal["t2v", "i2v"]
Language = Literal["en", "zh"]
KINDS: tuple[Kind, ...] = ("t2v", "i2v")
OF_SUBJECT: dict[Kind, tuple[str, ...]] = {
    "t2v": ("action", "appearance", "expression", "position"),
    "i2v": ("action", "expression"),
}
"""Fields of a subject that each kind says, in its order."""
_SHOT = ("shot_type", "shot_angle", "shot_position")
_NOTHING = frozenset(
    (
        *("n/a", "na", "none", "null", "nil", "unknown", "unspecified", "not specified", "not applicable"),
        *("not visible", "not available", "undefined", "other", "无", "没有", "未知", "不详", "不适用"),
    )
)
"""Texts, in lower case and without a full stop, that say nothing."""
UNNAMED: dict[Language, str] = {"en": "subject", "zh": "主体"}
"""What a subject is called whose names are in another language."""
_EDGES = " \t,;:，；：、-–—|/·•*"


@dataclass(frozen=True)
class Written:
    """One prompt."""

    text: str
    """Empty exactly when the caption says nothing in this language."""
    dropped: tuple[str, ...] = ()
    """What the caption says and the text leaves out: `lighting`, `subjects.0.action` ..."""


def write(
    caption: Caption,
    clip_id: str,
    kind: Kind,
    language: Language = "en",
    variant: int = 0,
    seed: int = 0,
    dropout: float = 0.1,
) -> Written:
    """The prompt of a clip for training: each field is left out with chance `dropout`, decided by (seed, clip,
    variant, field) alone; a field in another language is left out too."""
    spoken = [name for name, text in said(caption, kind) if in_language(text, language, name)]
    chosen = [name for name in spoken if draw(seed, clip_id, variant, name) >= dropout]
    text = prompt(caption, kind, language, chosen)
    if not text:
        chosen = spoken
        text = prompt(caption, kind, language, chosen)
    return Written(text, tuple(name for name, _ in said(caption, kind) if name not in chosen))


def prompt(
    caption: Caption, kind: Kind, language: Language = "en", fields: Collection[str] | None = None
) -> str:
    """The prompt of a caption, for generation: all that it says in this language, or of that the named `fields`."""
    space = " " if language == "en" else ""
    return space.join(parts(caption, kind, language, fields))


def parts(
    caption: Caption, kind: Kind, language: Language, fields: Collection[str] | None = None
) -> list[str]:
    """The prompt's sentences in order; the camera's motion, where it is said, is the last."""
    told = {
        name: words
        for name, text in said(caption, kind)
        if (fields is None or name in fields) and (words := in_language(text, language, name))
    }
    wording = english if language == "en" else chinese
    shown = caption.model_copy(update={name: told.get(name, "") for name in _SHOT})
    found = [wording.shot(shown), *_subjects(caption, kind, language, told)]
    found += [wording.environment(told["environment"])] if "environment" in told else []
    found += [wording.lighting(told["lighting"])] if "lighting" in told else []
    found += [wording.camera(told["camera_motion"])] if "camera_motion" in told else []
    return [text for text in found if text]


def said(caption: Caption, kind: Kind) -> list[tuple[str, str]]:
    """Name and text of each field that says something and that this kind tells, in its order."""
    listed = [(name, str(getattr(caption, name))) for name in _SHOT] if kind == "t2v" else []
    for number, subject in ordered(caption):
        listed += [(f"subjects.{number}.{name}", getattr(subject, name)) for name in OF_SUBJECT[kind]]
    if kind == "t2v":
        listed += [("environment", caption.environment), ("lighting", caption.lighting)]
    listed.append(("camera_motion", caption.camera_motion))
    return [(name, text) for name, text in listed if tidy(text)]


def ordered(caption: Caption) -> list[tuple[int, Subject]]:
    """The subjects with their places in the caption, the main one first."""
    return sorted(enumerate(caption.subjects), key=lambda pair: not pair[1].is_main_subject)


def _subjects(caption: Caption, kind: Kind, language: Language, told: dict[str, str]) -> list[str]:
    seen: Counter[str] = Counter()
    nouns = [noun(subject, language) for _, subject in ordered(caption)]
    sentences: list[str] = []
    for (number, subject), name in zip(ordered(caption), nouns, strict=True):
        texts = [
            (field, told[f"subjects.{number}.{field}"])
            for field in OF_SUBJECT[kind]
            if f"subjects.{number}.{field}" in told
        ]
        if language == "en":
            sentences += english.subject(subject, name, seen[name], texts)
        else:
            sentences += chinese.subject(name, seen[name], texts, _one_of(subject))
        seen[name] += 1
    return sentences


def noun(subject: Subject, language: Language) -> str:
    """What a subject is called: its sub-type, else its type, in this language."""
    words = [_noun(text) for text in (subject.TYPES.sub_type, subject.TYPES.type)]
    for word in filter(None, words):
        if language == "zh":
            found = word if is_chinese(word) else _in_chinese(word, subject.TYPES.type)
        else:
            found = _ENGLISH.get(word, "") if is_chinese(word) else word
        if found:
            return found
    return UNNAMED[language]


def _in_chinese(word: str, kind: str) -> str:
    """The Chinese noun of an English one, of its head or of the head's singular; empty where the table has none.

    A young woman is a woman, a group of dancers a group; of animals, a group is no crowd and a mouse no device.
    """
    plain = word.lower()
    if len(english.pair(plain)) == 2:
        return chinese.NOUNS["couple"]
    known = chinese.NOUNS if kind.lower() != "animal" else chinese.OF_ANIMALS
    first, _, second = plain.partition(" and ")
    if second and first.split()[-1].removesuffix("s") in known:
        return known.get("crowd", "")
    head = plain.split(" of ")[0]
    last = head.split()[-1] if head.split() else ""
    singles = [
        single
        for one in (plain, head, last)
        for single in (one, one.removesuffix("s"), one.removesuffix("es"))
    ]
    return next((known[one] for one in singles if one in known), "")


def _one_of(subject: Subject) -> bool:
    """Whether a subject is one of its Chinese noun: not where its English sub-type is unknown or a plural."""
    word = _noun(subject.TYPES.sub_type)
    if not word or is_chinese(word) or word.lower() in chinese.NOUNS:
        return True
    return bool(_in_chinese(word, subject.TYPES.type)) and not english.is_plural(word)


def _noun(text: str) -> str:
    """A type's name as a noun in a sentence: `Golden_Retriever` is a golden retriever; abbreviations keep capitals."""
    plain = re.sub(r"^(an?|the)\s+", "", tidy(text.replace("_", " ")), flags=re.IGNORECASE).rstrip(".。")
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in plain.split())


_ENGLISH = {word: name for name, word in reversed(chinese.NOUNS.items())} | {"女人": "woman", "男人": "man"}


def tidy(text: str) -> str:
    """The text without stray punctuation at its ends; empty where it says nothing, as `-` and `N/A` do."""
    plain = text.strip(_EDGES)
    bare = plain.rstrip(".。!?！？").casefold()
    return "" if bare in _NOTHING or not any(char.isalnum() for char in plain) else plain


def is_chinese(text: str) -> bool:
    """Whether a text has more Chinese characters than words in another script."""
    characters = sum("\u3400" <= char <= "\u9fff" for char in text)
    return characters > len(re.findall(r"[^\W\d_\u3400-\u9fff]+", text))


def in_language(text: str, language: Language, name: str) -> str:
    """A field's text in a language: its own words, or what a table makes of them (closed vocabularies, the phrases of
    the embedded captioner); empty where they are in another."""
    if name in _SHOT or is_chinese(text) == (language == "zh"):
        return tidy(text)
    return in_chinese(name.rsplit(".", 1)[-1], tidy(text)) if language == "zh" else ""


def draw(seed: int, clip_id: str, variant: int, field: str) -> float:
    """A number in [0, 1) that these four alone decide."""
    digest = hashlib.sha256(f"{seed}\n{clip_id}\n{variant}\n{field}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
