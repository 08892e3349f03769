"""The loop: the step size, what a step leaves out, and that an error ends it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from captioner.training.course import Course, TrainingError
from captioner.training.lessons import Lesson
from captioner.training.loop import Tell, Training, slope, taught
from captioner.training.state import Step
from captioner.training.student import Student
from captioner.training.tokens import Prepared, TooLong
from pipeline.reasons import MediaError, Reason

SILENT = Tell(lambda step, total: None, lambda exam: None)


def test_the_step_size_rises_and_falls() -> None:
    sizes = [slope(step, 100, 0.05) for step in range(100)]
    assert sizes[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert sizes[5:] == sorted(sizes[5:], reverse=True)
    assert sizes[52] == pytest.approx(0.5 * (1 + np.cos(np.pi * 47 / 95)))
    assert 0 < sizes[-1] < 0.001
    assert slope(0, 1, 0.05) == 1.0


@dataclass(frozen=True)
class Parrot:
    """A student of one weight, whose loss is it times the lesson's number."""

    model: Any
    broken: bool = False

    def weights(self) -> Mapping[str, Any]:
        return dict(self.model.named_parameters())

    def prepared(self, lesson: Lesson, views: Any) -> Prepared:
        if lesson.clip_id == "13":
            raise TooLong("13 is too much")
        ids = np.array([int(lesson.clip_id)], np.int64)
        return Prepared(lesson.clip_id, ids, int(lesson.clip_id), {}, ids)

    def loss(self, lesson: Prepared) -> Any:
        if self.broken:
            raise ArithmeticError("the student is ill")
        return self.model.weight.sum() * lesson.taught**2


def look(lesson: Lesson) -> list[Any]:
    if lesson.clip_id == "7":
        raise MediaError(Reason.DECODE_ERROR, "torn")
    return []


def training(numbers: list[int], course: Course, broken: bool = False) -> Training:
    import torch

    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    lessons = [Lesson(str(n), (), (), "{}") for n in numbers]
    return Training(cast(Student, Parrot(model, broken)), course, lessons, [], look)


def test_a_step_is_the_mean_of_its_tokens_and_says_what_it_left_out(tmp_path: Path) -> None:
    steps: list[tuple[Step, int]] = []
    exams: list[dict[str, Any]] = []
    group = training([2, 3, 7, 13], Course(batch=4, epochs=1, rate=0.5, clip_norm=1.0))
    progress = taught(
        group, tmp_path, "x", Tell(lambda step, total: steps.append((step, total)), exams.append)
    )
    assert steps == [(Step(1, 1, pytest.approx(13 / 5), 0.5, pytest.approx(13 / 5), 2, 5), 1)]
    assert progress.steps == [steps[0][0]]
    assert progress.left_out == {"7": "decode_error: torn", "13": "13 is too much"}
    assert group.student.model.weight.tolist() == [[pytest.approx(0.5)]]  # AdamW's first step is the rate
    assert [(exam["epoch"], exam["clips"]) for exam in exams] == [(1, 0)]


def test_nothing_to_learn_from_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the set's train part is empty"):
        taught(training([], Course()), tmp_path, "x", SILENT)
    with pytest.raises(TrainingError, match=r"step 1: none of its 1 clips .* decode_error: torn"):
        taught(training([7], Course()), tmp_path, "x", SILENT)


@pytest.mark.timeout(60)
def test_an_error_in_the_model_ends_it_at_once_with_lessons_waiting(tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError, match="ill"):
        taught(training(list(range(14, 40)), Course(), broken=True), tmp_path, "x", SILENT)


def test_a_training_with_the_default_batch_that_was_stopped_sees_the_same_batches(tmp_path: Path) -> None:
    course, numbers = Course(epochs=1, save_every=7, rate=0.01), list(range(20, 130))
    steps: list[Step] = []
    whole = taught(training(numbers, course), tmp_path / "whole", "x", SILENT)
    assert [step.clips for step in whole.steps] == [2] * 55  # of 110 clips, 512 would be one step

    def stop(step: Step, total: int) -> None:
        steps.append(step)
        if len(steps) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taught(training(numbers, course), tmp_path / "torn", "x", Tell(stop, lambda exam: None))
    assert taught(training(numbers, course), tmp_path / "torn", "x", SILENT) == whole


def test_a_state_of_another_training_is_refused_and_its_own_goes_on(tmp_path: Path) -> None:
    course = Course(batch=1, epochs=2, save_every=1, rate=0.01)
    whole = taught(training([2, 3], course), tmp_path / "whole", "x", SILENT)
    count = itertools.count(1)

    def stop(step: Step, total: int) -> None:
        if next(count) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taught(training([2, 3], course), tmp_path / "torn", "x", Tell(stop, lambda exam: None))
    assert [path.name for path in (tmp_path / "torn").iterdir()] == ["step-00000002-0001"]
    with pytest.raises(TrainingError, match="another checkpoint, set or course"):
        taught(training([2, 3], course), tmp_path / "torn", "y", SILENT)
    group = training([2, 3], course)
    assert taught(group, tmp_path / "torn", "x", SILENT) == whole
    again = training([2, 3], course)
    taught(again, tmp_path / "again", "x", SILENT)
    assert group.student.model.weight.tolist() == again.student.model.weight.tolist()
