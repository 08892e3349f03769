"""What is said on a terminal: names of files give it no orders and forge no lines."""

from __future__ import annotations

import io

import pytest

from jobs.command import fault
from jobs.progress import Progress, printable

HOSTILE = "x\x1b]0;OWNED\x07\x1b[2J\nrushes: all well\r\u202e\u2028\x9b1m.mp4"
SHOWN = r"x\x1b]0;OWNED\x07\x1b[2J\nrushes: all well\r\u202e\u2028\x9b1m.mp4"


def test_control_characters_are_shown_and_not_obeyed() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("C:\\films\\été 映画 é.mp4") == "C:\\films\\été 映画 é.mp4"
    assert printable("a\udcff") == r"a\udcff"


def test_a_line_of_progress_is_one_line() -> None:
    stream = io.StringIO()
    Progress(stream).say(HOSTILE)
    assert stream.getvalue() == f"{SHOWN}\n"


def test_a_fault_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fault(HOSTILE, 3)
    assert capsys.readouterr().err == f"rushes: {SHOWN}\n"
