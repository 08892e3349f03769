"""What the tests of the promises share: where a measured figure is written down, and a run that is soon done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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


@pytest.fixture
def brief(
    small: Any, tmp_path: Path, make_video: Callable[..., Path], shots_of: Callable[..., Any]
) -> tuple[Any, Path]:
    """A run over a short video, a picture and a file that is no video, done once."""
    media = tmp_path / "brief"
    media.mkdir()
    make_video(media / "a.mp4", frames=30, fps=20, size=(320, 256), draw=shots_of((30, 1)))
    for name in ("c.png", "notes.mp4"):
        shutil.copyfile(small.media / name, media / name)
    made = replace(small, media=media)
    made.done(tmp_path / "reference")
    return made, tmp_path / "reference"
