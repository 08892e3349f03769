"""What the captioner is asked for one clip, to be looked at, and tried."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from captioner.engine import CaptionEngine, CaptionRequest, Sampling
from captioner.generate import Answer, Generator, Prompt
from captioner.prompt import Template
from captioner.schema import dumps, json_schema
from captioner.vlm import VlmCaptioner
from jobs.config import ConfigError
from jobs.progress import printable
from jobs.run import NotReady, Part, Run
from pipeline.annotate import Frames, Planned, Unit
from pipeline.clip import CLIPS, Clip
from pipeline.frames import Decoder
from pipeline.reasons import MediaError
from pipeline.sources import Fetcher
from pipeline.stage import FrameBatch, Row

TILE_W = 320
"""Pixels of a frame on the contact sheet."""
GAP = 4
"""Pixels between two frames."""
COLUMNS = 4
LINE_H = 20
"""Pixels of the line under each frame."""


@dataclass
class Recording:
    """A generator that keeps what another one answers."""

    generator: Generator
    answers: list[Answer] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.generator.name

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        """See Generator."""
        for answer in self.generator.generate(prompts):
            self.answers.append(answer)
            yield answer

    def close(self) -> None:
        """See Generator."""
        self.generator.close()


class Nobody:
    """A generator that is never asked: what a prompt is made with when it is only to be looked at."""

    name = ""

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        """Answers nothing."""
        return iter(())

    def close(self) -> None:
        """Has nothing to let go."""


@dataclass(frozen=True)
class Asked:
    """The request for one clip."""

    stage: VlmCaptioner
    template: Template
    request: CaptionRequest
    clip: Clip

    def text(self) -> str:
        """Everything that the engine would be told, and how."""
        engine = CaptionEngine(Nobody(), self.template, self.stage.sampling())
        prompt = engine.prompt(self.request)
        lines = [
            f"clip      {self.clip.clip_id}: {self.clip.duration_s:.3f} s at {self.clip.fps:.3f} fps",
            f"engine    {where(self.stage)}",
            f"prompt    {self.template.label}, captions in {self.template.language}",
            f"sampling  {sampled(engine.sampling, prompt)}",
            *frame_lines(self.request.frames, self.stage.frame_px),
            f"frames    sha256 {self.request.frames_sha256}",
            *block("system", prompt.system),
            *block("user", prompt.user),
            *block("schema", json.dumps(json_schema(), ensure_ascii=False) if prompt.schema else "none"),
        ]
        return "\n".join(lines)

    def tried(self, generator: Generator) -> str:
        """What the engine answers, attempt by attempt, and what became of it."""
        recording = Recording(generator)
        engine = CaptionEngine(recording, self.template, self.stage.sampling())
        (result,) = engine.stream([self.request])
        lines = []
        for number, answer in enumerate(recording.answers, 1):
            tokens = f"{answer.prompt_tokens} tokens in, {answer.output_tokens} out"
            said = f": {printable(answer.message)}" if answer.message else ""
            lines += block(f"answer {number}: {answer.finish}, {tokens}{said}", answer.text)
        outcome = result.outcome
        times = "1 attempt" if outcome.attempts == 1 else f"{outcome.attempts} attempts"
        lines += [f"--- {outcome.status} after {times} by {printable(outcome.engine)}"]
        if outcome.notes:
            lines.append(f"forgiven: {printable('; '.join(outcome.notes))}")
        lines.append(printable(dumps(result.caption) if result.caption else result.message))
        return "\n".join(lines)

    def sheet(self) -> bytes:
        """The frames side by side, with their times, as a PNG."""
        return contact_sheet(self.request.frames)


def asked(run: Run, clip_id: str) -> Asked:
    """What the captioner is asked for a clip of a run. Raises NotReady, ConfigError."""
    planned = next((one for one in run.planned if isinstance(one.stage, VlmCaptioner)), None)
    if planned is None:
        raise ConfigError(
            'the embedded captioner asks nobody: set captioner = "vllm" or "server" in the settings or by --set'
        )
    stage = planned.stage
    assert isinstance(stage, VlmCaptioner)
    part, clip = found(run, clip_id)
    upstream = {one.stage.name: row_of(run, one, part, clip_id) for one in needed(run, stage)}
    clip = replace(clip, upstream=upstream)
    settings = run.config
    fetcher = Fetcher()
    try:
        with Decoder(settings.limits(), settings.ingest.decoder) as decoder:
            unit = Unit(part.name, part.output.path, part.group.videos, run.proxies(part.group), ())
            frames = Frames(run.store, unit, decoder, fetcher).of(clip, stage.frames)
    except MediaError as error:
        raise NotReady(f"the frames of clip {clip_id} cannot be read: {error.message}") from error
    finally:
        fetcher.close()
    return Asked(stage, stage.template(), stage.request(clip, frames), clip)


def found(run: Run, clip_id: str) -> tuple[Part, Clip]:
    """The clip, and the part that it is in."""
    for part in run.parts:
        table = run.store.table(part.output.path, CLIPS.names, sha256=part.output.sha256)
        rows = table.filter(pc.field("clip_id") == clip_id).to_pylist()
        if rows:
            return part, Clip(**rows[0])
    raise NotReady(
        f"{run.store.root} has no clip {clip_id}: its ids are in the clips@*/ tables and the report"
    )


def needed(run: Run, stage: VlmCaptioner) -> list[Planned]:
    """The stages whose columns the prompt states."""
    return [one for one in run.planned if one.stage.name in stage.requires]


def row_of(run: Run, planned: Planned, part: Part, clip_id: str) -> Row:
    """The columns that a stage has for a clip. Raises NotReady: none, or it failed."""
    output = run.annotation(planned, part)
    table = run.store.table(output.path, sha256=output.sha256)
    (row,) = table.filter(pc.field("clip_id") == clip_id).to_pylist()
    if row["error_reason"] is not None:
        raise NotReady(f"the stage {planned.stage.name} failed for clip {clip_id}: {row['error']}")
    return {name: row[name] for name in planned.stage.columns.names}


def where(stage: VlmCaptioner) -> str:
    """Which model is asked, and where it is."""
    if stage.engine == "server":
        return printable(f"server {stage.url}, model {stage.served_model}, frames as {stage.frames_as}")
    return printable(f"vllm {stage.model} on {stage.device}, sha256 {stage.model_sha256[:16]}")


def sampled(sampling: Sampling, prompt: Prompt) -> str:
    """How the model is told to write."""
    return (
        f"temperature {prompt.temperature:g}, then {sampling.repair_temperature:g};"
        f" at most {prompt.max_tokens} tokens, {sampling.attempts} attempts; seed {prompt.seed};"
        f" {'held to the schema' if prompt.schema else 'free'}"
    )


def frame_lines(frames: FrameBatch, frame_px: int) -> list[str]:
    """The frames' number, size and times."""
    height, width = frames.images.shape[1:3]
    times = ", ".join(f"{time:.3f}" for time in frames.times_s)
    numbers = ", ".join(str(number) for number in frames.frames)
    return [
        f"frames    {len(frames.images)} of {width}x{height}, sent with at most {frame_px} pixels each",
        f"frames    at {times} s",
        f"frames    numbers {numbers} of the video",
    ]


def block(title: str, text: str) -> list[str]:
    """A text under its title, line by line as a terminal may show it."""
    return [f"--- {title}", *(printable(line) for line in text.splitlines())]


def contact_sheet(frames: FrameBatch) -> bytes:
    """The frames in rows of four, each with its time in seconds under it, as a PNG."""
    import cv2

    height, width = frames.images.shape[1:3]
    tile_h = max(1, round(height * TILE_W / width))
    tiles = [
        tile(cv2, image, tile_h, f"{number}: {time:.3f} s")
        for number, (image, time) in enumerate(zip(frames.images, frames.times_s, strict=True), 1)
    ]
    blank = np.zeros_like(tiles[0])
    across = min(COLUMNS, len(tiles))
    rows = [tiles[i : i + across] for i in range(0, len(tiles), across)]
    whole = np.vstack([np.hstack([*row, *[blank] * (across - len(row))]) for row in rows])
    _, data = cv2.imencode(".png", whole)
    return bytes(data.data)


def tile(cv2: Any, image: Any, tile_h: int, label: str) -> Any:
    """One frame of the sheet, BGR, with its label under it."""
    picture = cv2.resize(image, (TILE_W, tile_h), interpolation=cv2.INTER_AREA)
    line = np.zeros((LINE_H, TILE_W, 3), np.uint8)
    cv2.putText(line, label, (4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    labelled = np.vstack([picture[..., ::-1], line])
    return cv2.copyMakeBorder(labelled, 0, 0, 0, GAP, cv2.BORDER_CONSTANT)
