"""A review's folder, held: by all who have its verdicts open, together; or alone, by who sets it aside."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(folder: Path, alone: bool = False) -> Iterator[None]:
    """Holds a folder that is there, under whatever name, until the block ends or the process dies.

    BlockingIOError: `alone`, and somebody holds it; who wants it together with others waits for one who is alone. A
    filesystem without locks holds nothing.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, how: int) -> None:
    try:
        fcntl.flock(handle, how)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
