"""What a student knows of clips that it has not learnt: loss, form, and how right its fields are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from captioner.evaluate import average, evaluate
from captioner.judging import ByClaims, ByWords
from captioner.schema import Caption, loads
from captioner.training.course import Course
from captioner.training.student import Student
from captioner.training.tokens import Prepared


@dataclass(frozen=True)
class Exam:
    """The outcome; None: nothing was asked that could say it."""

    epoch: int
    clips: int
    loss: float | None
    """Mean of the answers' tokens, in nats."""
    answered: int
    """Clips whose answer was asked."""
    valid_ratio: float | None
    """Share of the answers that are captions of the schema."""
    exact_ratio: float | None
    """Share that are the taught answer, letter by letter."""
    average: float | None
    """Mean accuracy of the paper's fields (captioner.evaluate), but for appearance and action, which are not judged."""
    fields: dict[str, float]
    """Accuracy of each field; of appearance, action, environment and lighting only how often the words are alike."""


def examined(student: Student, lessons: Iterable[Prepared], course: Course, epoch: int) -> dict[str, Any]:
    """An Exam as plain data."""
    import torch

    loss, tokens, clips = 0.0, 0, 0
    said: dict[str, tuple[str, str]] = {}
    for lesson in lessons:
        with torch.no_grad():
            loss += float(student.loss(lesson))
        tokens, clips = tokens + lesson.taught, clips + 1
        if len(said) < course.exam_clips:
            true = student.tokenizer.decode(lesson.ids[-lesson.taught : -1])
            said[lesson.clip_id] = (str(true), student.answer(lesson, course.answer_tokens))
    return asdict(marked(epoch, clips, loss / tokens if tokens else None, said))


def marked(epoch: int, clips: int, loss: float | None, said: dict[str, tuple[str, str]]) -> Exam:
    """The Exam of answers: by clip id, what was taught and what was said."""
    truth = {clip: caption for clip, (true, _) in said.items() if (caption := _caption(true)) is not None}
    captions = {clip: caption for clip, (_, text) in said.items() if (caption := _caption(text)) is not None}
    scored = evaluate(truth, "student", captions, ByClaims(ByWords()))
    mean = average(scored) if truth else None
    return Exam(
        epoch,
        clips,
        loss,
        len(said),
        len(captions) / len(said) if said else None,
        sum(true == text for true, text in said.values()) / len(said) if said else None,
        mean.mean if mean else None,
        {name: rate.right for name, rate in scored.rates().items()},
    )


def _caption(text: str) -> Caption | None:
    try:
        return loads(text)
    except ValueError:
        return None
