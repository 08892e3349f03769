"""The loop: lessons in, gradients summed over a step, a state now and then, an exam after each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioner.training import state
from captioner.training.course import Course, TrainingError
from captioner.training.exam import examined
from captioner.training.eyes import View
from captioner.training.lessons import Lesson, turn
from captioner.training.state import Progress, Step
from captioner.training.student import Student
from captioner.training.tokens import Prepared, TooLong
from pipeline.ahead import Ahead
from pipeline.reasons import MediaError

if TYPE_CHECKING:
    import torch

READY_AHEAD = 4
"""Lessons that are decoded while the model learns."""


@dataclass(frozen=True)
class Plan:
    """How large a training is, known before anything is loaded."""

    clips: int
    batch: int
    """Clips a step, at most."""
    epochs: int

    @classmethod
    def of(cls, course: Course, clips: int) -> Plan:
        """A course's, on so many clips."""
        return cls(clips, course.clips_a_step(clips), course.epochs)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return math.ceil(self.clips / self.batch)

    @property
    def total(self) -> int:
        """Steps of all."""
        return self.per_epoch * self.epochs


@dataclass(frozen=True)
class Tell:
    """Who hears how it goes."""

    step: Callable[[Step, int], object]
    """A step that was done, and how many there are."""
    exam: Callable[[dict[str, Any]], object]
    plan: Callable[[Plan], object] = lambda plan: None
    """What will be done, before anything is loaded."""


@dataclass(frozen=True)
class Training:
    """A student, what it learns, and what it is examined on."""

    student: Student
    course: Course
    train: Sequence[Lesson]
    val: Sequence[Lesson]
    look: Callable[[Lesson], list[View]]

    @property
    def plan(self) -> Plan:
        """How large it is."""
        return Plan.of(self.course, len(self.train))


def taught(training: Training, states: Path, identity: str, tell: Tell) -> Progress:
    """Trains to the end, from the newest state on where there is one.

    TrainingError: nothing to learn, a step of which no clip could be read, a loss that is no number, or states of
    another training.
    """
    import torch

    if not training.train:
        raise TrainingError("there is nothing to learn from: the set's train part is empty")
    course, plan, weights = training.course, training.plan, training.student.weights()
    optimizer = torch.optim.AdamW(weights.values(), lr=course.top_rate, weight_decay=course.weight_decay)
    before = state.last(states, identity)
    progress = state.restore(before, weights, optimizer) if before else Progress()
    with ThreadPoolExecutor(1, "lessons") as thread:
        while True:
            done = len(progress.steps)
            if done == plan.per_epoch * (len(progress.exams) + 1):
                with closing(_ready(training, training.val, progress, thread)) as ready:
                    exam = examined(training.student, ready, course, len(progress.exams) + 1)
                progress.exams.append(exam)
                tell.exam(progress.exams[-1])
                state.save(states, identity, progress, weights, optimizer)
            if done == plan.total:
                return progress
            progress.steps.append(_step(training, optimizer, progress, thread))
            tell.step(progress.steps[-1], plan.total)
            if len(progress.steps) % course.save_every == 0:
                state.save(states, identity, progress, weights, optimizer)


def _step(
    training: Training, optimizer: torch.optim.Optimizer, progress: Progress, thread: ThreadPoolExecutor
) -> Step:
    import torch

    done, plan = len(progress.steps), training.plan
    epoch, place = divmod(done, plan.per_epoch)
    chosen = turn(training.train, epoch, training.course.seed, plan.per_epoch)[place]
    rate = training.course.top_rate * slope(done, plan.total, training.course.warmup_ratio)
    for settings in optimizer.param_groups:
        settings["lr"] = rate
    loss, tokens, clips = 0.0, 0, 0
    training.student.model.train()
    torch.manual_seed(training.course.seed + done)  # dropout: by the step, so that a state need not keep it
    with closing(_ready(training, chosen, progress, thread)) as ready:
        for lesson in ready:
            one = training.student.loss(lesson)
            torch.autograd.backward(one)
            loss, tokens, clips = loss + float(one.detach()), tokens + lesson.taught, clips + 1
    training.student.model.eval()
    if not clips:
        raise TrainingError(
            f"step {done + 1}: none of its {len(chosen)} clips can be learnt from, the first because of:"
            f" {progress.left_out[chosen[0].clip_id]}"
        )
    if not math.isfinite(loss):
        raise TrainingError(f"step {done + 1}: the loss is no number: lower `rate`")
    weights = [weight for settings in optimizer.param_groups for weight in settings["params"]]
    for weight in weights:  # a mean over the step's tokens, however long each clip's answer is
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        weight.grad /= tokens
    length = torch.nn.utils.clip_grad_norm_(weights, training.course.clip_norm)
    optimizer.step()
    optimizer.zero_grad()
    return Step(done + 1, epoch + 1, loss / tokens, rate, float(length), clips, tokens)


def _ready(
    training: Training, lessons: Iterable[Lesson], progress: Progress, thread: ThreadPoolExecutor
) -> Generator[Prepared, None, None]:
    """The lessons in tokens, made ahead; one that cannot be read or is too long is noted and left out."""

    def made(lesson: Lesson) -> tuple[Lesson, Prepared | MediaError | TooLong]:
        try:
            return lesson, training.student.prepared(lesson, training.look(lesson))
        except (MediaError, TooLong) as error:
            return lesson, error

    with Ahead(map(made, lessons), READY_AHEAD, thread) as ready:
        for lesson, found in ready:
            if isinstance(found, Prepared):
                yield found
            else:
                progress.left_out[lesson.clip_id] = str(found)


def slope(step: int, steps: int, warmup_ratio: float) -> float:
    """The share of the highest step size at a step (from 0): a straight rise, then half a cosine down.

    The last step is not nothing, and the first neither.
    """
    rise = round(warmup_ratio * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
