"""What the tests of the promises share: where a measured figure is written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def record(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """record("crash points", "412 of 412 equal"): one JSON line in the file of `--promises-record`, if one is named."""
    file: Path | None = request.config.getoption("--promises-record")
    test: str = request.node.nodeid

    def write(promise: str, figure: str) -> None:
        if file is not None:
            line = json.dumps({"promise": promise, "figure": figure, "test": test}, ensure_ascii=False)
            with file.open("a", encoding="utf-8") as lines:
                lines.write(line + "\n")

    return write
