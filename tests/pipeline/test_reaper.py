"""What is left of a killed command is ended: processes, the token, and Ray's folder unless it is to be read."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import reaper

FAMILY = (
    "import subprocess, sys; subprocess.Popen(['sleep', '60']); print('up', flush=True); sys.stdin.read()"
)


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child."""
    made = subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert made.stdout
    made.stdout.readline()
    yield made
    made.kill()
    made.communicate()


def reaped(session: Path, token: Path, *numbers: int, said: bytes) -> None:
    command = [sys.executable, "-I", "-S", reaper.__file__, str(session), str(token), *map(str, numbers)]
    subprocess.run(command, input=said, check=True, timeout=60)


def await_end(numbers: list[int]) -> None:
    """Until none of these runs any more; a zombie does not."""
    deadline = time.monotonic() + 10
    while any(number in reaper.processes() and not _zombie(number) for number in numbers):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _zombie(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("said", [b"", b"."])
def test_a_family_its_token_and_its_folder(
    tmp_path: Path, family: subprocess.Popen[bytes], said: bytes
) -> None:
    (tmp_path / "session/logs").mkdir(parents=True)
    (tmp_path / "token").touch()
    known = {family.pid: reaper.processes()[family.pid][1]}
    numbers = list(reaper.descendants(known))
    assert len(numbers) == 2
    reaped(tmp_path / "session", tmp_path / "token", family.pid, said=said)
    await_end(numbers)
    assert not (tmp_path / "token").exists()
    assert (tmp_path / "session/logs").exists() == bool(said)


def test_a_number_that_was_given_again_is_let_be() -> None:
    number = os.getpid()
    assert reaper.descendants({number: "another time"}) == {}
    assert number in reaper.descendants({number: reaper.processes()[number][1]})
