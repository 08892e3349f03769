"""Lessons: the rows of a set of `rushes caption-export`, and the frames that its files show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.distill import hashed
from captioner.engines.pictures import metadata
from captioner.training.course import Course, TrainingError
from captioner.training.eyes import View
from pipeline.frames import Decoder, VideoIndex
from pipeline.stage import FrameSpec


@dataclass(frozen=True)
class Lesson:
    """One clip: what is asked, what is shown, and the answer that is taught."""

    clip_id: str
    asked: tuple[dict[str, Any], ...]
    """Messages before the answer, with typed parts."""
    media: tuple[tuple[str, Path], ...]
    """Kind (video, image) and file of each medium, in order."""
    answer: str


def read(folder: Path, part: str) -> list[Lesson]:
    """The lessons of one part (train, val) of a set. TrainingError: no such set, or a row of another form."""
    path = folder / f"{part}.trl.jsonl"
    try:
        with path.open(encoding="utf-8") as file:
            return [_lesson(folder, line, f"{path}, line {n}") for n, line in enumerate(file, 1)]
    except OSError as error:
        raise TrainingError(f"{folder} is no set of `rushes caption-export`: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TrainingError(f"{path} is not UTF-8") from None


def _lesson(folder: Path, line: str, where: str) -> Lesson:
    try:
        row = json.loads(line)
        *asked, last = row["messages"]
        (said,) = last["content"]
        parts = [part for message in asked for part in message["content"] if part["type"] != "text"]
        pictures = list(row["images"])
        if [part["type"] for part in parts].count("image") != len(pictures):
            raise ValueError("as many parts of type image as there are pictures")
        named = [pictures.pop(0) if part["type"] == "image" else part[part["type"]] for part in parts]
        media = tuple((part["type"], folder / name) for part, name in zip(parts, named, strict=True))
        lesson = Lesson(str(row["id"]), tuple(asked), media, said["text"])
    except (KeyError, TypeError, ValueError):  # JSONDecodeError is a ValueError
        raise TrainingError(f"{where}: no row of `rushes caption-export`") from None
    for kind, path in media:
        if kind not in ("video", "image") or not path.resolve().is_relative_to(folder.resolve()):
            raise TrainingError(f"{where}: a medium that is no video or image of the set")
    if last["role"] != "assistant" or not isinstance(lesson.answer, str) or not lesson.answer:
        raise TrainingError(f"{where}: there is no answer to teach")
    return lesson


def turn(lessons: Sequence[Lesson], epoch: int, seed: int, steps: int) -> list[list[Lesson]]:
    """The lessons of each step of an epoch, in an order that is a hash's; steps differ by one lesson at most."""
    ordered = sorted(lessons, key=lambda lesson: hashed(seed, f"{epoch}\n{lesson.clip_id}"))
    return [ordered[step::steps] for step in range(steps)]


@dataclass(frozen=True)
class Look:
    """Shows media through the guarded decoder. For one thread."""

    decoder: Decoder
    spec: FrameSpec

    @classmethod
    def by(cls, course: Course) -> Look:
        """As a course has it."""
        return cls(Decoder(), FrameSpec(course.every_s, course.short_side_px, most=course.frames_max))

    def __call__(self, lesson: Lesson) -> list[View]:
        """What each medium of a lesson shows, in order. MediaError: one cannot be read."""
        return list(self._views(lesson))

    def _views(self, lesson: Lesson) -> Iterator[View]:
        for kind, path in lesson.media:
            index = VideoIndex.from_row(self.decoder.probe(str(path)))
            end = index.frame_count if kind == "video" else 1
            (batch,) = self.decoder.read(str(path), index, [(0, end)], self.spec)
            if kind == "image":
                yield View(batch.images[:1], 0.0)
            else:
                told = metadata(batch.times_s, float(index.fps))
                yield View(batch.images, told["duration"] / len(batch.images))

    def close(self) -> None:
        """Ends the decoder's process."""
        self.decoder.close()
