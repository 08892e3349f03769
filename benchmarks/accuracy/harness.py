"""Measures every defect over every clean clip and writes docs/accuracy.json, docs/accuracy.md and its pictures.

    python -m benchmarks.accuracy.harness MEDIA... [--only FAMILY ...] [--docs FOLDER]
    python -m benchmarks.accuracy.harness [--docs FOLDER]          # the page again, with the thresholds of today

MEDIA are folders filled by `rushes weights get`. A clip is decoded, the defect is rendered on its frames, they are
encoded as H.264, and the file goes through the program's decoder and stages as any video does. Two processes by
default; about a quarter of an hour. With --only the other families stay as they are in docs/accuracy.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import tempfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import filters
from benchmarks.accuracy import defects, duplicates, footage, page, results, sheet
from benchmarks.accuracy.defect import Defect, Pictures, Render
from benchmarks.accuracy.footage import CLEAN, Clean, Footage
from benchmarks.accuracy.meter import Meter, encode, needed, unmeasurable
from benchmarks.accuracy.results import Measured, Results
from pipeline.frames import VIEW, Decoder
from pipeline.stage import ClipError, Row

DOCS = Path(__file__).resolve().parents[2] / "docs"
COPIES = "duplicates"
"""The family of benchmarks.accuracy.duplicates, which is no file of defects/: a copy takes two clips."""
MANY = 18
"""Clips from which every second one is enough to render a defect on: the shares' intervals say what that costs."""
Families = Mapping[str, tuple[Defect, ...]]
Key = tuple[str, str, str]
"""Family, defect, strength; an empty strength is the clean clip."""


def families(only: Collection[str] = ()) -> Families:
    """The DEFECTS of each file of defects/, by file name; of these files alone where any is named."""
    folder = Path(str(defects.__file__)).parent
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    names = [name for name in names if not only or name in only]
    return {name: importlib.import_module(f"{defects.__name__}.{name}").DEFECTS for name in names}


@dataclass
class Answer:
    """What one clean clip gave."""

    clip: str
    about: dict[str, Any]
    values: dict[Key, float | None] = field(default_factory=dict)
    errors: dict[Key, str] = field(default_factory=dict)
    thumbs: dict[Key, bytes] = field(default_factory=dict)


def seed_of(*names: str) -> int:
    return zlib.crc32("/".join(names).encode())


def controls(defect: Defect, clips: Sequence[Clean]) -> list[str]:
    """The clips that are clean of this defect."""
    return [clip.name for clip in clips if not set(clip.traits) & set(defect.leave_out)]


def subjects(family: str, defect: Defect, clips: Sequence[Clean]) -> list[str]:
    """The clips that the defect is rendered on: every second control where there are many, others for each family."""
    fitting = controls(defect, clips)
    return fitting if len(fitting) < MANY else fitting[seed_of(family) % 2 :: 2]


def measure(
    clean: Clean,
    clips: Sequence[Clean],
    folders: Sequence[Path],
    known: Families,
    examples: Collection[tuple[str, str]],
) -> Answer:
    """Every defect on one of the clips; `examples` are the families and defects of which pictures are wanted."""
    with Decoder() as decoder, tempfile.TemporaryDirectory() as scratch:
        shot = footage.load(clean, folders, decoder)
        frames, height, width = shot.pictures.shape[:3]
        about = {"width": width, "height": height, "fps": round(shot.fps, 3), "frames": frames}
        answer = Answer(clean.name, {**about, "traits": list(clean.traits)})
        meter = Meter(decoder)
        path = Path(scratch) / "clip.mp4"
        chosen = [(name, one) for name, ones in known.items() for one in ones]
        chosen = [
            (name, one)
            for name, one in chosen
            if not unmeasurable(meter.stages, one) and clean.name in controls(one, clips)
        ]
        encode(shot.pictures, shot.fps, path)
        names = {stage.name for _, one in chosen for stage in needed(meter.stages, one.stage)}
        rows = meter.rows(path, [stage for stage in meter.stages if stage.name in names])
        for family, defect in chosen:
            key = (family, defect.name, "")
            _note(answer, key, rows[defect.stage], defect, shot.pictures, key[:2] in examples)
        for shared in alike(
            [(name, one) for name, one in chosen if clean.name in subjects(name, one, clips)]
        ):
            pictures = rendered(shared[0], shot)
            encode(pictures, shot.fps, path)
            names = {stage.name for one in shared for stage in needed(meter.stages, one.defect.stage)}
            rows = meter.rows(path, [stage for stage in meter.stages if stage.name in names])
            for one in shared:
                shown = one.key[:2] in examples
                _note(answer, one.key, rows[one.defect.stage], one.defect, pictures, shown)
    return answer


@dataclass(frozen=True)
class Faulty:
    """One strength of one defect."""

    family: str
    defect: Defect
    strength: str

    @property
    def key(self) -> Key:
        return self.family, self.defect.name, self.strength

    @property
    def render(self) -> Render:
        return self.defect.strengths[self.strength]


def alike(chosen: Sequence[tuple[str, Defect]]) -> list[list[Faulty]]:
    """Every strength of these defects; those of a family with one renderer are together, to be rendered once."""
    shared: dict[tuple[str, int], list[Faulty]] = {}
    for family, defect in chosen:
        for strength, render in defect.strengths.items():
            shared.setdefault((family, id(render)), []).append(Faulty(family, defect, strength))
    return list(shared.values())


def rendered(one: Faulty, shot: Footage) -> Pictures:
    """A strength's pictures. ValueError: the renderer changed the shape or the type, or wrote to its input."""
    dice = np.random.default_rng(seed_of(shot.name, one.family, one.strength))
    shot.pictures.flags.writeable = False
    pictures = one.render(shot.pictures, shot.fps, dice)
    if pictures.shape != shot.pictures.shape or pictures.dtype != np.uint8:
        raise ValueError(f"{'/'.join(one.key)}: renders {pictures.shape} {pictures.dtype}")
    return np.ascontiguousarray(pictures)


def _note(
    answer: Answer, key: Key, row: Row | ClipError, defect: Defect, pictures: Pictures, show: bool
) -> None:
    if isinstance(row, ClipError):
        answer.errors[key] = f"{answer.clip}, {key[2] or 'clean'}: {row}"
    else:
        value = row[defect.column]
        answer.values[key] = results.rounded(None if value is None else float(value))
    if show:
        answer.thumbs[key] = sheet.thumb(pictures[len(pictures) // 2])


def gathered(answers: Sequence[Answer], family: str, defect: Defect) -> Measured:
    """One defect's values: all controls, and the subjects that have every strength."""
    clean = {one.clip: one.values[key] for one in answers if (key := (family, defect.name, "")) in one.values}
    keys = [(family, defect.name, strength) for strength in defect.strengths]
    whole = [one for one in answers if one.clip in clean and all(key in one.values for key in keys)]
    errors = [text for one in answers for key, text in one.errors.items() if key[:2] == (family, defect.name)]
    return Measured(
        **results.empty(family, defect),
        clean=clean,
        strengths={key[2]: {one.clip: one.values[key] for one in whole} for key in keys},
        errors=tuple(errors),
    )


def examples(known: Families, clips: Sequence[Clean]) -> dict[tuple[str, str], str]:
    """The clip that shows each defect on its family's picture: another one for each defect, in turn."""
    chosen = {}
    turn = 0
    for family, ones in known.items():
        for one in ones:
            rendered_on = subjects(family, one, clips)
            fitting = [clip.name for clip in clips if clip.name in rendered_on and "dark" not in clip.traits]
            if fitting:
                chosen[family, one.name] = fitting[turn % len(fitting)]
                turn += 1
    return chosen


def run(
    folders: Sequence[Path], docs: Path, only: Sequence[str], clips: Sequence[Clean], processes: int
) -> Results:
    """Measures, and writes the page, its numbers and its pictures into `docs`."""
    known = families(only)
    with_copies = not only or COPIES in only
    shown = examples(known, clips)
    wanted = [tuple(key for key, name in shown.items() if name == clip.name) for clip in clips]
    work = partial(_work, tuple(clips), tuple(folders), tuple(known))
    pairs: list[dict[str, Any]] = []
    if processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            answers = []
            copies = pool.submit(_copies, clips, folders) if with_copies else None
            for answer in pool.map(work, clips if known else (), wanted):
                print(f"{answer.clip}: {len(answer.values)} values, {len(answer.errors)} errors", flush=True)
                answers.append(answer)
            pairs = copies.result() if copies is not None else []
    else:
        answers = list(map(work, clips if known else (), wanted))
        pairs = _copies(clips, folders) if with_copies else []
    found = dataclasses.replace(collected(answers, known), duplicates=tuple(pairs))
    (docs / "images" / "accuracy").mkdir(parents=True, exist_ok=True)
    for family in found.families():
        thumbs = {key: data for one in answers for key, data in one.thumbs.items() if key[0] == family}
        sheet.write(docs / "images" / "accuracy" / f"{family}.jpg", found.families()[family], thumbs, shown)
    numbers = docs / "accuracy.json"
    if only and numbers.is_file():
        found = results.merged(results.read(numbers), found, known)
    publish(found, docs)
    return found


def _copies(clips: Sequence[Clean], folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of benchmarks.accuracy.duplicates over these clips."""
    with Decoder() as decoder:
        small = [dataclasses.replace(clip, height_px=VIEW.short_side_px) for clip in clips if not clip.again]
        return duplicates.measure([footage.load(clip, folders, decoder) for clip in small])


def publish(found: Results, docs: Path) -> None:
    """Writes the numbers and the page."""
    spots = sorted(
        path.stem.removeprefix("spot-") for path in (docs / "images" / "accuracy").glob("spot-*.jpg")
    )
    found = dataclasses.replace(found, spots=tuple(spots))
    results.write(found, docs / "accuracy.json")
    (docs / "accuracy.md").write_text(page.render(found), encoding="utf-8")


def _work(
    clips: tuple[Clean, ...],
    folders: tuple[Path, ...],
    only: tuple[str, ...],
    clean: Clean,
    wanted: tuple[tuple[str, str], ...],
) -> Answer:
    return measure(clean, clips, folders, families(only), wanted)


def collected(answers: Sequence[Answer], known: Families) -> Results:
    stages = filters.STAGES
    measured, skipped = [], {}
    for family, ones in known.items():
        for one in ones:
            why = unmeasurable(stages, one)
            if why:
                skipped[f"{family}: {one.name}"] = why
            else:
                measured.append(gathered(answers, family, one))
    return Results({one.clip: one.about for one in answers}, tuple(measured), skipped)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="How right the filters are, on defects rendered over real footage."
    )
    parser.add_argument("media", nargs="*", type=Path)
    parser.add_argument("--only", nargs="+", default=[], choices=[*families(), COPIES])
    parser.add_argument("--clips", type=int, default=len(CLEAN))
    parser.add_argument("--docs", type=Path, default=DOCS)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    if not asked.media:
        publish(results.refreshed(results.read(asked.docs / "accuracy.json"), families()), asked.docs)
        return
    found = run(asked.media, asked.docs, asked.only, CLEAN[: asked.clips], asked.processes)
    print(f"{len(found.defects)} defects on {len(found.clips)} clips: {asked.docs / 'accuracy.md'}")
    for name, why in found.skipped.items():
        print(f"not measured: {name}: {why}")


if __name__ == "__main__":
    main()
