"""No decision hangs on the time of day: a clock that jumps by a day, and files of any date, change nothing."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Digests = Callable[[Path], dict[str, str]]
Record = Callable[[str, str], None]
DAY_S = 86_400
JUMPING = f"""
import random, time

def jumping(clock, a_second):
    dice = random.Random(clock())
    return lambda: clock() + dice.choice((-1, 0, 1)) * {DAY_S} * a_second

time.time = jumping(time.time, 1)
time.time_ns = jumping(time.time_ns, 10**9)
"""
"""What an interpreter loads first when it is on its path as sitecustomize.py: the clock of a machine that is set again
and again, by a day forwards or backwards."""


def jumping_clock(folder: Path) -> dict[str, str]:
    """The environment of processes whose clock jumps; those that they start inherit it."""
    (folder / "sitecustomize.py").write_text(JUMPING)
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[2])])}


def redate(out: Path, dice: random.Random) -> int:
    """Dates every file and folder of a run a day back or forward, or not; how many there are."""
    found = sorted(out.rglob("*"))
    for path in found:
        moment = time.time() + dice.choice((-DAY_S, 0, DAY_S))
        os.utime(path, (moment, moment))
    return len(found)


def days_off(out: Path) -> set[int]:
    """By how many days the notes of a run's timings are off; their names say when they were made."""
    return {
        round((int(path.name.split("-")[0]) / 1e9 - time.time()) / DAY_S)
        for path in (out / "timings").iterdir()
    }


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests, record: Record
) -> None:
    """A run from its beginning, and one that goes on from files of every date."""
    from jobs.config import dump

    small, reference = whole
    wanted = digests_of(reference)
    (tmp_path / "s.toml").write_text(dump(small.config()))
    begun, fresh = tmp_path / "begun", tmp_path / "fresh"
    shutil.copytree(reference, begun)
    shutil.rmtree(begun / "timings")
    for folder in ("shards", "annotations", "ledger/annotations"):
        shutil.rmtree(begun / folder)
    dated = redate(begun, random.Random(17))
    for out in (begun, fresh):
        command = [sys.executable, "-m", "jobs.cli", "run", "--config", str(tmp_path / "s.toml")]
        done = subprocess.run(
            [*command, "--out", str(out), "--workers", "0"],
            env=jumping_clock(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert digests_of(out) == wanted
    assert len(days_off(fresh)) >= 2, "the clock did not jump"
    record("clock that jumps", f"2 runs over {dated} files dated a day off: 0 different")
