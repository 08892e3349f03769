"""A checkpoint's digest, kept in the user's cache for as long as no file of it changes: 15 GB are read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.weights import default_cache

LEAST_BYTES = 64 << 20
"""Of a checkpoint whose digest is kept: a smaller one is read in a moment, and in less than a clock's tick may become
another of the same size. Ours."""


def default_folder() -> Path:
    """Where digests are kept, beside the weights."""
    return default_cache().with_name("digests")


def kept(
    files: Sequence[Path], digest: Callable[[], str], folder: Path, least_bytes: int = LEAST_BYTES
) -> str:
    """`digest()` of these files of one folder, or what it was when they were last as they are now.

    They are the same while names, sizes, inodes and both times (of the content, and of any change, which no program
    can set) are. A cache that cannot be read or written is done without. Raises what `digest` does, and OSError.
    """
    state = _state(files)
    if sum(size for _, size, *_ in state) < least_bytes:
        return digest()
    page = folder / f"{hashlib.sha256(os.fsencode(files[0].parent.resolve())).hexdigest()}.json"
    known = _read(page, state)
    if known:
        return known
    found = digest()
    if _state(files) == state:  # none changed while it was read
        with contextlib.suppress(OSError):
            _write(page, state, found)
    return found


State = list[tuple[str, int, int, int, int]]
"""Of each file its path, bytes, inode, and the times of its last changes in ns."""


def _state(files: Sequence[Path]) -> State:
    found = []
    for one in files:
        path = one.resolve()
        about = path.stat()
        found.append((str(path), about.st_size, about.st_ino, about.st_mtime_ns, about.st_ctime_ns))
    return found


def _read(page: Path, state: State) -> str:
    """The digest of files in this state; empty when that is not known."""
    try:
        said = json.loads(page.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    if not isinstance(said, dict) or said.get("files") != [list(one) for one in state]:
        return ""
    sha256 = said.get("sha256")
    return sha256 if isinstance(sha256, str) and len(sha256) == hashlib.sha256().digest_size * 2 else ""


def _write(page: Path, state: State, sha256: str) -> None:
    page.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=page.parent, delete=False) as scratch:
        json.dump({"files": state, "sha256": sha256}, scratch)
    Path(scratch.name).replace(page)
