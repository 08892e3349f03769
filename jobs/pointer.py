"""videos.json: which of ingest's files a run stands on."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from pipeline.store import StorageError, Store

VIDEOS_FILE = "videos.json"


@dataclass(frozen=True)
class Pointer:
    """The step that probed the items, its units, and the files of the videos made of them."""

    step: str
    units: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def merged(self) -> tuple[tuple[str, str], ...]:
        """Step and unit of the ledger entries that the files belong to."""
        units = {PurePosixPath(path).stem.rsplit("-", 1)[0] for path in self.files}
        return tuple((f"videos@{self.step.partition('@')[2]}", unit) for unit in sorted(units))


def write_pointer(store: Store, step: str, units: Sequence[str], files: Sequence[str]) -> None:
    """Says what the run stands on from now on."""
    store.put_text(VIDEOS_FILE, _text(Pointer(step, tuple(units), tuple(files))))


def read_pointer(store: Store) -> Pointer:
    """What the run stands on. FileNotFoundError: nothing yet. StorageError: these are not the bytes that were written,
    as far as that can be told."""
    data = store.read(VIDEOS_FILE)
    try:
        plain = json.loads(data)
        found = Pointer(plain["step"], tuple(plain["units"]), tuple(plain["files"]))
        whole = _text(found).encode() == data and _is_plain(found)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise StorageError(
            f"{VIDEOS_FILE} of run {store.root} is damaged: delete it and run the same command again"
        )
    return found


def _is_plain(pointer: Pointer) -> bool:
    """Do the names have the form of a run's own?"""
    return (
        re.fullmatch(r"probed@[0-9a-f]+", pointer.step) is not None
        and all(re.fullmatch(r"[\w-]+", unit) for unit in pointer.units)
        and all(re.fullmatch(r"videos@[0-9a-f]+/[\w-]+\.parquet", path) for path in pointer.files)
    )


def _text(pointer: Pointer) -> str:
    return json.dumps(asdict(pointer), indent=1, sort_keys=True) + "\n"
