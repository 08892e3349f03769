"""The engines that the suites run over and that take long to load: loaded once."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from captioner.engines.vllm import VllmGenerator, VllmSettings
from captioner.generate import Answer, Generator, Prompt

EXAMPLE = Path(__file__).parents[2] / "examples" / "tiny_captioner.py"


class Lent:
    """A loaded engine, which its borrower may not close."""

    def __init__(self, engine: VllmGenerator) -> None:
        self._engine = engine
        self.name = engine.name

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        return self._engine.generate(prompts)

    def close(self) -> None:
        """It is of further use."""


@pytest.fixture(scope="session")
def loaded_vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmGenerator]:
    """vLLM on a tiny checkpoint with random weights, three prompts at work."""
    spec = importlib.util.spec_from_file_location("tiny_captioner", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    folder = example.make(tmp_path_factory.mktemp("checkpoint") / "tiny", steps=0)
    engine = VllmGenerator(VllmSettings(str(folder), device="cpu", window=3, max_tokens_total=2048))
    yield engine
    engine.close()


@pytest.fixture
def tiny_vllm(loaded_vllm: VllmGenerator) -> Callable[[], Generator]:
    return lambda: Lent(loaded_vllm)
