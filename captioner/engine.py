"""The captioner's heart: requests in, one checked caption or typed failure each out, as they are done.

A generator writes; `captioner.trust` judges; what is at fault is asked for once more, at another temperature and told
the fault in our own words; then it is a failure of a known kind. Every answer carries a clip's key and a digest of
frames, as its generator took them from the prompt: one for an unknown key, or a key with another's frames, is refused.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from captioner.generate import Answer, Finish, Generator, Prompt, Tally
from captioner.prompt import Template, skeleton
from captioner.schema import Caption, json_schema
from captioner.trust import Expected, Fault, Kind, Trusted, judge
from pipeline.stage import FrameBatch

PLACEHOLDERS = ("skeleton", "facts")
"""What a caption's prompt may hold: the JSON's outline, and the experts' facts where they are stated."""


class Status(StrEnum):
    """How the work on one clip ended."""

    OK = "ok"
    INVALID = (
        "invalid"  # no caption of the schema: prose, torn JSON, a broken rule, markup, an echo, an apology
    )
    TRUNCATED = "truncated"  # cut off at the token limit
    REPEATED = "repeated"  # loops
    LANGUAGE = "language"  # another than was asked for
    EMPTY = "empty"  # nothing was said
    FAILED = "failed"  # the engine itself failed on this clip, or gave no answer
    MISMATCHED = "mismatched"  # the answer was made from other frames


STATUS = {
    Kind.TRUNCATED: Status.TRUNCATED,
    Kind.REPEATED: Status.REPEATED,
    Kind.LANGUAGE: Status.LANGUAGE,
    Kind.EMPTY: Status.EMPTY,
}
"""The status of a fault; of those that are not here it is `invalid`."""


@dataclass(frozen=True)
class CaptionRequest:
    """What is told of one clip."""

    clip_id: str
    frames_sha256: str
    """`frames_digest(frames)`."""
    frames: FrameBatch
    """RGB frames in order, with their seconds from the clip's start."""
    fps: float
    """The clip's own frame rate, not the rate of the frames shown."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the experts have measured, as far as the prompt is to state it."""
    attempt: int = 1
    """Over 1 where the run asks again for a caption at fault: at the repair's temperature, with other seeds."""


@dataclass(frozen=True)
class Outcome:
    """How a caption came about: enough to bill, to audit and to repeat it."""

    status: Status
    engine: str
    """Name and version of the engine and its model."""
    prompt_version: str
    attempts: int
    prompt_tokens: int = 0
    """Of all attempts together, and so `output_tokens`."""
    output_tokens: int = 0
    finish_reason: str = ""
    """Of the last attempt: stop, length, error."""
    notes: tuple[str, ...] = ()
    """What was forgiven in the text, and what the generator notes of it."""


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


@dataclass(frozen=True)
class Sampling:
    """How a model is asked to write."""

    temperature: float = 0.05
    """SkyCaptioner-V1's released script has 0.05, and 2,048 tokens."""
    repair_temperature: float = 0.5
    """Of every attempt but the first, a run's retry of a refused caption included: at the same one, a model tends to
    fail in the same way."""
    max_tokens: int = 2048
    attempts: int = 2
    seed: int = 0
    guided: bool = True
    """Hold the model to the JSON Schema while it decodes, where the generator can."""


@dataclass(frozen=True)
class _Try:
    """One prompt at work: whose it is, which attempt, and the tokens that the attempts before took."""

    request: CaptionRequest
    attempt: int = 1
    prompt_tokens: int = 0
    output_tokens: int = 0
    fault: str = ""


@dataclass(frozen=True)
class CaptionEngine:
    """Captions clips with a generator. A clip's failure is its result; only a dead engine raises (GeneratorDied)."""

    generator: Generator
    template: Template
    sampling: Sampling = Sampling()
    tally: Tally = field(default_factory=Tally, compare=False)
    """Of every answer since it was loaded."""

    def stream(self, requests: Iterable[CaptionRequest]) -> Iterator[CaptionResult]:
        """One result a request, as each is done; the next request is taken when the generator has room for it."""
        source = iter(requests)
        repairs: deque[_Try] = deque()
        while True:
            at_work: dict[str, _Try] = {}
            strangers = 0
            for answer in self.generator.generate(self._feed(source, repairs, at_work)):
                self.tally.add(answer)
                tried = at_work.pop(answer.key, None)
                if tried is None:
                    strangers += 1
                    continue
                result = self._judged(tried, answer)
                if isinstance(result, _Try):
                    repairs.append(result)
                else:
                    yield result
            for tried in at_work.values():
                message = f"it gave no answer to this clip, and {strangers} to keys that were not asked for"
                yield self._failed(tried, Status.FAILED, message)
            if not repairs:
                return

    def close(self) -> None:
        """Lets the generator's model go."""
        self.generator.close()

    def prompt(self, request: CaptionRequest, attempt: int = 1, fault: str = "") -> Prompt:
        """What the generator is asked for a clip: the n-th attempt, after this fault of the one before."""
        sampling, template = self.sampling, self.template
        number = (request.attempt - 1) * sampling.attempts + attempt
        values = {"skeleton": self._outline, "facts": template.stated(request.facts)}
        system, user = template.render(values)
        return Prompt(
            key=f"{request.clip_id}/{attempt}",
            user=f"{user}\n\n{template.repaired(fault)}" if fault else user,
            system=system,
            frames=request.frames,
            frames_sha256=request.frames_sha256,
            fps=request.fps,
            schema=self._schema if sampling.guided else None,
            temperature=sampling.temperature if number == 1 else sampling.repair_temperature,
            max_tokens=sampling.max_tokens,
            seed=seed_of(sampling.seed, request.clip_id, number),
        )

    @cached_property
    def _outline(self) -> str:
        return skeleton(self.template.fields)

    @cached_property
    def _schema(self) -> Mapping[str, Any]:
        return json_schema()

    def _feed(
        self, source: Iterator[CaptionRequest], repairs: deque[_Try], at_work: dict[str, _Try]
    ) -> Iterator[Prompt]:
        """The prompts: repairs as they come up, else the next request."""
        while True:
            tried = repairs.popleft() if repairs else None
            if tried is None:
                request = next(source, None)
                if request is None:
                    return
                tried = _Try(request)
            prompt = self.prompt(tried.request, tried.attempt, tried.fault)
            if prompt.key in at_work:
                raise ValueError(f"clip {tried.request.clip_id} is asked for twice")
            at_work[prompt.key] = tried
            yield prompt

    def _judged(self, tried: _Try, answer: Answer) -> CaptionResult | _Try:
        """What an answer is worth: a result, or another try."""
        request = tried.request
        done = _Try(
            request,
            tried.attempt,
            tried.prompt_tokens + answer.prompt_tokens,
            tried.output_tokens + answer.output_tokens,
        )
        if answer.frames_sha256 != request.frames_sha256:
            return self._failed(done, Status.MISMATCHED, "it answered for other frames", answer.finish)
        if answer.finish is Finish.ERROR:
            return self._failed(done, Status.FAILED, answer.message or "no reason given", answer.finish)
        expected = Expected.of(self.template)
        found = judge(answer.text, answer.finish, expected)
        if isinstance(found, Trusted):
            outcome = self._outcome(done, Status.OK, answer.finish, found.notes + answer.notes)
            return CaptionResult(request.clip_id, request.frames_sha256, found.caption, outcome)
        if tried.attempt < self.sampling.attempts:
            return _Try(request, tried.attempt + 1, done.prompt_tokens, done.output_tokens, found.sentence)
        return self._failed(done, STATUS.get(found.kind, Status.INVALID), _told(found), answer.finish)

    def _failed(self, tried: _Try, status: Status, message: str, finish: str = "") -> CaptionResult:
        request = tried.request
        outcome = self._outcome(tried, status, finish, ())
        return CaptionResult(request.clip_id, request.frames_sha256, None, outcome, message)

    def _outcome(self, tried: _Try, status: Status, finish: str, notes: tuple[str, ...]) -> Outcome:
        return Outcome(
            status,
            self.generator.name,
            self.template.label,
            tried.attempt,
            tried.prompt_tokens,
            tried.output_tokens,
            str(finish),
            notes,
        )


def _told(fault: Fault) -> str:
    return f"{fault.kind}: {fault.sentence}"


def seed_of(seed: int, clip_id: str, attempt: int) -> int:
    """31 bits that differ by run, clip and attempt, and by nothing else."""
    digest = hashlib.sha256(f"{seed}:{clip_id}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def frames_digest(frames: FrameBatch) -> str:
    """64 hex digits over the pictures, their shape and their times: the same frames, the same digest."""
    digest = hashlib.sha256(repr(frames.images.shape).encode())
    digest.update(frames.images.tobytes())
    digest.update(frames.times_s.astype("<f8").tobytes())
    return digest.hexdigest()
