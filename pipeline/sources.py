"""Sources to items: folders, globs, files and manifests, on local disks or any fsspec filesystem."""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import io
import json
import math
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.clip import video_id
from pipeline.credentials import WAY_OUT, carries_credentials, redacted
from pipeline.faults import in_words, is_lost, is_missing
from pipeline.patience import Patience
from pipeline.reasons import MediaError, Reason
from pipeline.remote import line_faults, open_url, storage_faults
from pipeline.scratch import FETCHED, held, hold, release, sweep
from pipeline.store import StorageError, Unreachable

VIDEO_SUFFIXES = frozenset(
    """.mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .m2v .ts .m2ts .mts .vob .flv .f4v .wmv .asf .ogv .ogg .3gp .3g2
    .mxf""".split()  # noqa: SIM905 - a list of suffixes reads better so
)
IMAGE_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"))
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES
"""What a folder is searched for; a file that is named outright is taken whatever its name."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MANIFEST_SUFFIXES = frozenset((".csv", ".jsonl", ".parquet"))
MANIFEST_BYTES = 1 << 30
"""Of a remote manifest. Ours."""
MAX_NESTING = 64
"""Levels of a manifest's JSON row; deeper ones could not be written again."""
UNDONE = 3
"""Times that a percent sign may stand for a percent sign in a URL of a manifest. Ours."""
HASHED_BYTES = 1 << 20
"""Read at once to be hashed."""
HOLES_BYTES = 1 << 30
"""A file may have as many bytes that were never written, whatever its size. Ours."""
WRITTEN_SHARE = 10
"""And with more of them, at least a tenth of it must have been written. Ours."""


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
        except PermissionError as error:
            raise SourceError(
                f"cannot list {source}: no permission ({error}): check the credentials"
            ) from error
        except storage_faults() as error:
            refused = _answer(f"cannot list {source}", error)
            if not isinstance(
                error, FileNotFoundError
            ):  # which is what HTTP calls every answer but a good one
                raise SourceError(f"cannot list {source}: {refused[1]}") from error
            yield _refusal(source, *refused)

    def _found(self, fs: Any, path: str, info: Mapping[str, Any], url: str) -> Iterator[Item]:
        """The items of a folder, a manifest or a file on a filesystem, and under which URL it was found."""
        if info.get("type") == "directory":
            for name, one in sorted(fs.find(path, detail=True).items()):
                if PurePosixPath(name).suffix.lower() in MEDIA_SUFFIXES:
                    yield _remote_item(fs, name, one)
        elif PurePosixPath(path).suffix.lower() in MANIFEST_SUFFIXES:
            yield from self._manifest(url, _stored_bytes(fs, path, url), url.rsplit("/", 1)[0])
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
        except storage_faults() as error:
            return Item(path=path, extra=extra, refused=_answer(f"cannot list {path}", error))


def _answer(deed: str, error: Exception) -> tuple[Reason, str]:
    """Why an item is refused after this error of its storage; Unreachable when none of it is the item's fault.

    `deed`: what could not be done, such as "cannot list URL".
    """
    said = redacted(in_words(error))
    if is_lost(error):
        raise Unreachable(
            f"{deed}: the store does not answer ({said}): leave it out, or run the same command again when it does"
        ) from error
    if is_missing(error):
        return Reason.NOT_FOUND, "nothing is stored there"
    return Reason.UNREADABLE, f"its storage refused it: {said}"


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


def filesystem(url: str, patience: Patience | None = None) -> tuple[Any, str]:
    """The fsspec filesystem of a URL and the path on it."""
    from pipeline.download import HTTP, http_options

    if carries_credentials(url):
        raise SourceError(f"the URL of a source {WAY_OUT}")
    try:
        http = url.partition("://")[0].lower() in HTTP
        return open_url(url, **(http_options(patience or Patience()) if http else {}))
    except (ImportError, ValueError) as error:
        raise SourceError(f"cannot open {url}: {error}") from error


def local_item(path: str, extra: Mapping[str, Any]) -> Item:
    """A local file as an item; what is no regular file is refused here, before anything opens it."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file can have this name
        return Item(path, extra=extra, refused=(Reason.NOT_FOUND, "no such file"))
    except OSError as error:
        return Item(path, extra=extra, refused=(Reason.UNREADABLE, _lost(path, error).message))
    if not stat.S_ISREG(status.st_mode):
        return Item(path, extra=extra, refused=(Reason.NOT_A_FILE, "not a regular file"))
    return Item(path, status.st_size, status.st_mtime_ns, extra)


def _folder(top: Path) -> Iterator[Item]:
    """The media under a folder. Folders behind links are looked into once, and after those that are there in person."""

    def refuse(error: OSError) -> None:
        lost = _lost(str(error.filename), error)
        refused.append(_refusal(str(error.filename), Reason.UNREADABLE, f"cannot list it: {lost.message}"))

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
        plain = redacted("_".join(name.split()))  # white space would end what is taken for a URL
        return Item(plain, extra=extra or {}, refused=(Reason.UNREADABLE, message))
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


def _stored_bytes(fs: Any, path: str, url: str) -> bytes:
    """A remote manifest, copied with bounds as a film is."""
    from pipeline.download import Watch

    with held(FETCHED) as folder:
        try:
            fs.get_file(path, str(folder / "manifest"), callback=Watch(MANIFEST_BYTES, Patience()))
        except MediaError as error:
            raise SourceError(f"cannot read the manifest {url}: {error.message}") from error
        return (folder / "manifest").read_bytes()


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
        _distinct(source, pq.read_schema(pa.BufferReader(data)).names)
        rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data)).to_pylist()
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        OverflowError,
    ) as error:  # the last two: cells out of range
        raise SourceError(f"{source} cannot be read as Parquet: {error}") from error
    return rows


def _csv_rows(source: str, text: str) -> Iterator[dict[str, Any] | None]:
    """The rows of a CSV file, None for one with more cells than columns: a comma too many has moved them all.

    SourceError at a row that has no certain end, for all that follows hangs on it, and at a repeated column.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    line = 1
    try:
        for cells in reader:
            if columns and cells:
                named = {name: cell for name, cell in zip(columns, cells, strict=False) if cell != ""}
                yield named if len(cells) <= len(columns) else None
            columns = columns or _distinct(source, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(
            f"{source} cannot be read as CSV from line {line} on ({error}): mend the quotes, or a cell that is too long"
        ) from error


def _distinct(source: str, columns: list[str]) -> list[str]:
    """The columns, once no two have one name: which of them a row means could only be guessed."""
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise SourceError(f"{source} has more than one column {twice[0]!r}: rename or remove the others")
    return columns


def _json_row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and _is_shallow(row, MAX_NESTING) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; ValueError for one that gives a name twice."""
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a name is given twice")
    return row


def _is_shallow(value: Any, levels: int) -> bool:
    """Does it have at most so many levels of lists and objects?"""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list):
        return True
    return levels > 0 and all(_is_shallow(one, levels - 1) for one in inner)


def digest_of(path: str, patience: Patience | None = None) -> tuple[str, int]:
    """The file's sha256 (hex) and size; opened so that a FIFO or a device cannot block.

    Reads as many bytes as the system says that there are: some files of the kernel's have no end. Raises MediaError
    (`truncated` for a file that is nearly all holes), Unreachable for a disk that is lost or too slow.
    """
    digest = hashlib.sha256()
    patience, began_s = patience or Patience(), time.monotonic()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb", buffering=0) as file:
            size = left = os.fstat(handle).st_size
            _refuse_holes(handle)
            while left and (block := file.read(min(left, HASHED_BYTES))):
                digest.update(block)
                left -= len(block)
                if patience.spent(size - left, time.monotonic() - began_s):
                    raise TimeoutError(errno.ETIMEDOUT, "it is read too slowly")
            return digest.hexdigest(), size - left
    except OSError as error:
        raise _lost(path, error) from error


def _refuse_holes(handle: int) -> None:
    """Raises MediaError for a file that was never written but for a few bytes, though it claims a great many.

    Blocks alone prove nothing: some filesystems compress, count late or do not count. So they only say where to look
    for the holes themselves.
    """
    status = os.fstat(handle)
    size, enough, blocks_bytes = status.st_size, status.st_size // WRITTEN_SHARE, status.st_blocks * 512
    if size - blocks_bytes > HOLES_BYTES and blocks_bytes < enough:
        written = _written(handle, size, enough)
        if written < enough:
            raise MediaError(Reason.TRUNCATED, f"only {written} of its {size} bytes were ever written")


def _written(handle: int, size: int, enough: int) -> int:
    """Bytes of a file outside its holes, counted until they are enough; all of them where nobody knows of holes."""
    written = at = 0
    try:
        while at < size and written < enough:
            start = os.lseek(handle, at, os.SEEK_DATA)
            at = os.lseek(handle, start, os.SEEK_HOLE)
            written += at - start
    except OSError as error:
        if error.errno != errno.ENXIO:  # which says that only a hole follows
            written = size
    os.lseek(handle, 0, os.SEEK_SET)
    return written


def stamp_of(path: str) -> tuple[int, int, int, int]:
    """Device, inode, size and modification time (ns) of a file: others, once it is another or has other bytes.

    Raises MediaError: not_found, not_a_file, unreadable.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise _lost(path, error) from error
    except ValueError as error:  # no file can have this name
        raise MediaError(Reason.NOT_FOUND, "no such file") from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(Reason.NOT_A_FILE, "not a regular file")
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _lost(path: str, error: OSError) -> MediaError:
    """What an error of the system says of a file; Unreachable when it speaks of the disk."""
    if is_lost(error):
        raise Unreachable(
            f"cannot read {path}: its disk does not answer ({error.strerror or error}): leave it out, or run the same "
            "command again when it does"
        ) from error
    if isinstance(error, FileNotFoundError):
        return MediaError(Reason.NOT_FOUND, "no such file")
    return MediaError(Reason.UNREADABLE, error.strerror or str(error))


class Fetcher:
    """The local files of items: local ones as they are, remote ones as copies in a scratch folder.

    The copies are kept under `limit_bytes` together, save that a file larger than this is there alone. The folder is
    removed on close; what a killed process left is removed by the next command that works.
    """

    def __init__(
        self,
        limit_bytes: int = 16 * 2**30,
        max_bytes: int = 1 << 40,
        unlisted_bytes: int = 4 * 2**30,
        patience: Patience | None = None,
    ) -> None:
        """`max_bytes`: of one file; `unlisted_bytes`: of one whose server does not say how many it has."""
        self._limit, self._max, self._unlisted = limit_bytes, max_bytes, unlisted_bytes
        self._patience = patience or Patience()
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
        """A copy of a remote file. Raises MediaError for what its server says of it, or does with it twice;
        Unreachable for a server that does not answer, StorageError for want of room."""
        if self._folder is None:
            sweep(FETCHED)
            self._folder, self._lock = hold(FETCHED)
        target = self._folder / f"{len(self._copies)}-{os.urandom(4).hex()}"
        try:
            if not self._copied(path, target) and not self._copied(path, target):
                message = (
                    f"{path} could not be fetched: its server answered twice, and fell silent or broke off"
                )
                raise MediaError(Reason.UNREADABLE, message)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return target

    def _copied(self, path: str, target: Path) -> bool:
        """One attempt; False when the server began to answer and did not come to an end."""
        from pipeline.download import Watch

        fs, inner = filesystem(path, self._patience)
        watch, listed = None, None
        try:
            listed = fs.info(inner).get("size")
            most = min(self._max, self._unlisted if listed is None else int(listed))
            self._make_room(int(listed or 0))
            self._must_fit(path, target, int(listed or 0))
            watch = Watch(most, self._patience)
            fs.get_file(inner, str(target), callback=watch)
        except storage_faults() as error:
            if (
                watch is not None
                and watch.answered
                and is_lost(error)
                and not isinstance(error, line_faults())
            ):
                return False  # the client of S3 has made its own attempts
            if getattr(error, "errno", None) not in FULL:
                reason, said = _answer(f"cannot fetch {path}", error)
                raise MediaError(reason, f"{path} could not be fetched: {said}") from error
            if listed is None:
                message = (
                    f"{path} does not say how large it is, and there is no room for it in {target.parent}"
                )
                raise MediaError(Reason.TOO_LARGE, message) from error
            raise _no_room(path, target) from error
        return True

    def _must_fit(self, path: str, target: Path, size: int) -> None:
        """MediaError for a file that its folder could never hold, StorageError for one that it cannot hold now."""
        disk = shutil.disk_usage(target.parent)
        if size > disk.total:
            message = f"{path} has {size} bytes, more than the disk of {target.parent} ({disk.total})"
            raise MediaError(Reason.TOO_LARGE, message)
        if size > disk.free:
            raise _no_room(path, target)

    def _make_room(self, size: int) -> None:
        while self._copies and size + sum(c.stat().st_size for c in self._copies.values()) > self._limit:
            oldest = next(iter(self._copies))
            self._copies.pop(oldest).unlink()

    def close(self) -> None:
        if self._folder is not None:
            release(self._folder, self._lock)
            self._folder = None
            self._copies.clear()


def _no_room(path: str, target: Path) -> StorageError:
    return StorageError(f"no room for a copy of {path} in {target.parent}: free some space")


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
