"""Scratch folders that no killed process leaves for good: each is locked by its maker, and swept once it is not."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FETCHED = "rushes-fetch-"
"""How the names of those begin that hold copies of remote sources, in the system's temporary folder."""


def hold(prefix: str, folder: Path | None = None) -> tuple[Path, int]:
    """A new folder that only this user can enter, and a lock on it, which the system lets go when this process ends,
    however it ends.

    A process's number would say less: containers that share a temporary folder have numbers of their own.
    """
    while True:
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
        with contextlib.suppress(FileNotFoundError):  # swept before it was locked
            lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            with contextlib.suppress(
                OSError
            ):  # no locks on this filesystem: then nothing is swept there either
                fcntl.flock(lock, fcntl.LOCK_EX)
            if made.is_dir():
                return made, lock
            os.close(lock)


@contextmanager
def held(prefix: str, folder: Path | None = None) -> Iterator[Path]:
    """A folder as of `hold`, removed in the end."""
    made, lock = hold(prefix, folder)
    try:
        yield made
    finally:
        release(made, lock)


def release(made: Path, lock: int) -> None:
    """Removes a folder and lets go of its lock."""
    shutil.rmtree(made, ignore_errors=True)
    os.close(lock)


def sweep(prefix: str, folder: Path | None = None) -> None:
    """Removes the folders of this prefix that no living process holds."""
    for left in sorted(Path(folder or tempfile.gettempdir()).glob(f"{prefix}*")):
        with contextlib.suppress(OSError):  # in use, another user's, or just removed
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)
