"""The seam between the pipeline and whatever writes full captions: requests in, one answer each out.

An engine (a vision-language model in this process, or behind a server) sees frames and the
experts' measurements and gives captions or says why not. Every answer carries its clip's id and the digest of
the frames it was made from, so that an engine that reorders or mixes its batch is refused, never believed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from captioner.schema import Caption
from pipeline.reasons import Reason
from pipeline.stage import ClipError, FrameBatch, Row


class Status(StrEnum):
    """How an engine's work on one clip ended."""

    OK = "ok"
    INVALID = "invalid"  # every attempt's answer was outside the schema
    TRUNCATED = "truncated"  # the answer ran into the token limit
    FAILED = "failed"  # the engine itself failed on this clip


@dataclass(frozen=True)
class CaptionRequest:
    """What an engine is told of one clip."""

    clip_id: str
    frames_sha256: str
    """`frames_digest(frames)`."""
    frames: FrameBatch
    """RGB frames in order, with their seconds from the clip's start."""
    fps: float
    """The clip's own frame rate, not the rate of the frames shown."""
    experts: Mapping[str, Row] = field(default_factory=dict)
    """Rows of the experts' stages by stage name: facts that a prompt may state and a fusion must respect."""


@dataclass(frozen=True)
class Outcome:
    """How a caption came about: enough to bill, to audit and to repeat it."""

    status: Status
    engine: str
    """Name and version of the engine and its weights."""
    prompt_version: str
    attempts: int
    prompt_tokens: int = 0
    output_tokens: int = 0
    finish_reason: str = ""
    """As the engine reports it: stop, length, ..."""


@dataclass(frozen=True)
class CaptionResult:
    """One clip's answer: a caption exactly when the status is ok, else a message."""

    clip_id: str
    frames_sha256: str
    caption: Caption | None
    outcome: Outcome
    message: str = ""

    def __post_init__(self) -> None:
        if (self.caption is not None) != (self.outcome.status is Status.OK):
            raise ValueError(f"a result of status {self.outcome.status} with caption {self.caption!r}")


class CaptionEngine(Protocol):
    """Anything that captions clips. A failure on one clip is its result; only a dead engine raises."""

    name: str

    def caption(self, requests: Sequence[CaptionRequest]) -> list[CaptionResult]:
        """One result a request, in order."""
        ...


def ask(engine: CaptionEngine, requests: Sequence[CaptionRequest]) -> list[CaptionResult | ClipError]:
    """The engine's answers in order: ok results, a ClipError for each that failed or is another clip's.

    Raises ValueError when the engine gives another number of answers: then none can be told apart.
    """
    return [_checked(*pair) for pair in zip(requests, engine.caption(requests), strict=True)]


def _checked(request: CaptionRequest, result: CaptionResult) -> CaptionResult | ClipError:
    if (result.clip_id, result.frames_sha256) != (request.clip_id, request.frames_sha256):
        message = f"{result.outcome.engine} answered for clip {result.clip_id}, frames {result.frames_sha256}"
        return ClipError(message, Reason.CAPTION_INVALID)
    if result.outcome.status is not Status.OK:
        said = f"{result.outcome.engine} {result.outcome.status} after {result.outcome.attempts} attempts"
        return ClipError(f"{said}: {result.message}", Reason.CAPTION_INVALID)
    return result


def frames_digest(frames: FrameBatch) -> str:
    """64 hex digits over the pictures, their shape and their times: the same frames, the same digest."""
    digest = hashlib.sha256(repr(frames.images.shape).encode())
    digest.update(frames.images.tobytes())
    digest.update(frames.times_s.astype("<f8").tobytes())
    return digest.hexdigest()
