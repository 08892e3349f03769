"""The low seam: prompts in, texts out, in any order. The captioner, fusion and the judge are built on it.

A generator is a language model, with or without eyes: in this process, or behind a server. It knows no schema of
ours and repairs nothing; `captioner.trust` decides what its text is worth. Every answer carries the key and the digest
of the frames of its prompt, which its generator takes from the prompt that it believes to have been answered: that
finds a generator's own slips. What a server mixes up shows only in the request id that it echoes; where it echoes none,
the answer's notes say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from pipeline.stage import FrameBatch, StageDied


class Finish(StrEnum):
    """Why a generator stopped writing."""

    STOP = "stop"  # the model ended its answer
    LENGTH = "length"  # it ran into max_tokens or the context's end
    ERROR = "error"  # there is no answer: `message` says why


@dataclass(frozen=True)
class Prompt:
    """One thing asked of a model."""

    key: str
    """Unique among the prompts at work: a clip's id, or an id and an attempt."""
    user: str
    system: str = ""
    frames: FrameBatch | None = None
    """RGB frames in order, shown before the text; None for a model that reads only."""
    frames_sha256: str = ""
    """`captioner.engine.frames_digest(frames)`; empty without frames."""
    fps: float = 0.0
    """The clip's own frame rate, not the rate of the frames shown."""
    schema: Mapping[str, Any] | None = None
    """JSON Schema that guides decoding, where the generator can; no guarantee of anything."""
    temperature: float = 0.0
    """Of sampling; 0 always takes the likeliest token."""
    max_tokens: int = 2048
    """Tokens of the answer, at most; those of the prompt and its frames are not counted."""
    seed: int = 0
    """Of sampling, where the temperature is above 0."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer, and are not part of it."""


@dataclass(frozen=True)
class Answer:
    """What became of one prompt."""

    key: str
    frames_sha256: str
    text: str
    finish: Finish
    prompt_tokens: int = 0
    output_tokens: int = 0
    message: str = ""
    """For an error: one sentence. Never a part of a caption."""
    notes: tuple[str, ...] = ()
    """What is to be known of how it came; kept beside the caption."""


class GeneratorDied(StageDied):
    """The engine itself is gone (its process, its GPU): prompts without an answer are neither right nor wrong."""


class Generator(Protocol):
    """A model at work. A failure on one prompt is its answer; only a dead engine raises (GeneratorDied)."""

    @property
    def name(self) -> str:
        """Engine, its version, the model and its revision: what a caption's provenance says."""
        ...

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        """One answer a prompt, as each is done.

        Takes the next prompt when there is room for it, never all at once: what makes prompts (decoding) works while
        the model does, and memory stays bounded.
        """
        ...

    def close(self) -> None:
        """Lets the model, its processes and its memory go. May be called twice."""
        ...


class Used(Protocol):
    """What an engine has done with its time since it was loaded."""

    busy_s: float
    """Seconds in which prompts were at work."""
    idle_s: float
    """Seconds in which it waited for the first of them."""


@runtime_checkable
class Timed(Protocol):
    """A generator that knows how its time went."""

    @property
    def used(self) -> Used:
        """So far."""
        ...


@dataclass
class Tally:
    """What a generator has done so far. A stage's `tally` (pipeline.stage) gives these numbers and those of Used."""

    answers: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    finishes: dict[Finish, int] = field(default_factory=dict)

    def add(self, answer: Answer) -> None:
        """Counts one answer."""
        self.answers += 1
        self.errors += answer.finish is Finish.ERROR
        self.prompt_tokens += answer.prompt_tokens
        self.output_tokens += answer.output_tokens
        self.finishes[answer.finish] = self.finishes.get(answer.finish, 0) + 1
