"""Training prompts of a structured caption: in the serializer's words, or by a language model from its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from captioner.engines.asking import AskingStage, attempt_at
from captioner.fuser import Fused, Fuser, Wanted, packaged
from captioner.schema import Caption, loads
from captioner.serialize import ENGINE, KINDS, Language, write
from pipeline.clip import Clip
from pipeline.reasons import Reason
from pipeline.stage import ClipError, FrameBatch, Row

PROMPTS = pa.list_(
    pa.struct(
        [
            pa.field("kind", pa.string()),  # t2v, i2v
            pa.field("language", pa.string()),  # en, zh
            pa.field("variant", pa.int32()),
            pa.field("text", pa.string()),
            pa.field("engine", pa.string()),
            pa.field("dropped", pa.list_(pa.string())),  # fields of the caption that the text leaves out
        ]
    )
)


MISSING = pa.list_(
    pa.struct(
        [
            pa.field("kind", pa.string()),
            pa.field("language", pa.string()),
            pa.field("variant", pa.int32()),
            pa.field("reason", pa.string()),  # caption_invalid, engine_failed
            pa.field("message", pa.string()),
        ]
    )
)

ASKED = ("temperature", "repair_temperature", "attempts", "max_tokens")
"""Settings that count when a language model is asked."""


@dataclass(frozen=True)
class Fusion(AskingStage):
    """Prompts for text-to-video (dense) and image-to-video (sparse) training, in each language and variant.

    A caption that says nothing has none, in that language. A prompt that a model does not write costs no other: it is
    in `prompts_missing`, and only without `prompt_t2v` the clip has failed.
    """

    name: ClassVar[str] = "fusion"
    version: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("caption",)
    columns: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("prompt_t2v", pa.string()),  # of the first language, variant 0; null: nothing to say
            pa.field("prompt_i2v", pa.string()),
            pa.field("prompts", PROMPTS),
            pa.field("prompts_missing", MISSING),  # asked for and not written, with the reason
        ]
    )

    engine: Literal["embedded", "vllm", "server"] = "embedded"
    """embedded: the serializer's own words, which need no model."""
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = ("en",)
    """Of the prompts; the first one's is `prompt_t2v`."""
    variants: Annotated[int, Field(ge=1, le=16)] = 1
    """Prompts a kind and language, each with other fields dropped."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Chance that a field is left out (SkyReels-V2, arXiv 2504.13074, 3.2: 10 %)."""
    seed: int = 0
    """Of the dropping, and of a model's choice of words."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.1
    """As SkyReels-V2's fusion script has it."""
    repair_temperature: Annotated[float, Field(ge=0, le=2)] = 0.5
    """After an answer that was refused."""
    attempts: Annotated[int, Field(ge=1, le=5)] = 2
    """Answers that a prompt may take."""
    max_tokens: Annotated[int, Field(ge=16)] = 2048
    """Of one answer, a thinking model's thoughts included; the text itself is bounded by what Wan 2.1 reads."""

    @property
    def window(self) -> int:
        """Clips that are at work together: enough that the last answers of one window cost little."""
        return 4 * self.concurrency if self.asks else 1

    @property
    def streams(self) -> bool:
        """Whether it has workers of its own, as one that asks a model has."""
        return self.asks

    def settings(self) -> dict[str, Any]:
        """As AskingStage has it; prompts count by their templates, and only where a model is asked."""
        own = super().settings()
        if not self.asks:
            return {name: value for name, value in own.items() if name not in ASKED}
        labels = [template.label for template in packaged(self.languages).values()]
        return own | {"templates": labels}

    def load(self) -> Fuser | None:
        """The model with its prompts; None where none is asked. WeightError: it cannot be."""
        if not self.asks:
            return None
        return Fuser(
            self.generator(),
            packaged(self.languages),
            self.dropout,
            self.seed,
            self.temperature,
            self.repair_temperature,
            self.max_tokens,
            self.attempts,
        )

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        (answer,) = self.rows(state, [clip])
        if isinstance(answer, ClipError):
            raise answer
        return answer

    def measure_batch(
        self, state: Any, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Row | ClipError]:
        """All prompts of all clips in one call of the model."""
        return self.rows(state, clips)

    def rows(self, fuser: Fuser | None, clips: Sequence[Clip]) -> list[Row | ClipError]:
        """One answer a clip; without a fuser in the serializer's own words. A retry asks for what is missing alone."""
        jobs = {clip.clip_id: self.wanted(clip) for clip in clips}
        done: dict[str, Fused | ClipError] = {}
        for clip in clips:
            done |= _written(clip.clip_id, clip.upstream.get(self.name, {}))
        every = [job for wanted in jobs.values() for job in wanted if job.key not in done]
        done |= fuser.fuse(every) if fuser else {job.key: self.serialized(job) for job in every}
        return [_row(wanted, done) for wanted in jobs.values()]

    def lacks(self, row: Row) -> ClipError | None:
        """The prompts that are missing, in one sentence."""
        return _lack(row["prompts_missing"])

    def wanted(self, clip: Clip) -> list[Wanted]:
        """The prompts of a clip: the first language's, variant 0, come first."""
        jobs = self.of(clip.clip_id, loads(clip.upstream["caption"]["caption"]))
        missing = clip.upstream.get(self.name, {}).get("prompts_missing") or ()
        reasons = {_name(one): one["reason"] for one in missing}
        return [
            replace(job, attempt=attempt_at(replace(clip, failed=reasons.get(_name(vars(job)), clip.failed))))
            for job in jobs
        ]

    def of(self, clip_id: str, caption: Caption) -> list[Wanted]:
        """The prompts that a caption is to have."""
        return [
            Wanted(clip_id, caption, kind, language, variant)
            for language in self.languages
            for variant in range(self.variants)
            for kind in KINDS
        ]

    def serialized(self, job: Wanted) -> Fused:
        """A prompt in the serializer's words."""
        found = write(job.caption, job.clip_id, job.kind, job.language, job.variant, self.seed, self.dropout)
        return Fused(found.text, ENGINE, found.dropped)

    def plain(self, clip_id: str, caption: Caption) -> Row:
        """The columns of a caption in the serializer's words: for one that people have corrected, say."""
        jobs = self.of(clip_id, caption)
        found = _row(jobs, {job.key: self.serialized(job) for job in jobs})
        assert not isinstance(found, ClipError)
        return found


def _row(jobs: Sequence[Wanted], done: Mapping[str, Fused | ClipError]) -> Row | ClipError:
    """A clip's columns, or its error with what is known of them: the first of the prompts is `prompt_t2v`."""
    prompts, missing = [], []
    for job in jobs:
        found = done[job.key]
        about = {"kind": job.kind, "language": job.language, "variant": job.variant}
        if isinstance(found, ClipError):
            missing.append(about | {"reason": str(found.reason), "message": found.message})
        elif found.text:
            prompts.append(
                about | {"text": found.text, "engine": found.engine, "dropped": list(found.dropped)}
            )
    first = {
        one["kind"]: one["text"]
        for one in prompts
        if (one["language"], one["variant"]) == (jobs[0].language, 0)
    }
    row = {
        "prompt_t2v": first.get("t2v"),
        "prompt_i2v": first.get("i2v"),
        "prompts": prompts,
        "prompts_missing": missing,
    }
    lack = _lack(missing)
    if lack is not None and _name(missing[0]) == _name(vars(jobs[0])):
        return ClipError(lack.message, lack.reason, row)
    return row


def _written(clip_id: str, row: Row) -> dict[str, Fused | ClipError]:
    """The prompts that a row has already, by their jobs' keys."""
    return {
        f"{clip_id}/{_name(one)}": Fused(one["text"], one["engine"], tuple(one["dropped"]))
        for one in row.get("prompts") or ()
    }


def _lack(missing: Sequence[Mapping[str, Any]] | None) -> ClipError | None:
    """What is missing, as an error of the first one's reason."""
    if not missing:
        return None
    first = missing[0]
    others = [_name(one) for one in missing[1:]]
    also = f"; also missing: {', '.join(others)}" if others else ""
    return ClipError(f"{first['message']}{also}", Reason(first["reason"]))


def _name(about: Mapping[str, Any]) -> str:
    """A prompt among those of its clip: t2v/en/0."""
    return f"{about['kind']}/{about['language']}/{about['variant']}"
