"""What may be taught: captions that keep the rules of the prompt that the next captioner is asked with."""

from __future__ import annotations

from dataclasses import dataclass

from captioner.embedded import ENGINE
from captioner.generate import Finish
from captioner.schema import dumps, loads
from captioner.spelling import VOCABULARIES
from captioner.trust import Expected, Fault, judge

EMBEDDED, UNREADABLE, EMPTY, VOCABULARY = "embedded", "unreadable", "empty", "vocabulary"
"""Why a caption is no target, beside the faults of captioner.trust: the embedded captioner wrote it, the schema does
not know it, it says nothing, or it leaves a closed field empty, which every prompt forbids."""


@dataclass(frozen=True)
class Untaught:
    """Why a caption is no target, in one word."""

    why: str


def target_of(caption: str, engine: str, language: str, embedded: bool = False) -> str | Untaught:
    """The canonical JSON that a caption teaches, or why it teaches nothing.

    It must stand as a model's answer would: of the right form, in `language`, every closed field said. Placeholders
    become empty strings. The embedded captioner's captions leave out what it cannot know and so would teach silence;
    with `embedded` they are taken as they are, as long as they say anything.
    """
    try:
        read = loads(caption)
    except ValueError:
        return Untaught(UNREADABLE)
    if not read.said():
        return Untaught(EMPTY)
    if engine.startswith(ENGINE.partition("/")[0]):
        return dumps(read) if embedded else Untaught(EMBEDDED)
    found = judge(dumps(read), Finish.STOP, Expected(language))
    if isinstance(found, Fault):
        return Untaught(str(found.kind))
    if not all(getattr(found.caption, name) for name in VOCABULARIES):
        return Untaught(VOCABULARY)
    return dumps(found.caption)
