"""What an exam says of answers."""

from __future__ import annotations

from captioner.schema import Caption, Subject, Types, dumps
from captioner.training.exam import marked


def caption(shot: str = "close_up", kind: str = "Human") -> str:
    subject = Subject(
        TYPES=Types(type=kind, sub_type=""),
        appearance="",
        action="",
        expression="",
        position="",
        is_main_subject=True,
    )
    return dumps(
        Caption(
            subjects=(subject,),
            shot_type=shot,  # type: ignore[arg-type]  # a word of the vocabulary
            shot_angle="",
            shot_position="",
            camera_motion="",
            environment="",
            lighting="",
        )
    )


def test_form_letters_and_fields_are_counted_apart() -> None:
    said = {
        "a": (caption(), caption()),
        "b": (caption(), caption(shot="long_shot")),
        "c": (caption(), '{"subjects":['),
        "d": (caption(), "A woman."),
    }
    exam = marked(1, 9, 0.5, said)
    assert (exam.epoch, exam.clips, exam.loss, exam.answered) == (1, 9, 0.5, 4)
    assert exam.valid_ratio == 0.5
    assert exam.exact_ratio == 0.25
    assert exam.fields == {"shot_type": 0.25, "type": 0.5, "main_subject": 0.5}
    assert exam.average == 0.375  # of the paper's fields


def test_without_clips_nothing_is_claimed() -> None:
    exam = marked(2, 0, None, {})
    assert (exam.loss, exam.valid_ratio, exam.exact_ratio, exam.average) == (None, None, None, None)
    assert exam.fields == {}
