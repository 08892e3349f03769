"""A Ray of this machine's own has a folder that is one user's, and leaves nothing behind however its command ends."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline import reaper
from pipeline.cluster import FOLDER, SOCKET_BYTES, ClusterError, private_folder, room

STARTING = "from pipeline.cluster import connect; connect(None, 1); import time; time.sleep(60)"


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder; pytest's own names are too long for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


@pytest.mark.parametrize(
    ("gpus", "cpus"), [(0, 2), (1, 8), (2, 16), (0.5, 4), (4, 32), (16, 1)], ids=lambda value: f"{value}"
)
def test_a_worker_asks_for_no_more_cpus_than_any_node_has_for_it(gpus: float, cpus: int) -> None:
    nodes = [{"CPU": 32.0, "GPU": 4.0}, {"CPU": 64.0, "GPU": 8.0}, {"CPU": 2.0}, {"memory": 1.0}]
    assert room(gpus, nodes) == cpus


def test_the_folder_is_this_users_alone(place: Path) -> None:
    made = private_folder([str(place)], 0)
    assert (made.parent, stat.S_IMODE(made.stat().st_mode)) == (place, 0o700)


def test_a_place_whose_name_is_too_long_for_sockets_is_passed_over(tmp_path: Path) -> None:
    long = tmp_path / ("x" * SOCKET_BYTES)
    long.mkdir()
    made = private_folder([str(long), "/tmp"], 0)
    made.rmdir()
    assert made.parent == Path("/tmp")
    longest = "/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
    assert len(f"{made}{longest}") <= SOCKET_BYTES


@pytest.mark.parametrize(
    ("free_bytes", "said"), [(1 << 62, "MiB are free in"), (0, "No such file or directory")]
)
def test_a_place_without_room_is_one_sentence(place: Path, free_bytes: int, said: str) -> None:
    with pytest.raises(ClusterError, match=said) as raised:
        private_folder([str(place if free_bytes else place / "n")], free_bytes)
    assert str(raised.value).startswith("cannot start a Ray of this machine's own: ")
    assert "TMPDIR" in str(raised.value)
    assert "token" not in str(raised.value)
    assert list(place.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("seen", ["token", "r/session_*", "r/session_*/sockets/*"])
def test_a_command_killed_while_ray_starts_leaves_nothing(place: Path, seen: str) -> None:
    """At three moments of the start, all before Ray's processes are known by number."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    starting = subprocess.Popen([sys.executable, "-c", STARTING], env={**environment, "TMPDIR": str(place)})
    await_true(lambda: list(place.glob(f"{FOLDER}*/{seen}")), 60)
    starting.kill()
    starting.wait()
    await_true(lambda: not list(place.iterdir()), 20)
    await_true(lambda: not [number for number in reaper.processes() if str(place) in arguments(number)], 20)


def await_true(seen: Callable[[], object], most_s: float) -> None:
    deadline = time.monotonic() + most_s
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def arguments(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_text(errors="replace")
    except OSError:  # it has just ended
        return ""
