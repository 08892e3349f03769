"""A run's settings: one TOML file, every key known, every value checked; flags override it."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from balance.concepts import Concepts, load_concepts
from filters.dedup import Dedup
from filters.descriptors.imagenet import LABELS
from pipeline.credentials import WAY_OUT, carries_credentials
from pipeline.frames import Limits
from pipeline.segment import Segment
from pipeline.stage import Stage


class ConfigError(Exception):
    """The settings cannot be used: one sentence that names the key."""


FILES = ("model", "paddle_models", "cache")
"""Settings of stages that name a file or folder."""


MAX_ECHO = 60
"""Characters of a wrong value that its refusal shows. Ours."""


class Table(BaseModel):
    """A table of the settings file: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class IngestTable(Table):
    """Where items come from and what is too much to open."""

    roots: tuple[str, ...] = ()
    path_column: str = "path"
    decoder: Literal["pyav", "decord"] = "pyav"
    """Which backend decodes for the stages; docs/decoders.md says what each gets right."""
    limits: dict[str, float] = Field(default_factory=dict)


class ShardTable(Table):
    """What a shard holds."""

    pools: tuple[str, ...] = ("540p",)
    rows: int = Field(default=64, ge=1, le=4096)
    crf: int = Field(default=18, ge=0, le=51)
    preset: str = "veryfast"
    audio: bool = True


class FailTable(Table):
    """How much may fail before the run's exit status says so."""

    videos: int = Field(default=0, ge=0)
    clips: int = Field(default=0, ge=0)


class Config(Table):
    """Everything that decides what a run makes; how it is executed (workers, cluster) is not part of it."""

    sources: tuple[str, ...] = ()
    seed: int = 0
    ingest: IngestTable = IngestTable()
    segment: dict[str, Any] = Field(default_factory=dict)
    stages: tuple[str, ...] = ()
    """Names of the stages to run; empty is every default stage."""
    stage: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of one stage: `[stage.text] engine = "paddle"`."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of TransNetV2. `auto` becomes what this machine multiplies natively, and stays so for the whole run: other
    machines that take part get the same values."""
    captioner: Literal["embedded", "vllm", "server"] = "embedded"
    """Who writes the captions: what can be measured, or a vision-language model, here or behind a server."""
    dedup: dict[str, Any] = Field(default_factory=dict)
    """Fields of filters.dedup.Dedup."""
    concepts: str = ""
    """A taxonomy of subjects in place of the packaged one: a file such as recipes/concepts.toml."""
    recipes: tuple[str, ...] = ("256p", "360p", "540p", "sft_540p")
    shard: ShardTable = ShardTable()
    max_failed: FailTable = FailTable()

    def limits(self) -> Limits:
        limits: Limits = _instance(Limits, dict(self.ingest.limits), "ingest.limits")
        return limits

    def segmenter(self) -> Segment:
        settings: Segment = _instance(Segment, self.segment, "segment")
        return settings

    def deduplicator(self) -> Dedup:
        settings: Dedup = _instance(Dedup, self.dedup, "dedup")
        return settings

    def taxonomy(self) -> Concepts:
        try:
            if self.concepts:
                return load_concepts(Path(self.concepts), LABELS)
            return load_concepts(classes=LABELS)
        except ValueError as error:
            raise ConfigError(f"concepts: {error}") from None

    def configured(self, stage: Stage) -> Stage:
        """The stage with this file's settings for it."""
        found: Stage = _instance(
            type(stage), dataclasses.asdict(stage) | self.stage.get(stage.name, {}), f"stage.{stage.name}"
        )
        return found


def load(path: Path) -> Config:
    """The settings of a file; relative sources and recipe files are taken from the file's own folder."""
    try:
        plain = loads(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return absolute(parse(plain, str(path)), path.resolve().parent)


def loads(data: bytes, where: str) -> dict[str, Any]:
    """The plain settings in these bytes, unchecked."""
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where} is not TOML: {error}") from error


def absolute(config: Config, here: Path) -> Config:
    """The settings with every relative source, root, earlier run, model and recipe taken from the folder `here`."""

    def beside(name: str) -> str:
        return name if "://" in name else os.path.normpath(here / name)

    return config.model_copy(
        update={
            "sources": tuple(beside(source) for source in config.sources),
            "recipes": tuple(beside(name) if name.endswith(".toml") else name for name in config.recipes),
            "concepts": beside(config.concepts) if config.concepts else "",
            "ingest": config.ingest.model_copy(
                update={"roots": tuple(beside(r) for r in config.ingest.roots)}
            ),
            "dedup": {
                key: [beside(run) for run in value] if key == "against" and isinstance(value, list) else value
                for key, value in config.dedup.items()
            },
            "stage": {
                stage: {
                    key: beside(value) if isinstance(value, str) and _names_a_file(key, value) else value
                    for key, value in table.items()
                }
                for stage, table in config.stage.items()
            },
        }
    )


def _names_a_file(key: str, value: str) -> bool:
    return bool(value) and (key in FILES or (key == "prompt" and value.endswith(".toml")))


def parse(plain: dict[str, Any], where: str) -> Config:
    """The settings of a parsed file; raises ConfigError naming the key, and never a value with credentials in it."""
    for key, text in _texts(plain, ""):
        if carries_credentials(text):  # run.toml and tables would keep it
            raise ConfigError(f"{where}: the URL of {key} {WAY_OUT}")
    try:
        return Config.model_validate(plain)
    except ValidationError as error:
        raise ConfigError(f"{where}: {sentence(error)}") from error


def sentence(error: ValidationError) -> str:
    """The first fault of a pydantic error: which key, and why."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key '{key}'"
    if fault["type"] == "value_error":
        return f"{key}: {fault['ctx']['error']}" if key else str(fault["ctx"]["error"])
    given = fault["input"]
    shown = f"a {type(given).__name__}" if isinstance(given, dict | list | tuple) else _short(repr(given))
    return f"{key}: {fault['msg']} (got {shown})" if key else f"{fault['msg']} (got {shown})"


def _short(text: str) -> str:
    """The text, or its beginning where it is long."""
    return text if len(text) <= MAX_ECHO else f"{text[:MAX_ECHO]} ..."


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text among plain settings, with the key that it stands under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, key)


def dump(config: Config) -> str:
    """The settings as TOML, as resolved: what RUN/run.toml holds."""
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json"))


def _instance(cls: type[Any], values: dict[str, Any], where: str) -> Any:
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"unknown key '{where}.{unknown[0]}'; known are {', '.join(sorted(known))}")
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        raise ConfigError(f"[{where}] {sentence(error)}") from error
    except ValueError as error:
        raise ConfigError(f"[{where}] {error}") from error
