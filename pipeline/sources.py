"""Sources to items: folders, globs, files and manifests, on local disks or any fsspec filesystem."""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import glob
import hashlib
import io
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clip import video_id
from pipeline.credentials import WAY_OUT, carries_credentials, redacted
from pipeline.reasons import MediaError, Reason
from pipeline.store import StorageError, storage_faults

VIDEO_SUFFIXES = frozenset(
    """.mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .m2v .ts .m2ts .mts .vob .flv .f4v .wmv .asf .ogv .ogg .3gp .3g2
    .mxf""".split()  # noqa: SIM905 - a list of suffixes reads better so
)
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"))
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES
"""What a folder is searched for; a file that is named outright is taken whatever its name."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MANIFEST_SUFFIXES = frozenset((".csv", ".jsonl", ".parquet"))
MAX_NESTING = 64
"""Levels of a manifest's JSON row; deeper ones could not be written again."""
UNDONE = 3
"""Times that a percent sign may stand for a percent sign in a URL of a manifest. Ours."""
HASHED_BYTES = 1 << 20
"""Read at once to be hashed."""
SCRATCH = "rushes-fetch-"
"""How the names of scratch folders begin."""


class SourceError(Exception):
    """A source as a whole cannot be listed: one sentence with the way out."""


@dataclass(frozen=True)
class Item:
    """One thing to ingest, or one that was refused while listing."""

    path: str
    bytes: int = 0
    changed: int = 0
    """The file's modification time in ns, so that a file that changed is looked at again."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    refused: tuple[Reason, str] | None = None


@dataclass(frozen=True)
class Sources:
    """Where items come from. `roots`: folders or URL prefixes that manifests may name files under, beside their own."""

    sources: tuple[str, ...]
    roots: tuple[str, ...] = ()
    path_column: str = "path"

    def list(self) -> list[Item]:
        """Every item once, in order of path (a path listed twice keeps its first manifest columns)."""
        items: dict[str, Item] = {}
        for source in self.sources:
            for item in self._items(plain_path(source)):
                shown = _as_text(item)
                items.setdefault(shown.path, shown)
        return [items[path] for path in sorted(items)]

    def _items(self, source: str) -> Iterator[Item]:
        if is_url(source):
            yield from self._remote(source)
            return
        path = Path(os.path.abspath(source))
        if path.suffix.lower() in MANIFEST_SUFFIXES and os.path.isfile(path):
            yield from self._manifest(source, _manifest_bytes(path), str(path.parent))
        elif os.path.isdir(path):
            yield from _folder(path)
        elif not os.path.exists(path) and glob.has_magic(source):
            found = sorted(glob.glob(source, recursive=True))
            if not found:
                yield _refusal(source, Reason.NOT_FOUND, "no file matches this pattern")
            for name in found:
                yield from self._items(name)
        else:
            yield local_item(str(path), {})

    def _remote(self, source: str) -> Iterator[Item]:
        fs, path = filesystem(source)
        try:
            if not glob.has_magic(path) or fs.exists(path):
                yield from self._found(fs, path, fs.info(path), source)
                return
            found = sorted(fs.glob(path, detail=True).items())
            if not found:
                yield _refusal(source, Reason.NOT_FOUND, "nothing stored matches this pattern")
            for name, info in found:
                yield from self._found(fs, name, info, str(fs.unstrip_protocol(name)))
        except FileNotFoundError:
            yield _refusal(source, Reason.NOT_FOUND, "nothing is stored there")
        except PermissionError as error:
            raise SourceError(
                f"cannot list {source}: no permission ({error}): check the credentials"
            ) from error
        except storage_faults() as error:
            raise SourceError(f"cannot list {source}: {type(error).__name__}: {error}") from error

    def _found(self, fs: Any, path: str, info: Mapping[str, Any], url: str) -> Iterator[Item]:
        """The items of a folder, a manifest or a file on a filesystem, and under which URL it was found."""
        if info.get("type") == "directory":
            for name, one in sorted(fs.find(path, detail=True).items()):
                if PurePosixPath(name).suffix.lower() in MEDIA_SUFFIXES:
                    yield _remote_item(fs, name, one)
        elif PurePosixPath(path).suffix.lower() in MANIFEST_SUFFIXES:
            yield from self._manifest(url, fs.cat_file(path), url.rsplit("/", 1)[0])
        else:
            yield _remote_item(fs, path, info)

    def _manifest(self, source: str, data: bytes, folder: str) -> Iterator[Item]:
        named_roots = (plain_path(root) for root in self.roots)
        roots = [folder, *(root if is_url(root) else os.path.abspath(root) for root in named_roots)]
        for number, row in enumerate(_rows(source, data), start=1):
            yield self._row(f"{source}#{number}", number, row, folder, roots)

    def _row(
        self, here: str, number: int, row: Mapping[str, Any] | None, folder: str, roots: Sequence[str]
    ) -> Item:
        """The item that a manifest's row names; `here` stands for it where the row names none that may be used."""
        cell = row.get(self.path_column) if row is not None else None
        if row is None or not isinstance(cell, str) or not cell.strip() or "\0" in cell or not _is_text(cell):
            return _refusal(here, Reason.BAD_ROW, f"row {number} has no usable '{self.path_column}' column")
        extra = {k: v for k, v in row.items() if k != self.path_column and not _missing(v)}
        named = plain_path(cell)
        path = named if is_url(named) else os.path.normpath(os.path.join(folder, named))
        if is_url(folder) and not is_url(named):
            path = named if os.path.isabs(named) else f"{folder}/{named}"
        if carries_credentials(path):  # before anything repeats it
            message = f"the URL of row {number} {WAY_OUT}"
            return Item(path=here, extra=extra, refused=(Reason.BAD_ROW, message))
        if not any(_inside(path, root) for root in roots):
            message = f"row {number} names {cell!r}, outside {folder}: add its folder with --root"
            return Item(path=here, extra=extra, refused=(Reason.OUTSIDE_ROOT, message))
        if not is_url(path):
            return local_item(path, extra)
        fs, inner = filesystem(path)
        try:
            return _remote_item(fs, inner, fs.info(inner), extra)
        except FileNotFoundError:
            return Item(path=path, extra=extra, refused=(Reason.NOT_FOUND, "nothing is stored there"))
        except storage_faults() as error:
            message = f"the storage failed: {type(error).__name__}: {redacted(str(error))}"
            return Item(path=path, extra=extra, refused=(Reason.UNREADABLE, message))


def is_url(path: str) -> bool:
    return "://" in path


def plain_path(path: str) -> str:
    """The local path of a file:// or local:// URL, so that no such URL goes by the checks of local paths; any
    other text as it is."""
    return path.removeprefix("file://").removeprefix("local://")


def _is_text(name: str) -> bool:
    """Can it be written as UTF-8? File names that are not UTF-8 and some JSON escapes cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _as_text(item: Item) -> Item:
    """The item, or its refusal under a name that tables can hold when its own is not UTF-8."""
    if _is_text(item.path):
        return item
    path = item.path.encode(errors="backslashreplace").decode()
    return replace(item, path=path, refused=(Reason.UNREADABLE, "its name is not UTF-8: rename it"))


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URL and the path on it."""
    import fsspec

    if carries_credentials(url):
        raise SourceError(f"{redacted(url)} {WAY_OUT}")
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SourceError(f"cannot open {url}: {error}") from error
    return fs, str(path)


def local_item(path: str, extra: Mapping[str, Any]) -> Item:
    """A local file as an item; what is no regular file is refused here, before anything opens it."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file can have this name
        return Item(path, extra=extra, refused=(Reason.NOT_FOUND, "no such file"))
    except OSError as error:
        return Item(path, extra=extra, refused=(Reason.UNREADABLE, str(error.strerror)))
    if not stat.S_ISREG(status.st_mode):
        return Item(path, extra=extra, refused=(Reason.NOT_A_FILE, "not a regular file"))
    return Item(path, status.st_size, status.st_mtime_ns, extra)


def _folder(top: Path) -> Iterator[Item]:
    """The media under a folder. Folders behind links are looked into once, and after those that are there in person."""

    def refuse(error: OSError) -> None:
        refused.append(_refusal(str(error.filename), Reason.UNREADABLE, f"cannot list it: {error.strerror}"))

    refused: list[Item] = []
    waiting, seen = [str(top)], set()
    while waiting:
        for folder, folders, names in os.walk(waiting.pop(0), onerror=refuse):
            real = os.path.realpath(folder)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()  # of two links to one folder, the same one is followed everywhere
            for name in names:
                if PurePosixPath(name).suffix.lower() in MEDIA_SUFFIXES:
                    yield local_item(os.path.join(folder, name), {})
            for link in filter(os.path.islink, [os.path.join(folder, name) for name in folders]):
                target = os.path.realpath(link)
                if target not in seen and os.path.commonpath([target, real]) == target:
                    message = "a link to a folder that holds it is not followed: name that folder as a source"
                    refused.append(_refusal(link, Reason.NOT_A_FILE, message))
                else:
                    waiting.append(link)
    yield from refused


def _missing(value: Any) -> bool:
    """Is this cell empty? A float that is not a number is how some tables say so."""
    return value is None or (isinstance(value, float) and value != value)


def _refusal(path: str, reason: Reason, message: str) -> Item:
    return Item(path=path, refused=(reason, message))


def _remote_item(fs: Any, path: str, info: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Item:
    name = str(fs.unstrip_protocol(path))
    if carries_credentials(name):
        message = "its name is that of a URL with credentials: rename it"
        return Item(redacted(name), extra=extra or {}, refused=(Reason.UNREADABLE, message))
    if info.get("type") == "directory":
        return Item(name, extra=extra or {}, refused=(Reason.NOT_A_FILE, "not a regular file"))
    changed = info.get("LastModified") or info.get("mtime") or 0
    stamp = int(changed.timestamp() * 1e9) if hasattr(changed, "timestamp") else int(changed)
    return Item(name, int(info.get("size") or 0), stamp, extra or {})


def _inside(path: str, root: str) -> bool:
    if is_url(path) != is_url(root):
        return False
    if is_url(path):
        top = root.rstrip("/") + "/"
        return path.startswith(top) and not _climbs(path.removeprefix(top))
    return os.path.commonpath([os.path.realpath(path), os.path.realpath(root)]) == os.path.realpath(root)


def _climbs(path: str) -> bool:
    """May any client or server take this rest of a URL for a way up, or for another address?

    Clients undo %2e and leave out tabs and line ends (WHATWG URL, 4.4), servers undo %2f or cut at a semicolon, Windows
    takes backslashes, and fsspec chains addresses by two colons.
    """
    plain = path
    for _ in range(UNDONE):
        plain = unquote(plain)
    parts = (part.split(";")[0].strip() for part in plain.replace("\\", "/").split("/"))
    return plain != unquote(plain) or "::" in plain or any(ord(sign) < 32 for sign in plain) or ".." in parts


def _manifest_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read the manifest {path}: {error.strerror}") from error


def _rows(source: str, data: bytes) -> Iterator[dict[str, Any] | None]:
    """The rows of a manifest; None for one that cannot be read."""
    suffix = PurePosixPath(source).suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_rows(source, data)
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{source} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    if suffix == ".csv":
        yield from _csv_rows(source, text)
        return
    for line in text.split("\n"):  # no other sign ends a line of JSON
        if line.strip():
            yield _json_row(line)


def _parquet_rows(source: str, data: bytes) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        OverflowError,
    ) as error:  # the last two: cells out of range
        raise SourceError(f"{source} cannot be read as Parquet: {error}") from error
    return rows


def _csv_rows(source: str, text: str) -> Iterator[dict[str, Any]]:
    """The rows of a CSV file; SourceError at one that has no certain end, for all that follows hangs on it."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    line = 1
    try:
        for cells in reader:
            if columns and cells:
                yield {name: cell for name, cell in zip(columns, cells, strict=False) if cell != ""}
            columns = columns or cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(
            f"{source} cannot be read as CSV from line {line} on ({error}): mend the quotes, or a cell that is too long"
        ) from error


def _json_row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and _is_shallow(row, MAX_NESTING) else None


def _is_shallow(value: Any, levels: int) -> bool:
    """Does it have at most so many levels of lists and objects?"""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return True
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inner)


def digest_of(path: str) -> tuple[str, int]:
    """The file's sha256 (hex) and size; opened so that a FIFO or a device cannot block.

    Reads as many bytes as the system says that there are: some files of the kernel's have no end.
    """
    digest = hashlib.sha256()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb", buffering=0) as file:
            size = left = os.fstat(handle).st_size
            while left and (block := file.read(min(left, HASHED_BYTES))):
                digest.update(block)
                left -= len(block)
            return digest.hexdigest(), size - left
    except OSError as error:
        raise _lost(error) from error


def stamp_of(path: str) -> tuple[int, int, int, int]:
    """Device, inode, size and modification time (ns) of a file: others, once it is another or has other bytes.

    Raises MediaError: not_found, not_a_file, unreadable.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise _lost(error) from error
    except ValueError as error:  # no file can have this name
        raise MediaError(Reason.NOT_FOUND, "no such file") from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(Reason.NOT_A_FILE, "not a regular file")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _lost(error: OSError) -> MediaError:
    if isinstance(error, FileNotFoundError):
        return MediaError(Reason.NOT_FOUND, "no such file")
    return MediaError(Reason.UNREADABLE, error.strerror or str(error))


class Fetcher:
    """The local files of items: local ones as they are, remote ones as copies in a scratch folder.

    The copies are kept under `limit_bytes` together, save that a file larger than this is there alone. The folder is
    removed on close; what a killed process left is removed by the next Fetcher that needs a folder.
    """

    def __init__(self, limit_bytes: int = 16 * 2**30) -> None:
        self._limit = limit_bytes
        self._folder: Path | None = None
        self._lock = -1
        self._copies: dict[str, Path] = {}
        self._digests: dict[tuple[str, int, int, int, int], str] = {}
        """sha256 by path, device, inode, size and modification time (ns): each file is read once."""

    def source(self, video: Mapping[str, Any]) -> str:
        """A local path with the bytes that a VIDEOS row was made from; raises MediaError when it has others."""
        path = self.local(video["path"])
        if video_id(self._digest(path)) != video["video_id"]:
            raise MediaError(
                Reason.CHANGED, "the file is no longer the one that was ingested: run `rushes ingest` again"
            )
        return path

    def _digest(self, path: str) -> str:
        seen = (path, *stamp_of(path))
        if seen not in self._digests:
            self._digests[seen] = digest_of(path)[0]
        return self._digests[seen]

    def local(self, path: str) -> str:
        """A local path with the item's bytes; raises MediaError when the storage has lost it."""
        if not is_url(path):
            return path
        if path not in self._copies:
            self._copies[path] = self._fetch(path)
        return str(self._copies[path])

    def _fetch(self, path: str) -> Path:
        if self._folder is None:
            _sweep()
            self._folder, self._lock = _scratch()
        fs, inner = filesystem(path)
        target = self._folder / f"{len(self._copies)}-{os.urandom(4).hex()}"
        try:
            self._make_room(int(fs.info(inner).get("size") or 0))
            fs.get_file(inner, str(target))
        except FileNotFoundError as error:
            raise MediaError(Reason.NOT_FOUND, f"{path} is no longer stored there") from error
        except storage_faults() as error:
            if getattr(error, "errno", None) in FULL:  # this machine's fault, not the item's
                raise StorageError(
                    f"no room for a copy of {path} in {self._folder}: free some space"
                ) from error
            message = f"{path} could not be fetched: {redacted(str(error))}"
            raise MediaError(Reason.UNREADABLE, message) from error
        return target

    def _make_room(self, size: int) -> None:
        while self._copies and size + sum(c.stat().st_size for c in self._copies.values()) > self._limit:
            oldest = next(iter(self._copies))
            self._copies.pop(oldest).unlink()

    def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._folder = None
            self._copies.clear()


def _scratch() -> tuple[Path, int]:
    """A scratch folder and a lock on it, which the system lets go when this process ends, however it ends.

    A process's number would say less: containers that share a temporary folder have numbers of their own.
    """
    made = Path(tempfile.mkdtemp(prefix="rushes-new-"))
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return made.rename(made.with_name(made.name.replace("rushes-new-", SCRATCH, 1))), lock


def _sweep() -> None:
    """Removes the scratch folders that no living process holds."""
    for left in sorted(Path(tempfile.gettempdir()).glob(f"{SCRATCH}*")):
        with contextlib.suppress(OSError):  # in use, another user's, or just removed
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def partition(
    names: Sequence[str], most: int, weights: Sequence[float] = (), heaviest: float = math.inf
) -> list[slice]:
    """Cuts an ordered list into runs of at most `most` names and, by `weights`, of `heaviest` together (a heavier
    name runs alone). The borders depend on names and weights, not on positions: one name more or less changes the
    run that it falls into, and those after it at most to the next name that is a border by its hash (content-defined
    chunking)."""
    slices, start, load = [], 0, 0.0
    for position, name in enumerate(names):
        weight = weights[position] if weights else 0.0
        if position > start and load + weight > heaviest:
            slices.append(slice(start, position))
            start, load = position, 0.0
        load += weight
        border = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % max(1, most // 2) == 0
        if border or position + 1 - start == most:
            slices.append(slice(start, position + 1))
            start, load = position + 1, 0.0
    if start < len(names):
        slices.append(slice(start, len(names)))
    return slices
