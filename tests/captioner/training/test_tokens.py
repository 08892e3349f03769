"""Tokens of a lesson: the answer alone is taught, pictures take the places that they fill."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captioner.training.course import TrainingError
from captioner.training.eyes import Eyes, View
from captioner.training.lessons import Lesson
from captioner.training.tokens import Marks, TooLong, prepared, taught_loss

EYES = Eyes(patch_px=2, merge=2, pair=2, mean=(0.0,) * 3, std=(1.0,) * 3, most_px=10_000)
MARKS = Marks(image=200, video=201, end=202)
SIGNS = {"<image>": 200, "<video>": 201, "<end>": 202}


@dataclass(frozen=True)
class Letters:
    """A tokenizer of bytes, and of three signs."""

    blind: bool = False

    def get_added_vocab(self) -> dict[str, int]:
        return SIGNS

    def apply_chat_template(
        self, messages: Sequence[dict[str, Any]], tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        assert add_generation_prompt
        parts = [part for message in messages for part in message["content"]]
        shown = (p["text"] if p["type"] == "text" else f"<{p['type']}>" for p in parts)
        return "".join(text for text in shown if not (self.blind and text in SIGNS)) + ">"

    def __call__(self, text: str) -> dict[str, list[int]]:
        for sign, token in SIGNS.items():
            text = text.replace(sign, chr(token))
        return {"input_ids": [ord(letter) for letter in text]}


def lesson(answer: str = "ab", text: str = "q?") -> Lesson:
    parts = [{"type": "image", "image": "a"}, {"type": "video", "video": "b"}, {"type": "text", "text": text}]
    asked = ({"role": "user", "content": parts},)
    return Lesson("c", asked, (("image", Path("a")), ("video", Path("b"))), answer)


VIEWS = [View(np.zeros((1, 4, 4, 3), np.uint8), 0.0), View(np.zeros((3, 4, 8, 3), np.uint8), 0.25)]


def test_only_the_answer_and_its_end_are_taught_and_every_picture_has_its_places() -> None:
    found = prepared(lesson(), VIEWS, Letters(), EYES, MARKS, 100)
    assert found.ids.tolist() == [200, 201, 201, 201, 201, *b"q?>ab", 202]
    assert found.taught == 3
    assert found.ids[-found.taught :].tolist() == [*b"ab", 202]
    assert found.kinds.tolist() == [1, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0]
    assert found.seen["image_grid_thw"].tolist() == [[1, 2, 2]]
    assert found.seen["video_grid_thw"].tolist() == [[2, 2, 4]]
    assert found.seen["pixel_values"].shape == (4, 24)
    assert found.seen["pixel_values_videos"].shape == (16, 24)
    assert found.seen["second_per_grid_ts"].tolist() == [0.5]


def test_what_cannot_be_a_lesson_says_so() -> None:
    with pytest.raises(TooLong, match="11 tokens, at most 10"):
        prepared(lesson(), VIEWS, Letters(), EYES, MARKS, 10)
    with pytest.raises(TrainingError, match="a text holds the special token <end>"):
        prepared(lesson(answer="a<end>"), VIEWS, Letters(), EYES, MARKS, 100)
    with pytest.raises(TrainingError, match="special token <video>"):
        prepared(lesson(text="<video>"), VIEWS, Letters(), EYES, MARKS, 100)
    with pytest.raises(TrainingError, match="leaves media out"):
        prepared(lesson(), VIEWS, Letters(blind=True), EYES, MARKS, 100)
    with pytest.raises(TrainingError, match="more marks than media"):
        prepared(replace(lesson(), media=(("image", Path("a")),)), VIEWS[:1], Letters(), EYES, MARKS, 100)


def test_the_loss_is_that_of_the_taught_tokens_and_nothing_else_has_a_gradient() -> None:
    import torch

    ids = torch.tensor([3, 1, 2, 0])
    logits = torch.zeros(4, 4)
    logits[1, 2] = math.log(3)  # says the third token with 3/6
    logits.requires_grad_()
    loss = taught_loss(logits, ids, 2)
    assert float(loss.detach()) == pytest.approx(math.log(2) + math.log(4))
    torch.autograd.backward(loss)
    assert logits.grad is not None
    assert logits.grad.abs().sum(dim=1).tolist() == pytest.approx([0, 1, 1.5, 0])
    shorter = taught_loss(logits[-3:], ids, 2)  # the logits of the last places are enough
    assert float(shorter.detach()) == pytest.approx(float(loss.detach()))
    other = logits.detach().clone()
    other[0], other[3] = 9, torch.arange(4)  # the prompt's, and what follows the end
    assert float(taught_loss(other, ids, 2)) == pytest.approx(float(loss.detach()))
