"""What this machine lets a program do: the facts that the promises of docs/promises.md rest on."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SHM = Path("/dev/shm")
MOUNTS = Path("/proc/self/mountinfo")
BOUND = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
try:
    bytearray(1 << 30)
except MemoryError:
    print("bounded")
"""
"""A process that asks for more than it allows itself, and says so when that is refused."""


@dataclass(frozen=True)
class Facts:
    """What was found; every field is plain, so that tests make up machines."""

    linux: bool
    root: bool
    """Does this user pass by file permissions?"""
    networkless: bool
    """Does the decoding process get a network namespace of its own?"""
    bounded: bool
    """Does the system enforce a bound on a process's address space?"""
    native_bf16: bool
    shm_bytes: int | None
    """Free shared memory; None where the system has no /dev/shm."""
    open_files: int
    """How many files a process may have open, once it has asked for all it may."""
    folder: str
    """Where the run will be, or the nearest folder above it that is there; a URL of a store as it is."""
    filesystem: str
    """Of that folder, as the system names it: ext4, tmpfs, nfs4; empty when it does not say."""
    writable: bool
    links: bool | None
    """link(2) works there: two writers cannot both make a file. None, as of the next two: not tried."""
    locks: bool | None
    """flock(2) works there: a second driver is turned away."""
    syncs: bool | None
    """fsync(2) works there, of a folder too."""
    ray_address: str | None
    ray_token: bool
    """Will the Ray of `ray_address` be talked to with a token?"""


@dataclass(frozen=True)
class _Place:
    """What was found of the place of a run."""

    folder: str
    filesystem: str = ""
    writable: bool = False
    links: bool | None = None
    locks: bool | None = None
    syncs: bool | None = None


def look(out: str) -> Facts:
    """The facts of this machine, for a run in the folder `out` (or, where that is not there yet, in the nearest above
    it); of a URL nothing is looked at but its name."""
    from pipeline.frames import Decoder
    from pipeline.transnet import native_precision

    place = _Place(out) if "://" in out else _place(Path(out).absolute())
    with Decoder() as decoder:
        networkless = decoder.networkless
    return Facts(
        linux=sys.platform == "linux",
        root=os.geteuid() == 0,
        networkless=networkless,
        bounded=_bounded(),
        native_bf16=native_precision() == "bf16",
        shm_bytes=shutil.disk_usage(SHM).free if SHM.is_dir() else None,
        open_files=_open_files(),
        folder=place.folder,
        filesystem=place.filesystem,
        writable=place.writable,
        links=place.links,
        locks=place.locks,
        syncs=place.syncs,
        ray_address=os.environ.get("RAY_ADDRESS"),
        ray_token=os.environ.get("RAY_AUTH_MODE") == "token",
    )


def _place(folder: Path) -> _Place:
    here = next(one for one in (folder, *folder.parents) if one.is_dir())
    kind = filesystem_of(here, MOUNTS.read_text(errors="surrogateescape") if MOUNTS.exists() else "")
    try:
        return _Place(str(here), kind, True, *_tried(here))
    except OSError:  # no permission, read-only or full: trying it says more than its mode
        return _Place(str(here), kind)


def filesystem_of(folder: Path, mounts: str) -> str:
    """The type of the filesystem that holds a folder, by the lines of /proc/self/mountinfo (proc(5)); "" if unknown."""
    best, found = -1, ""
    real = os.path.realpath(folder)
    for line in mounts.splitlines():
        where, _, about = line.partition(" - ")
        fields = where.split(" ")
        if len(fields) < 5 or not about:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])  # a space is \040
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:  # of two mounts at one point the later one counts
            best, found = len(point), about.split(" ")[0]
    return found


def _tried(folder: Path) -> tuple[bool, bool, bool]:
    """Whether links, locks and syncs work in a folder, each tried on files of its own that go again."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".rushes-doctor-") as scratch:
        one = Path(scratch) / "one"
        one.touch()
        handle, above = os.open(one, os.O_RDWR), os.open(scratch, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return (
                _works(lambda: os.link(one, Path(scratch) / "two")),
                _works(lambda: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)),
                _works(lambda: os.fsync(handle)) and _works(lambda: os.fsync(above)),
            )
        finally:
            os.close(handle)
            os.close(above)


def _works(attempt: Callable[[], None]) -> bool:
    """Does the system do this? Any refusal that means something else is raised."""
    refusals = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.ENOLCK, errno.EINVAL)
    try:
        attempt()
    except OSError as error:
        if error.errno not in refusals:
            raise
        return False
    return True


def _bounded() -> bool:
    done = subprocess.run([sys.executable, "-I", "-c", BOUND], capture_output=True, text=True, check=False)
    return done.stdout.strip() == "bounded"


def _open_files() -> int:
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return sys.maxsize if most == resource.RLIM_INFINITY else most
