"""Captions looked at as a whole: how right they are, what the next captioner learns from, what people should see."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from balance.concepts import SEPARATOR, UNKNOWN, load_concepts
from captioner import evaluate, scoreboard
from captioner.evaluate import Names, Scored, folded
from captioner.judging import ByClaims, ByMeaning, ByModel, ByWords, Judge
from captioner.schema import MAX_CAPTION_CHARS, Caption, loads
from jobs.config import ConfigError
from jobs.run import NotReady, Run
from jobs.tables import measurements
from pipeline import weights as weighing

if TYPE_CHECKING:
    from captioner.engines.server import ServerSettings

TEXTS = ("caption", "vlm_caption")
"""Columns of a run that hold captions, each beside its `*_engine` column."""


@dataclass(frozen=True)
class Captions:
    """The captions of one engine by clip id, and one sentence for each row that could not be used."""

    engine: str
    by_clip: Mapping[str, Caption]
    faults: tuple[str, ...] = field(default=())


# --- reading


def from_file(path: Path) -> Captions:
    """The captions of a JSON Lines file with `clip_id` and `caption` (an object, or its text) in each row.

    ConfigError: it cannot be read. A bad row is one sentence, and the others count.
    """
    found: dict[str, Caption] = {}
    faults: list[str] = []
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    _add(line, f"{path}, line {number}", found, faults)
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be read: {error.strerror or error}") from None
    return Captions(path.stem, found, tuple(faults))


def _add(line: str, where: str, found: dict[str, Caption], faults: list[str]) -> None:
    try:
        clip_id, caption = _row(line)
    except ValueError as error:
        faults.append(f"{where}: {first_line(error)}")
        return
    if clip_id in found:
        faults.append(f"{where}: clip {clip_id} was there before; the first one counts")
    else:
        found[clip_id] = caption


def _row(line: str) -> tuple[str, Caption]:
    if len(line) > 2 * MAX_CAPTION_CHARS:
        raise ValueError(f"it has {len(line)} characters")
    try:
        row = json.loads(line)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(row, dict) or not isinstance(row.get("clip_id"), str) or not row["clip_id"].strip():
        raise ValueError("it is no JSON object with a clip_id")
    caption = row.get("caption")
    if caption is None:
        raise ValueError("it has no caption")
    return row["clip_id"].strip(), loads(caption if isinstance(caption, str) else json.dumps(caption))


def first_line(error: ValueError) -> str:
    """What is wrong, in one line: the first fault of a schema's many."""
    faults = getattr(error, "errors", None)
    if faults is None:
        return str(error).splitlines()[0]
    first = faults()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def from_run(run: Run) -> list[Captions]:
    """The captions of a run: those that count, and beside them the model's own, by the engine that wrote them."""
    known = {column for planned in run.planned for column in planned.stage.columns.names}
    found = []
    for column in TEXTS:
        if column in known:
            engine = column.removesuffix("caption") + ("engine" if column != "caption" else "caption_engine")
            found.append(_of_column(run, column, engine))
    if not found:
        raise NotReady(f"{run.store.root} has no stage that writes captions")
    return found


def _of_column(run: Run, column: str, engine: str) -> Captions:
    by_clip: dict[str, Caption] = {}
    engines: set[str] = set()
    faults: list[str] = []
    for batch in measurements(run, [column, engine]):
        for row in batch.select(["clip_id", column, engine]).to_pylist():
            if row[column] is None:
                continue
            try:
                by_clip[row["clip_id"]] = loads(row[column])
                engines.add(row[engine])
            except ValueError as error:
                faults.append(f"clip {row['clip_id']}: {first_line(error)}")
    name = f"{column}: {', '.join(sorted(engines)) or 'none'}"
    return Captions(name, by_clip, tuple(faults))


# --- judging


def judge_by(server: ServerSettings | None, cache: Path | None, words: bool) -> Judge:
    """The judge of texts: a language model behind a server, the packaged model of meanings, or (`words`) shared words.

    Only the first is sure. ConfigError: server or cache cannot be used; WeightError: the model's weights cannot.
    """
    if server is not None:
        from captioner.engines.server import ServerGenerator

        if cache is not None and (cache.is_dir() or not cache.absolute().parent.is_dir()):
            raise ConfigError(f"{cache}: no file can be written there")
        try:
            return ByModel(ServerGenerator(server), cache)
        except weighing.WeightError as error:
            raise ConfigError(f"--judge, --judge-model and --judge-key-env: {error}") from None
    if words:
        return ByClaims(ByWords())
    from captioner.meaning import WEIGHTS, load

    catalogue, folder = weighing.load_catalogue(), weighing.default_cache()
    return ByClaims(ByMeaning(load(*(weighing.find(name, catalogue, folder) for name in WEIGHTS))))


def by_concept() -> Names:
    """Names of subjects in the taxonomy's spelling; those that it does not have as they stand."""
    concepts = load_concepts()

    def names(kind: str, sub_type: str) -> tuple[str, str]:
        concept = concepts.concept_of(kind, sub_type)
        if concept == UNKNOWN:
            return folded(kind, sub_type)
        category, _, leaf = concept.partition(SEPARATOR)
        return category.casefold(), leaf.casefold() or folded(kind, sub_type)[1]

    return names


# --- the table


def scored(truth: Captions, engines: Sequence[Captions], judge: Judge) -> list[Scored]:
    """Every engine against the truth. ConfigError: the truth has no clip, or no engine has any of its clips."""
    if not truth.by_clip:
        raise ConfigError("the truth has no caption that can be used")
    names = by_concept()
    if not any(truth.by_clip.keys() & one.by_clip.keys() for one in engines):
        raise ConfigError("none of the truth's clips has a caption there: are its ids those of this run?")
    return [evaluate.evaluate(truth.by_clip, one.engine, one.by_clip, judge, names) for one in engines]


def read(truth: Path, sources: Sequence[str]) -> tuple[Captions, list[Captions]]:
    """The truth, and the engines of all sources: runs, or files. ConfigError, NotReady: one of them cannot be read."""
    from jobs.chain import is_run, look

    engines: list[Captions] = []
    known = from_file(truth)
    for source in sources:
        engines += from_run(look(source)) if is_run(source) else [from_file(Path(source))]
    return known, engines


def evaluation(
    truth: Captions, engines: Sequence[Captions], judge: Judge, as_json: bool
) -> tuple[str, list[str]]:
    """The table (or all of it as JSON), and a sentence for each field that could not be judged.

    Lets the judge go. ConfigError: see `scored`.
    """
    try:
        found = scored(truth, engines, judge)
    finally:
        if isinstance(judge, ByModel):
            judge.generator.close()
    write = scoreboard.as_json if as_json else scoreboard.table
    return write(found, judge.name), scoreboard.troubles(found)
