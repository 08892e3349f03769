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
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
            for item in self._items(source):
                items.setdefault(item.path, item)
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
            if PurePosixPath(path).suffix.lower() in MANIFEST_SUFFIXES:
                yield from self._manifest(source, fs.cat_file(path), source.rsplit("/", 1)[0])
            elif glob.has_magic(path):
                for name, info in sorted(fs.glob(path, detail=True).items()):
                    yield _remote_item(fs, name, info)
            elif fs.isdir(path):
                for name, info in sorted(fs.find(path, detail=True).items()):
                    if PurePosixPath(name).suffix.lower() in MEDIA_SUFFIXES:
                        yield _remote_item(fs, name, info)
            else:
                yield _remote_item(fs, path, fs.info(path))
        except FileNotFoundError:
            yield _refusal(source, Reason.NOT_FOUND, "nothing is stored there")
        except PermissionError as error:
            raise SourceError(
                f"cannot list {source}: no permission ({error}): check the credentials"
            ) from error
        except storage_faults() as error:
            raise SourceError(f"cannot list {source}: {type(error).__name__}: {error}") from error

    def _manifest(self, source: str, data: bytes, folder: str) -> Iterator[Item]:
        roots = [folder, *(r if is_url(r) else os.path.abspath(r) for r in self.roots)]
        for number, row in enumerate(_rows(source, data), start=1):
            here = f"{source}#{number}"
            named = row.get(self.path_column) if row is not None else None
            if not isinstance(named, str) or not named.strip() or "\0" in named:
                yield _refusal(
                    here, Reason.BAD_ROW, f"row {number} has no usable '{self.path_column}' column"
                )
                continue
            extra = {k: v for k, v in (row or {}).items() if k != self.path_column and not _missing(v)}
            path = named if is_url(named) else os.path.normpath(os.path.join(folder, named))
            if is_url(folder) and not is_url(named):
                path = f"{folder}/{named}"
            if not any(_inside(path, root) for root in roots):
                message = f"row {number} names {named!r}, outside {folder}: add its folder with --root"
                yield Item(path=here, extra=extra, refused=(Reason.OUTSIDE_ROOT, message))
            elif is_url(path):
                fs, inner = filesystem(path)
                try:
                    yield _remote_item(fs, inner, fs.info(inner), extra)
                except FileNotFoundError:
                    yield Item(path=path, extra=extra, refused=(Reason.NOT_FOUND, "nothing is stored there"))
            else:
                yield local_item(path, extra)


def is_url(path: str) -> bool:
    return "://" in path


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URL and the path on it."""
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SourceError(f"cannot open {url}: {error}") from error
    return fs, str(path)


def local_item(path: str, extra: Mapping[str, Any]) -> Item:
    """A local file as an item; what is no regular file is refused here, before anything opens it."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return Item(path, extra=extra, refused=(Reason.NOT_FOUND, "no such file"))
    except OSError as error:
        return Item(path, extra=extra, refused=(Reason.UNREADABLE, str(error.strerror)))
    if not stat.S_ISREG(status.st_mode):
        return Item(path, extra=extra, refused=(Reason.NOT_A_FILE, "not a regular file"))
    return Item(path, status.st_size, status.st_mtime_ns, extra)


def _folder(path: Path) -> Iterator[Item]:
    def refuse(error: OSError) -> None:
        refused.append(_refusal(str(error.filename), Reason.UNREADABLE, f"cannot list it: {error.strerror}"))

    refused: list[Item] = []
    for folder, _, names in os.walk(path, onerror=refuse):
        for name in names:
            if PurePosixPath(name).suffix.lower() in MEDIA_SUFFIXES:
                yield local_item(os.path.join(folder, name), {})
    yield from refused


def _missing(value: Any) -> bool:
    """Is this cell empty? A float that is not a number is how some tables say so."""
    return value is None or (isinstance(value, float) and value != value)


def _refusal(path: str, reason: Reason, message: str) -> Item:
    return Item(path=path, refused=(reason, message))


def _remote_item(fs: Any, path: str, info: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Item:
    changed = info.get("LastModified") or info.get("mtime") or 0
    stamp = int(changed.timestamp() * 1e9) if hasattr(changed, "timestamp") else int(changed)
    return Item(str(fs.unstrip_protocol(path)), int(info.get("size") or 0), stamp, extra or {})


def _inside(path: str, root: str) -> bool:
    if is_url(path) != is_url(root):
        return False
    if is_url(path):
        return path.startswith(root.rstrip("/") + "/") and ".." not in path.split("/")
    return os.path.commonpath([os.path.realpath(path), os.path.realpath(root)]) == os.path.realpath(root)


def _manifest_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read the manifest {path}: {error.strerror}") from error


def _rows(source: str, data: bytes) -> Iterator[dict[str, Any] | None]:
    """The rows of a manifest; None for one that cannot be read."""
    suffix = PurePosixPath(source).suffix.lower()
    if suffix == ".parquet":
        try:
            yield from pq.read_table(pa.BufferReader(data)).to_pylist()
        except pa.ArrowInvalid as error:
            raise SourceError(f"{source} is not a Parquet file: {error}") from error
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{source} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    if suffix == ".csv":
        for row in csv.DictReader(io.StringIO(text, newline="")):
            yield {k: v for k, v in row.items() if isinstance(k, str) and v != ""}
        return
    for line in text.splitlines():
        if line.strip():
            yield _json_row(line)


def _json_row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


class Fetcher:
    """Local copies of remote items, in a scratch folder that is kept under `limit_bytes` and removed on close."""

    def __init__(self, limit_bytes: int = 16 * 2**30) -> None:
        self._limit = limit_bytes
        self._folder: Path | None = None
        self._copies: dict[str, Path] = {}

    def local(self, path: str) -> str:
        """A local path with the item's bytes; raises MediaError when the storage has lost it."""
        if not is_url(path):
            return path
        if path not in self._copies:
            self._copies[path] = self._fetch(path)
        return str(self._copies[path])

    def _fetch(self, path: str) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="rushes-fetch-"))
        fs, inner = filesystem(path)
        target = self._folder / f"{len(self._copies)}-{os.urandom(4).hex()}"
        try:
            self._make_room(int(fs.info(inner)["size"]))
            fs.get_file(inner, str(target))
        except FileNotFoundError as error:
            raise MediaError(Reason.NOT_FOUND, f"{path} is no longer stored there") from error
        except storage_faults() as error:
            if getattr(error, "errno", None) in FULL:  # this machine's fault, not the item's
                raise StorageError(
                    f"no room for a copy of {path} in {self._folder}: free some space"
                ) from error
            raise MediaError(Reason.UNREADABLE, f"{path} could not be fetched: {error}") from error
        return target

    def _make_room(self, size: int) -> None:
        while self._copies and size + sum(c.stat().st_size for c in self._copies.values()) > self._limit:
            oldest = next(iter(self._copies))
            self._copies.pop(oldest).unlink()

    def close(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


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
