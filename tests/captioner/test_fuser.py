"""The fuser against answers as models give them: with thoughts, blank lines and afterwords; and asked once more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from captioner.fuser import Fused, Fuser, Wanted, packaged
from captioner.generate import Answer, Finish, Prompt
from captioner.schema import Caption, Subject, Types
from pipeline.stage import ClipError

WOMAN = Subject(
    TYPES=Types(type="Human", sub_type="Woman"),
    appearance="A red coat",
    action="Walks along the beach.",
    expression="",
    position="",
    is_main_subject=True,
)
CAPTION = Caption(
    subjects=(WOMAN,),
    shot_type="close_up",
    shot_angle="",
    shot_position="",
    camera_motion="",
    environment="A beach.",
    lighting="",
)
JOB = Wanted("c" * 20, CAPTION, "t2v", "en", 0)
TEXT = "A close-up of a woman in a red coat who walks along a beach."


@dataclass
class Says:
    """A generator that says the same to every prompt, and stops where it is told to, as a server would."""

    text: str
    finish: Finish = Finish.STOP
    name: str = "says/1"
    asked: list[Prompt] = field(default_factory=list)

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        for prompt in list(prompts):
            self.asked.append(prompt)
            text = self.text
            for stop in prompt.stop:
                text = text.partition(stop)[0]
            yield Answer(prompt.key, "", text, self.finish)

    def close(self) -> None: ...


def fused(generator: Says, job: Wanted = JOB) -> Fused | ClipError:
    (found,) = Fuser(generator, packaged(["en"]), dropout=0.0).fuse([job]).values()
    return found


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"\n\n{TEXT}\n\n",
        f"<think>\nThe notes say a woman.\n\nShe walks.\n</think>\n\n{TEXT}",
        f"The user wants a paragraph.\n\nA man? No.\n</think>\n\n{TEXT}",
        f"```\n{TEXT}\n```",
        f"{TEXT}\n\nLet me know if you want another paragraph.",
    ],
)
def test_thoughts_blank_lines_and_afterwords_are_no_fault(text: str) -> None:
    found = fused(Says(text))
    assert isinstance(found, Fused)
    assert found.text == TEXT


def test_thoughts_that_find_no_end_are_a_fault() -> None:
    found = fused(Says("A woman, a red coat, a beach.\n\nSo:", Finish.LENGTH))
    assert isinstance(found, ClipError)
    assert "it ran into the limit of its length" in found.message


def test_a_thinking_model_has_room_to_think() -> None:
    generator = Says(TEXT)
    fused(generator)
    (prompt,) = generator.asked
    assert (prompt.max_tokens, prompt.stop) == (2048, ())


def test_a_retry_of_what_was_at_fault_draws_seeds_that_were_not_drawn() -> None:
    generator = Says("")
    for attempt in (1, 2, 3):
        fused(generator, replace(JOB, attempt=attempt))
    assert len({prompt.seed for prompt in generator.asked}) == 6
    assert [prompt.temperature for prompt in generator.asked] == [0.1] + 5 * [0.5]
