"""What the decoding process gives up before it touches media, and the careful opening of files."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import stat
from pathlib import Path

from pipeline.reasons import MediaError, Reason

# linux/sched.h and linux/prctl.h
CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
WRITTEN_BYTES = 64 << 20
"""The most it may write to any one file: it has nothing to write but what libraries print."""
BUFFER_BYTES = 1 << 18
"""Read from the file at once."""


def isolate(parent: int) -> bool:
    """Ties this process to its parent and takes the network away; False where the system keeps it.

    Must run while the process has one thread. The kernel kills this process when the thread that started it ends.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN_BYTES, WRITTEN_BYTES))
    return bool(libc.unshare(CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)


SHORT_BYTES = 80 << 20
"""A process that came so near to its bound may have failed for want of memory: the luma of an 8K frame of 10 bits."""


def bound_memory(extra_bytes: int) -> None:
    """Lets the address space grow by `extra_bytes` beyond what the loaded libraries take now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + extra_bytes
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def was_short_of_memory() -> bool:
    """Whether this process has been so near to its bound that what failed may have failed for that.

    Decoders that get no memory for a picture say that the data is damaged.
    """
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) * 1024 for line in lines if line.startswith("VmPeak:"))
    return most != resource.RLIM_INFINITY and peak > most - SHORT_BYTES


class Source:
    """A regular file open for reading by its descriptor, which is closed with it or when nothing holds it any more."""

    def __init__(self, handle: int, size: int) -> None:
        self._handle = handle
        self.size = size

    def fileno(self) -> int:
        return self._handle

    def read(self, count: int) -> bytes:
        return os.read(self._handle, count)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new place; negative where there is none such, as demuxers ask for when a header lies."""
        try:
            return os.lseek(self._handle, offset, whence)
        except (OSError, OverflowError):
            return -errno.EINVAL

    def tell(self) -> int:
        return os.lseek(self._handle, 0, os.SEEK_CUR)

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:
        self.close()


def open_file(path: str) -> Source:
    """The regular, non-empty file at `path`; never blocks, never follows a link at the end.

    Raises MediaError: not_found, not_a_file, unreadable, empty.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reasons = {
            errno.ENOENT: Reason.NOT_FOUND,
            errno.ENOTDIR: Reason.NOT_FOUND,
            errno.ELOOP: Reason.NOT_A_FILE,
            errno.ENXIO: Reason.NOT_A_FILE,
        }
        reason = reasons.get(error.errno or 0, Reason.UNREADABLE)
        raise MediaError(reason, error.strerror or "the file cannot be opened") from error
    except ValueError as error:
        raise MediaError(Reason.NOT_FOUND, "the path holds a null character") from error
    status = os.fstat(handle)
    source = Source(handle, status.st_size)
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(Reason.NOT_A_FILE, "not a regular file")
    if status.st_size == 0:
        raise MediaError(Reason.EMPTY, "the file has no bytes")
    return source
