"""Tiny checkpoints, made as a user makes them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "tiny_captioner.py"


@pytest.fixture(scope="session")
def tiny_captioner() -> ModuleType:
    """examples/tiny_captioner.py."""
    spec = importlib.util.spec_from_file_location("tiny_captioner", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def checkpoint(
    tiny_captioner: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], Path]:
    """Gives the folder of a tiny checkpoint of a family, after so many steps of learning."""
    made: dict[tuple[str, int], Path] = {}

    def give(family: str = "qwen2_5_vl", steps: int = 0) -> Path:
        if (family, steps) not in made:
            folder = tmp_path_factory.mktemp("checkpoint") / family
            made[family, steps] = tiny_captioner.make(folder, family, steps)
        return made[family, steps]

    return give
