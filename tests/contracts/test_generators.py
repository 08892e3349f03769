"""What every generator keeps: one suite over those that are here, the server's behind a real one."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from captioner.engine import frames_digest
from captioner.engines.server import ServerGenerator, ServerSettings
from captioner.generate import Answer, Finish, Generator, Prompt, Tally
from captioner.schema import json_schema
from pipeline.stage import FrameBatch

WINDOW = 3


@dataclass
class Scripted:
    """The least that a generator is: answers each window of prompts, the last one first."""

    name: str = "scripted/1"

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        source = iter(prompts)
        while held := list(itertools.islice(source, WINDOW)):
            while held:
                prompt = held.pop()
                finish = Finish.LENGTH if prompt.max_tokens < 8 else Finish.STOP
                yield Answer(prompt.key, prompt.frames_sha256, "{}", finish, 10, 2)

    def close(self) -> None:
        """Has nothing to let go."""


@pytest.fixture(params=["scripted", "server", "vllm"])
def make(request: pytest.FixtureRequest) -> Callable[[], Generator]:
    """What makes the generator: small, on the CPU, WINDOW prompts at work."""
    if request.param == "scripted":
        return Scripted
    if request.param == "server":
        server = request.getfixturevalue("chat_server")
        reply = request.getfixturevalue("chat_reply")
        server.reply = lambda asked: reply(finish="length" if asked.body["max_tokens"] < 8 else "stop")
        settings = ServerSettings(server.url, "tiny", retries=1, backoff_s=0.01, window=WINDOW)
        return lambda: ServerGenerator(settings)
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed here: make test-vllm has an environment with it")
    return request.getfixturevalue("tiny_vllm")  # type: ignore[no-any-return]


@pytest.fixture
def generator(make: Callable[[], Generator]) -> Iterator[Generator]:
    made = make()
    yield made
    made.close()


def shown(count: int = 2, seed: int = 1) -> FrameBatch:
    images = np.random.default_rng(seed).integers(0, 256, (count, 56, 84, 3), dtype=np.uint8)
    return FrameBatch(images, np.arange(count) / 2, np.arange(count) * 12)


def prompt(number: int, frames: FrameBatch | None = None, **changes: Any) -> Prompt:
    digest = frames_digest(frames) if frames is not None else ""
    plain = Prompt(f"c{number}/1", "Say what.", "", frames, digest, 24.0, max_tokens=12, seed=number)
    return replace(plain, **changes)


def answers(generator: Generator, prompts: Iterable[Prompt]) -> dict[str, Answer]:
    found = list(generator.generate(prompts))
    assert len(found) == len({answer.key for answer in found})
    return {answer.key: answer for answer in found}


def test_every_prompt_has_one_answer_of_its_own_frames(generator: Generator) -> None:
    prompts = [prompt(n, shown(1 + n % 3, n)) for n in range(7)]
    found = answers(generator, prompts)
    assert {key: answer.frames_sha256 for key, answer in found.items()} == {
        one.key: one.frames_sha256 for one in prompts
    }
    assert all(answer.finish in (Finish.STOP, Finish.LENGTH) for answer in found.values())
    assert all(answer.prompt_tokens > 0 for answer in found.values())


def test_it_reads_without_eyes_too(generator: Generator) -> None:
    (answer,) = answers(generator, [prompt(0)]).values()
    assert (answer.frames_sha256, answer.finish is Finish.ERROR) == ("", False)


def test_nothing_asked_is_nothing_answered_and_it_can_be_asked_again(generator: Generator) -> None:
    assert answers(generator, []) == {}
    assert set(answers(generator, [prompt(0)])) == {"c0/1"}
    assert set(answers(generator, [prompt(0)])) == {"c0/1"}


def test_prompts_are_taken_as_there_is_room(generator: Generator) -> None:
    taken = 0

    def source() -> Iterator[Prompt]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield prompt(number)

    stream = generator.generate(source())
    next(stream)
    assert taken < 40
    assert len(list(stream)) == 39


def test_a_short_limit_is_told(generator: Generator) -> None:
    (answer,) = answers(generator, [prompt(0, max_tokens=2)]).values()
    assert answer.finish is Finish.LENGTH
    assert answer.text == answer.text.encode("utf-8", "replace").decode()


def test_a_schema_may_be_given(generator: Generator) -> None:
    (answer,) = answers(generator, [prompt(0, shown(), schema=json_schema(), max_tokens=64)]).values()
    assert answer.finish is not Finish.ERROR


def test_it_says_who_it_is_and_may_be_closed_twice(make: Callable[[], Generator]) -> None:
    made = make()
    assert made.name
    assert made.name.isprintable()
    made.close()
    made.close()


def test_answers_are_counted() -> None:
    tally = Tally()
    tally.add(Answer("a", "", "x", Finish.STOP, 10, 3))
    tally.add(Answer("b", "", "", Finish.ERROR, 7, 0, "gone"))
    assert (tally.answers, tally.errors, tally.prompt_tokens, tally.output_tokens) == (2, 1, 17, 3)
    assert tally.finishes == {Finish.STOP: 1, Finish.ERROR: 1}
