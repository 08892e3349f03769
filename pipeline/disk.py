"""The calls to the system that a lock and a commit are made of, one method each."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Disk:
    """A disk as the system offers it. All that `store.LocalFiles` changes goes through here: a place to stand between
    for whoever wants to see, delay or cut off what a commit does."""

    def lock(self, handle: int) -> None:
        """Locks an open file for as long as it is open; BlockingIOError when another process holds it."""
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def make(self, folder: Path) -> None:
        """A folder, of which the parent is there; nothing when another process was faster."""
        folder.mkdir(exist_ok=True)

    def open(self, path: Path) -> int:
        """A handle to a new, empty file; FileExistsError when there is one."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def write(self, handle: int, data: bytes) -> None:
        """All of the bytes, in as many calls as it takes."""
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]

    def sync(self, handle: int) -> None:
        os.fsync(handle)

    def close(self, handle: int) -> None:
        os.close(handle)

    def link(self, path: Path, name: Path) -> None:
        """A second name for a file; FileExistsError when the name is taken."""
        os.link(path, name)

    def replace(self, path: Path, name: Path) -> None:
        """Another name for a file, whatever bore it before."""
        os.replace(path, name)

    def unlink(self, path: Path) -> None:
        """Removes a name, if it is there."""
        path.unlink(missing_ok=True)

    def sync_folder(self, folder: Path) -> None:
        """Makes the names in a folder survive a power cut."""
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
