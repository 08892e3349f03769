"""What the decoding process is kept to: its memory, and the plain files that it reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.decoders.guard import Source, open_file, was_short_of_memory


def test_a_place_that_cannot_be_is_an_answer_and_no_exception(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    file: Source = open_file(str(tmp_path / "a"))
    assert file.seek(1) == 1
    for place in (-1, -(2**63), 2**63):
        assert file.seek(place) < 0
    assert file.read(5) == b"bc"
    file.close()


BOUND = """
from pipeline.decoders.guard import bound_memory, was_short_of_memory
bound_memory(200 << 20)
said = [was_short_of_memory()]
held = bytearray({mib} << 20)
said.append(was_short_of_memory())
del held
print(*said, was_short_of_memory())
"""


@pytest.mark.parametrize(("mib", "short"), [(50, False), (170, True)])
def test_who_came_near_the_bound_was_short_of_memory(mib: int, short: bool) -> None:
    code = [sys.executable, "-c", BOUND.format(mib=mib)]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", str(short), str(short)]


def test_without_a_bound_nobody_is_short() -> None:
    assert not was_short_of_memory()
