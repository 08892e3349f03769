"""What is left of a killed command is ended: processes, the token, and Ray's folder unless it is to be read."""

import os
import signal
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


def reaped(folder: Path, said: str) -> None:
    command = [sys.executable, "-I", "-S", reaper.__file__, str(folder)]
    subprocess.run(command, input=said.encode(), check=True, timeout=60)


def await_end(numbers: list[int]) -> None:
    """Until none of these runs any more."""
    deadline = time.monotonic() + 10
    while any(number in reaper.processes() for number in numbers):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("said", ["", "keep\n"])
def test_a_family_its_token_and_its_folder(
    tmp_path: Path, family: subprocess.Popen[bytes], said: str
) -> None:
    (tmp_path / "ray/r/logs").mkdir(parents=True)
    (tmp_path / "ray/token").touch()
    known = {family.pid: reaper.processes()[family.pid][1]}
    numbers = list(reaper.descendants(known))
    assert len(numbers) == 2
    reaped(tmp_path / "ray", f"{family.pid}\n{said}")
    await_end(numbers)
    assert not (tmp_path / "ray/token").exists()
    assert (tmp_path / "ray/r/logs").exists() == bool(said)


def test_what_was_started_with_the_folders_name_is_ended_though_nobody_told_its_number(
    tmp_path: Path,
) -> None:
    """Its maker was killed before it could."""
    folder = tmp_path / "ray"
    folder.mkdir()
    started = [
        subprocess.Popen(["sleep", "60"], env={**os.environ, reaper.MARK: name}, start_new_session=True)
        for name in (str(folder), f"{folder}-other")
    ]
    try:
        while started[0].pid not in reaper.marked(str(folder)):  # it has yet to become a `sleep`
            time.sleep(0.01)
        reaped(folder, "")
        assert started[0].wait(10) == -signal.SIGKILL
        assert started[1].poll() is None
        assert not folder.exists()
    finally:
        for one in started:
            one.kill()
            one.wait()


def test_a_number_that_was_given_again_is_let_be() -> None:
    number = os.getpid()
    assert reaper.descendants({number: "another time"}) == {}
    assert number in reaper.descendants({number: reaper.processes()[number][1]})
