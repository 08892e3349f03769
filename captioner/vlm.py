"""Captions by a vision-language model: a clip's frames and a prompt in, a checked structured caption out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import pyarrow as pa
from pydantic import Field

from captioner.engine import (
    PLACEHOLDERS,
    CaptionEngine,
    CaptionRequest,
    CaptionResult,
    Sampling,
    Status,
    frames_digest,
)
from captioner.engines.asking import AskingStage, attempt_at
from captioner.generate import Timed
from captioner.prompt import Language, Template, load
from captioner.schema import dumps
from pipeline.clip import Clip
from pipeline.reasons import Reason
from pipeline.stage import ClipError, FrameBatch, FrameSpec, Row, checked

FACTS = {"camera": ("camera_motion",), "shot": ("shot_type", "shot_angle", "shot_position")}
"""By expert, the columns that a prompt may state."""


@dataclass(frozen=True)
class VlmCaptioner(AskingStage):
    """A model's caption, and how it came about; what stays at fault after the repair is the row's error, and how that
    came about is known all the same.

    The frames lie evenly over the clip, the first and the last of the grid included, so a clip of ten minutes takes no
    more memory than one of ten seconds.
    """

    name: ClassVar[str] = "vlm"
    version: ClassVar[int] = 2
    columns: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("vlm_caption", pa.string()),  # canonical JSON: captioner.schema.dumps
            pa.field("vlm_status", pa.string()),  # ok, or how it failed: captioner.engine.Status
            pa.field("vlm_engine", pa.string()),
            pa.field("vlm_prompt", pa.string()),  # name/version-digest of the prompt's template
            pa.field("vlm_language", pa.string()),
            pa.field("vlm_attempts", pa.int16()),
            pa.field("vlm_prompt_tokens", pa.int32()),  # of all attempts
            pa.field("vlm_output_tokens", pa.int32()),
            pa.field("vlm_finish", pa.string()),  # of the last attempt: stop, length, error
            pa.field("vlm_notes", pa.list_(pa.string())),  # what was forgiven in the text
            pa.field("vlm_frames_sha256", pa.string()),
        ]
    )

    engine: str = "vllm"
    prompt: str = ""
    """Name of a packaged prompt, or a .toml file; empty is the packaged one of `language`."""
    prompt_sha256: str = ""
    """Its pinned digest; empty takes any."""
    language: Language = "en"
    """Of the captions, where no `prompt` is named: that one says its own."""
    facts: bool = False
    """State the camera's and the shot's measurements in the prompt. The model then tends to agree with them."""
    frames_max: Annotated[int, Field(ge=1, le=768)] = 16
    """Frames shown of a clip; SkyCaptioner-V1 sees 16."""
    every_s: Annotated[float, Field(ge=0.01)] = 0.04
    """Step of the grid that they are taken from. With 1.0 and 360 pixels the proxy has them: nothing is decoded."""
    short_side_px: Annotated[int, Field(ge=16)] = 360
    """Of the frames as they are decoded; `frame_px` then bounds them further."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.05
    repair_temperature: Annotated[float, Field(ge=0, le=2)] = 0.5
    """After an answer that was at fault."""
    attempts: Annotated[int, Field(ge=1, le=5)] = 2
    """Answers that a clip may take."""
    max_tokens: Annotated[int, Field(ge=16)] = 2048
    """Of one answer."""
    seed: int = 0
    guided: bool = True
    """Hold the model to the JSON Schema while it writes."""
    decoders: Annotated[int, Field(ge=0, le=32)] = 0
    """Processes that decode for one worker, each of them a CPU; 0: as many as are left (pipeline.stream). Not a setting
    of what is written."""

    @property
    def frames(self) -> FrameSpec:  # type: ignore[override]  # by its settings
        return FrameSpec(self.every_s, self.short_side_px, most=self.frames_max)

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]  # by its settings
        return tuple(FACTS) if self.facts else ()

    def settings(self) -> dict[str, Any]:
        """As AskingStage has it; a prompt counts by its digest."""
        own = super().settings()
        return {k: v for k, v in own.items() if k not in ("prompt", "language", "decoders")} | {
            "prompt_sha256": self.prompt_sha256.lower() or self.template().sha256
        }

    def pinned(self) -> Self:
        """Bound to the checkpoint and the prompt that it finds here."""
        return replace(super().pinned(), prompt_sha256=self.template().sha256)

    def template(self) -> Template:
        """The prompt's template, with descriptions for the fields that it leaves out. Raises PromptError."""
        found = load(self.prompt or f"caption_{self.language}", PLACEHOLDERS, self.prompt_sha256)
        whole = load(f"caption_{found.language}", PLACEHOLDERS).fields
        return replace(found, fields={**whole, **found.fields})

    def load(self) -> CaptionEngine:
        """The engine with its model. WeightError: it cannot be."""
        template = self.template()
        return CaptionEngine(self.generator(), template, self.sampling())

    def sampling(self) -> Sampling:
        """How the model is asked to write."""
        return Sampling(
            self.temperature,
            self.repair_temperature,
            self.max_tokens,
            self.attempts,
            self.seed,
            self.guided,
        )

    def measure(self, state: CaptionEngine, clip: Clip, frames: FrameBatch | None) -> Row:
        ((_, answer),) = self.measure_stream(state, [(clip, frames)])
        if isinstance(answer, ClipError):
            raise answer
        return answer

    def measure_batch(
        self, state: CaptionEngine, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Row | ClipError]:
        """All of them at once."""
        answers = dict(self.measure_stream(state, zip(clips, frames, strict=True)))
        return [answers[clip.clip_id] for clip in clips]

    def measure_stream(
        self, state: CaptionEngine, items: Iterable[tuple[Clip, FrameBatch | None]]
    ) -> Iterator[tuple[str, Row | ClipError]]:
        """Each clip's id and answer as it is done; the next clip is taken when the engine has room for it."""
        for result in state.stream(self.request(clip, frames) for clip, frames in items):
            yield result.clip_id, self.answer(result, state.template.language)

    def tally(self, state: CaptionEngine) -> Mapping[str, float]:
        """Answers, errors and tokens since it was loaded; `busy_s` and `idle_s` where the generator knows."""
        done, generator = state.tally, state.generator
        counts = {
            "answers": done.answers,
            "errors": done.errors,
            "prompt_tokens": done.prompt_tokens,
            "output_tokens": done.output_tokens,
        }
        if not isinstance(generator, Timed):
            return counts
        return {**counts, "busy_s": generator.used.busy_s, "idle_s": generator.used.idle_s}

    def request(self, clip: Clip, frames: FrameBatch | None) -> CaptionRequest:
        """What the engine is told of a clip."""
        if frames is None:
            raise TypeError("the vlm stage looks at frames and was given none")
        facts = told(clip.upstream) if self.facts else {}
        return CaptionRequest(clip.clip_id, frames_digest(frames), frames, clip.fps, facts, attempt_at(clip))

    def answer(self, result: CaptionResult, language: str) -> Row | ClipError:
        """A result as the stage's row, or as the clip's error with all that is known but the caption."""
        outcome = result.outcome
        row = {
            "vlm_caption": None if result.caption is None else dumps(result.caption),
            "vlm_status": str(outcome.status),
            "vlm_engine": outcome.engine,
            "vlm_prompt": outcome.prompt_version,
            "vlm_language": language,
            "vlm_attempts": outcome.attempts,
            "vlm_prompt_tokens": outcome.prompt_tokens,
            "vlm_output_tokens": outcome.output_tokens,
            "vlm_finish": outcome.finish_reason or None,
            "vlm_notes": list(outcome.notes),
            "vlm_frames_sha256": result.frames_sha256,
        }
        if result.caption is None:
            failed = outcome.status is Status.FAILED
            times = "1 attempt" if outcome.attempts == 1 else f"{outcome.attempts} attempts"
            said = f"{outcome.engine}: {outcome.status} after {times}: {result.message}"
            return ClipError(said, Reason.ENGINE_FAILED if failed else Reason.CAPTION_INVALID, row)
        return checked(self.columns, row)


def told(upstream: Mapping[str, Row]) -> dict[str, str]:
    """The experts' findings that a prompt may state: what they leave open is not there."""
    return {
        name: upstream[expert][name]
        for expert, names in FACTS.items()
        for name in names
        if upstream[expert].get(name)
    }
