"""A stage whose code has changed has another version, or somebody has looked and said that its values stay."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from benchmarks.versions import FILE, digest, plain, stages

KNOWN = json.loads(FILE.read_text(encoding="utf-8"))
NOW = stages()


def test_every_stage_is_listed():
    assert set(KNOWN) == set(NOW), "run: python -m benchmarks.versions"


@pytest.mark.parametrize("name", sorted(NOW))
def test_changed_code_has_another_version(name):
    before, after = KNOWN[name], NOW[name]
    assert before == after, (
        f"the code of {name} has changed: raise its version if it gives any clip other values,"
        " then run: python -m benchmarks.versions"
    )


def test_a_number_counts_and_a_docstring_does_not():
    file = Path(__file__).resolve().parents[2] / "filters" / "black.py"
    assert digest(file) == NOW["black"]["code"]
    code = [
        dumped(text) for text in ('"""One."""\nX = 1\n', '"""Two."""\n# so\nX = 1\n', '"""One."""\nX = 2\n')
    ]
    assert code[0] == code[1] != code[2]


def dumped(text: str) -> str:
    return ast.dump(plain(ast.parse(text)))
