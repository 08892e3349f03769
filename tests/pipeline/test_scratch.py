"""Scratch folders are one user's and live as long as their makers; whatever is left is swept."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

from pipeline.scratch import hold, release, sweep

KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.scratch import hold
print(hold("x-", Path(sys.argv[1]))[0], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_only_what_nobody_holds_is_swept(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True)
    assert dead.returncode == -signal.SIGKILL
    left, unlocked, other = Path(dead.stdout.strip()), tmp_path / "x-unlocked", tmp_path / "other"
    unlocked.mkdir()
    other.mkdir()
    (left / "film.mp4").write_bytes(b"x")
    held, lock = hold("x-", tmp_path)
    sweep("x-", tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([held, other])
    assert stat.S_IMODE(held.stat().st_mode) == 0o700
    release(held, lock)
    assert list(tmp_path.iterdir()) == [other]


def test_links_and_files_are_let_be(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/film.mp4").touch()
    (tmp_path / "x-link").symlink_to(tmp_path / "there")
    (tmp_path / "x-file").touch()
    sweep("x-", tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["there", "x-file", "x-link"]
    assert (tmp_path / "there/film.mp4").exists()
