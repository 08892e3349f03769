"""Another environment's interpreter: what it lacks is a sentence before anything is measured."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from captioner.engines.interpreter import checked_interpreter
from pipeline.weights import WeightError


@pytest.fixture
def environment(tmp_path: Path) -> Callable[..., str]:
    """Gives an interpreter that says this of itself."""

    def make(says: str, status: int = 0) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
        path.chmod(0o755)
        return str(path)

    return make


def said(has: str = '"vllm", "ray", "pipeline"', ray: str = "", minor: int = sys.version_info[1]) -> str:
    own = ray or importlib.metadata.version("ray")
    return f'{{"python": [3, {minor}], "ray": "{own}", "has": [{has}]}}'


def test_a_fitting_one_passes(environment: Callable[..., str]) -> None:
    checked_interpreter(environment(said()))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (said('"ray", "pipeline"'), "lacks vllm"),
        (said('"vllm"'), "lacks ray"),
        (said('"vllm", "ray"'), "lacks rushes: install it in that environment"),
        (said(ray="2.1.0"), "has ray 2.1.0, this command"),
        (said(minor=8), r"has python 3\.8, this command 3\."),
        ("hello", "no interpreter that can be started"),
        ("", "no interpreter that can be started"),
    ],
)
def test_what_is_missing_is_named(environment: Callable[..., str], answer: str, sentence: str) -> None:
    with pytest.raises(WeightError, match=sentence):
        checked_interpreter(environment(answer))


def test_no_interpreter_at_all(environment: Callable[..., str], tmp_path: Path) -> None:
    for python in (str(tmp_path / "nowhere"), str(tmp_path), environment(said(), status=3)):
        with pytest.raises(WeightError, match="no interpreter that can be started"):
            checked_interpreter(python)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="this one has vLLM")
def test_this_very_environment_has_no_vllm() -> None:
    with pytest.raises(WeightError, match="lacks vllm"):
        checked_interpreter(sys.executable)
