"""The run directory: atomic files, and the ledger that says which of them count.

The commit protocol: write to a temporary file in the run's scratch folder, fsync, link to the final name, fsync the
directory (and the one above, where the directory is new); then the same for the unit's ledger entry. A file is complete
or absent, and readers follow the ledger, so `kill -9` anywhere loses at most the units in flight. On an object store
one PUT takes the place of the link.
One driver at a time works on a run; on a local disk a lock sees to it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.credentials import redacted
from pipeline.disk import Disk
from pipeline.remote import line_faults, open_url, storage_faults

TEMPORARY = ".tmp-"
"""Prefix of files that are being written; whatever bears it after a crash may be deleted."""
SCRATCH = ".tmp-files"
"""The folder of a local run in which they lie: one place to sweep, on the same filesystem as their final names."""
LOCK = ".lock"
"""Locked by the driver that works on a local run."""


TABLE_ROWS, PAYLOAD_ROWS = 1 << 16, 256
"""Rows of a row group: of plain columns, and beside compressed media."""


class StorageError(Exception):
    """The run directory cannot be read or written; the sentence says where and what to do."""


class Unreachable(Exception):
    """The store does not answer; any call of a Store may raise it. No StorageError, which those who can do without a
    file catch: nothing is said of this file, and the next one would fare no better."""


class Busy(StorageError):
    """Another process works on this run."""


class Torn(StorageError):
    """A ledger entry that cannot be read as one: its unit counts as not done."""


class Files(Protocol):
    """The few operations a run needs of a filesystem; paths are relative, with forward slashes."""

    def read(self, path: str) -> bytes: ...
    def size(self, path: str) -> int | None: ...
    def names(self, folder: str) -> list[str]: ...
    def create(self, path: str, data: bytes) -> None: ...
    def replace(self, path: str, data: bytes) -> None: ...
    def remove(self, path: str) -> None: ...
    def prune(self, folder: str) -> None: ...


@dataclass(frozen=True)
class LocalFiles:
    """A folder on a local or network disk."""

    root: Path
    disk: Disk = field(default_factory=Disk)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def size(self, path: str) -> int | None:
        try:
            return (self.root / path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, folder: str) -> list[str]:
        return [name for name in self._listed(folder) if not name.startswith(TEMPORARY)]

    def _listed(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def create(self, path: str, data: bytes) -> None:
        """Puts the bytes there; a file that already holds other bytes, which no ledger entry vouches for, gives way."""
        final = self.root / path
        temporary = self._written(final, data)
        try:
            self._name(temporary, final, data)
        finally:
            self.disk.unlink(temporary)
        self.disk.sync_folder(final.parent)

    def _name(self, temporary: Path, final: Path, data: bytes) -> None:
        try:
            self.disk.link(temporary, final)
        except FileExistsError:
            if final.read_bytes() != data:
                self.disk.replace(temporary, final)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            self.disk.replace(temporary, final)  # a filesystem without hard links

    def replace(self, path: str, data: bytes) -> None:
        final = self.root / path
        temporary = self._written(final, data)
        try:
            self.disk.replace(temporary, final)
        except OSError:
            self.disk.unlink(temporary)
            raise
        self.disk.sync_folder(final.parent)

    def remove(self, path: str) -> None:
        self.disk.unlink(self.root / path)

    def prune(self, folder: str) -> None:
        """Removes a folder that is empty."""
        try:
            (self.root / folder).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST):
                raise

    def sweep(self) -> None:
        """Removes what a crash has left half written. Only for the one who holds the run's lock."""
        for name in self._listed(SCRATCH):
            self.remove(f"{SCRATCH}/{name}")

    def _written(self, final: Path, data: bytes) -> Path:
        """A temporary file with these bytes, on the disk and not only on its way there."""
        scratch = self.root / SCRATCH
        self._make(final.parent)
        self.disk.make(scratch)  # whether its name is there after a power cut does not matter
        temporary = scratch / f"{TEMPORARY}{secrets.token_hex(8)}"
        handle = self.disk.open(temporary)
        try:
            try:
                self.disk.write(handle, data)
                self.disk.sync(handle)
            finally:
                self.disk.close(handle)
        except BaseException:
            self.disk.unlink(temporary)
            raise
        return temporary

    def _make(self, folder: Path) -> None:
        """The folder and those it lies in; a new one's name is synced too, or a power cut would take it with it."""
        if not folder.is_dir():
            self._make(folder.parent)
            self.disk.make(folder)
            self.disk.sync_folder(folder.parent)


@dataclass(frozen=True)
class RemoteFiles:
    """A prefix on any fsspec filesystem; a PUT there is atomic, and its bytes are the same whoever wins a race."""

    url: str

    def _at(self, path: str) -> tuple[Any, str]:
        try:
            fs, root = open_url(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise StorageError(f"cannot open the run {self.url}: {error}") from error
        return fs, f"{root.rstrip('/')}/{path}"

    def read(self, path: str) -> bytes:
        fs, full = self._at(path)
        return bytes(fs.cat_file(full))

    def size(self, path: str) -> int | None:
        fs, full = self._at(path)
        try:
            return int(fs.info(full)["size"])
        except FileNotFoundError:
            return None

    def names(self, folder: str) -> list[str]:
        fs, full = self._at(folder)
        try:
            return sorted(name.rsplit("/", 1)[-1] for name in fs.ls(full.rstrip("/"), detail=False))
        except FileNotFoundError:
            return []

    def create(self, path: str, data: bytes) -> None:
        self.replace(path, data)

    def replace(self, path: str, data: bytes) -> None:
        fs, full = self._at(path)
        fs.pipe_file(full, data)

    def remove(self, path: str) -> None:
        fs, full = self._at(path)
        try:
            fs.rm_file(full)
        except FileNotFoundError:
            return

    def prune(self, folder: str) -> None:
        """Nothing: an object store has no folders."""


def open_files(root: str) -> Files:
    """The filesystem of a run: a URL with a scheme is remote, anything else a local folder."""
    if "://" in root and not root.startswith("file://"):
        return RemoteFiles(root)
    return LocalFiles(Path(root.removeprefix("file://")).absolute())


@dataclass(frozen=True)
class Output:
    """One committed file of a unit."""

    path: str
    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True)
class Failure:
    """One item that a unit could not do."""

    item: str
    stage: str
    reason: str
    message: str
    attempts: int = 1


@dataclass(frozen=True)
class Entry:
    """A finished unit: its files, its counts, its failures. No clock and no host in it: same work, same bytes."""

    step: str
    unit: str
    outputs: tuple[Output, ...] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    partial: tuple[Failure, ...] = ()
    """What items lack that are done all the same: a retry does them again, and nothing else counts them as failed."""

    def to_json(self) -> bytes:
        """Its one canonical text, with a digest over all the rest: nothing else would tell of damage to its counts."""
        plain = {
            "step": self.step,
            "unit": self.unit,
            "outputs": [vars(output) for output in self.outputs],
            "counts": dict(self.counts),
            "failures": [vars(failure) for failure in self.failures],
        }
        if self.partial:
            plain["partial"] = [vars(lack) for lack in self.partial]
        return _canonical(plain | {"digest": hashlib.sha256(_canonical(plain)).hexdigest()})

    @classmethod
    def from_json(cls, data: bytes) -> Entry:
        """The entry in these bytes. ValueError, KeyError, TypeError or AttributeError: they are not a whole entry."""
        plain = json.loads(data)
        entry = cls(
            step=plain["step"],
            unit=plain["unit"],
            outputs=tuple(Output(**output) for output in plain["outputs"]),
            counts=plain["counts"],
            failures=tuple(Failure(**failure) for failure in plain["failures"]),
            partial=tuple(Failure(**lack) for lack in plain.get("partial", ())),
        )
        if entry.to_json() != data:
            raise ValueError("the entry's digest does not fit")
        return entry


def _canonical(plain: Mapping[str, Any]) -> bytes:
    return json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"


@dataclass(frozen=True)
class Last:
    """What the attempts before left of a unit: its files, the items that failed, and the number of this attempt."""

    outputs: tuple[Output, ...] = ()
    failed: frozenset[str] | None = None
    """None when there was no attempt: everything is to be done."""
    attempt: int = 1

    def wants(self, item: str) -> bool:
        """Is this item to be done now?"""
        return self.failed is None or item in self.failed

    @property
    def suffix(self) -> str:
        """What sets the files of this attempt apart from those of the attempts before, which stay."""
        return "" if self.failed is None else f".r{self.attempt}"


@dataclass(frozen=True)
class Store:
    """One run: its files and its ledger. Cheap to pickle; every worker has its own."""

    root: str

    @property
    def files(self) -> Files:
        return open_files(self.root)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds a local run for this process, and clears what a crash has left half written.

        Raises Busy when another process holds it. A run on an object store is not locked: there two drivers write
        equal bytes under equal names.
        """
        files = self.files
        if not isinstance(files, LocalFiles):
            yield
            return
        try:
            files.root.mkdir(parents=True, exist_ok=True)
            handle = os.open(files.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise cannot_write(self.root, LOCK, error) from error
        try:
            if _take(files.disk, handle, self.root):
                files.sweep()
            yield
        finally:
            os.close(handle)

    def read(self, path: str) -> bytes:
        """The bytes of a file; FileNotFoundError when it is not there, StorageError when it cannot be read."""
        try:
            return self.files.read(path)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(path) from None
        except storage_faults() as error:
            raise cannot_read(self.root, path, error) from error

    def size(self, path: str) -> int | None:
        """The bytes that a file has, None when it is not there; StorageError when that cannot be seen."""
        try:
            return self.files.size(path)
        except storage_faults() as error:
            raise cannot_read(self.root, path, error) from error

    def names(self, folder: str) -> list[str]:
        """What lies in a folder, in order; nothing when it is not there."""
        try:
            return self.files.names(folder)
        except storage_faults() as error:
            raise cannot_read(self.root, folder, error) from error

    def remove(self, path: str) -> None:
        """Removes a file that no longer counts, if it is there."""
        try:
            self.files.remove(path)
        except storage_faults() as error:
            raise cannot_write(self.root, path, error) from error

    def prune(self, folder: str) -> None:
        """Removes a folder that nothing is left in."""
        try:
            self.files.prune(folder)
        except storage_faults() as error:
            raise cannot_write(self.root, folder, error) from error

    def put(self, path: str, data: bytes, rows: int) -> Output:
        """Commits one file of a unit; it counts once the unit's entry names it."""
        try:
            self.files.create(path, data)
        except storage_faults() as error:
            raise cannot_write(self.root, path, error) from error
        return Output(path=path, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data), rows=rows)

    def put_table(self, path: str, table: pa.Table, payload: Sequence[str] = ()) -> Output:
        """Commits a table; `payload` names columns of compressed media, which are stored as they are."""
        return self.put(path, parquet_bytes(table, payload), table.num_rows)

    def put_text(self, path: str, text: str) -> None:
        """Replaces a file that is not a unit's output, such as run.toml, unless it already says so."""
        data = text.encode()
        if self.size(path) != len(data) or self.read(path) != data:
            self._replace(path, data)

    def record(self, entry: Entry) -> None:
        """Makes a unit count: its entry is written after its files."""
        self._replace(f"ledger/{entry.step}/{entry.unit}.json", entry.to_json())

    def _replace(self, path: str, data: bytes) -> None:
        try:
            self.files.replace(path, data)
        except storage_faults() as error:
            raise cannot_write(self.root, path, error) from error

    def entry(self, step: str, unit: str) -> Entry | None:
        """The unit's entry, if it is finished, can be read, and its files are there in full."""
        try:
            entry = self.recorded(step, unit)
        except Torn:
            return None
        if entry is None:
            return None
        whole = all(self.size(output.path) == output.bytes for output in entry.outputs)
        return entry if whole else None

    def recorded(self, step: str, unit: str) -> Entry | None:
        """The unit's entry whether its files are there or not, None when it has none; Torn when it is no entry."""
        path = f"ledger/{step}/{unit}.json"
        try:
            return Entry.from_json(self.read(path))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Torn(
                f"{path} of run {self.root} is torn: run the same command again to make it anew"
            ) from error

    def last(self, step: str, unit: str, retry: bool) -> Last:
        """On a retry, what the unit's entry says of the attempts before; otherwise a blank sheet."""
        entry = self.entry(step, unit) if retry else None
        if entry is None:
            return Last()
        attempts = 1 + max((one.attempts for one in (*entry.failures, *entry.partial)), default=0)
        return Last(entry.outputs, frozenset(failure.item for failure in entry.failures), attempts)

    def table(self, path: str, columns: Sequence[str] | None = None, sha256: str | None = None) -> pa.Table:
        """One Parquet file of the run, its page checksums verified, and with `sha256` all of its bytes: no checksum
        covers Parquet's own headers and footer."""
        try:
            data = self.read(path)
        except FileNotFoundError as error:
            raise StorageError(
                f"{path} of run {self.root} is missing: run the same command again to make it anew"
            ) from error
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise self._damaged(path, "its bytes are not those of the ledger")
        try:
            table = pq.read_table(
                pa.BufferReader(data), columns=columns, use_threads=False, page_checksum_verification=True
            )
            table.validate(full=True)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise self._damaged(path, str(error)) from error
        return table

    def _damaged(self, path: str, why: str) -> StorageError:
        return StorageError(
            f"{path} of run {self.root} is damaged ({why}): delete it and run the same command again"
        )

    def tables(self, outputs: Iterable[Output], schema: pa.Schema) -> pa.Table:
        """The rows of several files, in the given order."""
        parts = [self.table(output.path, sha256=output.sha256) for output in outputs]
        return pa.concat_tables([schema.empty_table(), *parts]) if parts else schema.empty_table()


def parquet_bytes(table: pa.Table, payload: Sequence[str] = ()) -> bytes:
    """The table as Parquet: zstd, page checksums, fixed settings, so that equal tables give equal bytes.

    `payload` columns hold compressed media: they are neither compressed nor gathered in a dictionary, and row groups
    are small, so that writing them takes little more memory than they do.
    """
    sink = io.BytesIO()
    plain = [name for name in table.column_names if name not in payload]
    pq.write_table(
        table,
        sink,
        compression=dict.fromkeys(payload, "none") if payload else "zstd",
        use_dictionary=plain if payload else True,
        row_group_size=PAYLOAD_ROWS if payload else TABLE_ROWS,
        write_page_checksum=True,
        store_schema=True,
    )
    return sink.getvalue()


def cannot_write(root: str, path: str, error: Exception) -> StorageError | Unreachable:
    """One sentence for a full disk, a lost permission or a lost store."""
    if isinstance(error, line_faults()):
        return _lost(f"cannot write {path} in run {root}", error)
    ways = {
        errno.ENOSPC: "the disk is full: free some space",
        errno.EDQUOT: "the disk quota is used up: free some space",
        errno.EFBIG: "the file size limit was reached: raise it",
        errno.EACCES: "no permission to write there: change it or choose another --out",
        errno.EPERM: "no permission to write there: change it or choose another --out",
        errno.EROFS: "the filesystem is read-only: choose another --out",
        errno.EEXIST: "that is a file and no folder: choose another --out",
        errno.ENOTDIR: "that is a file and no folder: choose another --out",
    }
    way = ways.get(getattr(error, "errno", None) or 0, f"{type(error).__name__}: {error}")
    return StorageError(f"cannot write {path} in run {root}: {way}, then run the same command again")


def cannot_read(root: str, path: str, error: Exception) -> StorageError | Unreachable:
    """One sentence for a lost permission or a lost store."""
    if isinstance(error, line_faults()):
        return _lost(f"cannot read {path} in run {root}", error)
    if isinstance(error, PermissionError):
        return StorageError(f"cannot read {path} in run {root}: no permission: change it and run again")
    return StorageError(f"cannot read {path} in run {root}: {type(error).__name__}: {error}")


def _lost(what: str, error: Exception) -> Unreachable:
    """One sentence for one of `remote.line_faults`."""
    said = redacted(f"{type(error).__name__}: {error}")
    return Unreachable(f"{what}: the store does not answer ({said}): run the same command again when it does")


def _take(disk: Disk, handle: int, root: str) -> bool:
    """Locks an open file without waiting. False on a filesystem without locks, which is trusted to have one driver;
    should there be another after all, its temporary files must stay."""
    try:
        disk.lock(handle)
    except BlockingIOError:
        raise Busy(f"another process works on {root}: wait for it, or stop it, and run this again") from None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise cannot_write(root, LOCK, error) from error
        return False
    return True
