"""The proof that a pool's shard set is whole: every fault is found and named by file and clip."""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.buckets import GRID_PX, LEAST_PX, Buckets
from pipeline.encode import MP4, PNG
from pipeline.reasons import MediaError, Reason
from pipeline.shards import (
    MANIFEST,
    SCHEMA,
    Manifest,
    ShardError,
    ShardFile,
    columns_of,
    open_shard,
    read_manifest,
    read_rows,
)
from pipeline.store import StorageError

if TYPE_CHECKING:
    from pipeline.frames import Decoder


NEEDED = tuple(field.name for field in SCHEMA if not field.nullable)
"""Columns of which every clip has a value."""
STARVED = (Reason.DECODER_TIMEOUT, Reason.DECODER_MEMORY)
"""What comes of a machine that has no time or no memory left, the clip's bytes being those that were written."""
AGAIN = "run the same command again when this machine has room and time"
JSON_COLUMNS = ("caption", "provenance", "extra")


class Fault(StrEnum):
    """What can be wrong with a shard set; the value is what reports show."""

    MANIFEST = "manifest"  # missing, damaged or of an unknown format: nothing else can be trusted
    MISSING = "missing"  # listed, not there
    EXTRA = "extra"  # there, not listed
    DIGEST = "digest"  # other bytes than the manifest's
    UNREADABLE = "unreadable"  # not Parquet, a page's checksum does not fit, or an unknown format
    ROWS = "rows"  # another number of rows, columns or order than stated; a missing value, or text that is not JSON
    DUPLICATE = "duplicate"  # a clip that is there twice
    BUCKET = "bucket"  # a clip in a bucket that is not its own, or of another shape than its bucket
    MEDIA = "media"  # a clip's bytes do not fit its digest, or its media is not what the row says
    GATE = "gate"  # people's review failed the pool, and nobody asked for its shards all the same


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a shard set."""

    fault: Fault
    path: str
    message: str
    clip_id: str | None = None

    def __str__(self) -> str:
        clip = f", clip {self.clip_id}" if self.clip_id else ""
        return f"{self.fault}: {self.path}{clip}: {self.message}"


class Files(Protocol):
    """What verification needs of a filesystem, as pipeline.store.Store has it.

    `read` raises OSError or StorageError for the fault of one file, anything else for the store's own.
    """

    def read(self, path: str) -> bytes: ...
    def names(self, folder: str) -> list[str]: ...


def verify(
    files: Files, folder: str, *, digests: bool = True, decoder: Decoder | None = None, deep: bool = False
) -> list[Problem]:
    """Everything that is wrong with the shard set in `folder`; an empty list proves it whole.

    With `digests` every byte is checked against the manifest. Without, damage is found by the checksums of Parquet's
    pages and of the clips alone, which do not cover Parquet's own headers and footer. With a `decoder` every clip's
    header is read, and with `deep` all of its frames are decoded. One file is in memory at a time.

    Raises StorageError when this machine has no room or no time to look at a clip, which says nothing of the clip.
    """
    try:
        manifest = read_manifest(files.read(posixpath.join(folder, MANIFEST)))
    except (OSError, StorageError, ShardError) as error:
        sentence = str(error) if not isinstance(error, OSError) else f"cannot be read: {error}"
        return [Problem(Fault.MANIFEST, MANIFEST, sentence)]
    proof = _Proof(manifest, digests, decoder, deep)
    problems = [
        Problem(Fault.GATE, MANIFEST, f"the {gate} gate failed, and nobody waived it")
        for gate in manifest.refused
    ]
    problems += _listing(files, folder, manifest)
    absent = {problem.path for problem in problems if problem.fault is Fault.MISSING}
    for file in manifest.files:
        if file.path in absent:
            continue
        try:
            data = files.read(posixpath.join(folder, file.path))
        except (OSError, StorageError) as error:
            problems.append(Problem(Fault.UNREADABLE, file.path, f"cannot be read: {error}"))
            continue
        problems += proof.file(file, data)
    return problems + proof.duplicates()


def _listing(files: Files, folder: str, manifest: Manifest) -> Iterator[Problem]:
    listed: dict[str, set[str]] = {}
    for file in manifest.files:
        listed.setdefault(file.bucket, set()).add(file.path)
    for name in _names(files, folder):
        if name != MANIFEST and name not in listed:
            yield Problem(Fault.EXTRA, name, "the manifest does not list it")
    for bucket, paths in sorted(listed.items()):
        found = {f"{bucket}/{name}" for name in _names(files, posixpath.join(folder, bucket))}
        yield from (Problem(Fault.MISSING, path, "it is not there") for path in sorted(paths - found))
        yield from (
            Problem(Fault.EXTRA, path, "the manifest does not list it") for path in sorted(found - paths)
        )


def _names(files: Files, folder: str) -> list[str]:
    """The names in a folder; none when it is no folder, so that its files count as missing."""
    try:
        return files.names(folder)
    except OSError:
        return []


class _Proof:
    """What is known of a pool after the files so far."""

    def __init__(self, manifest: Manifest, digests: bool, decoder: Decoder | None, deep: bool) -> None:
        self._manifest = manifest
        self._digests = digests
        self._decoder = decoder
        self._deep = deep
        self._shapes: dict[str, tuple[int, int, int]] = {}
        self._clips: list[tuple[str, pa.Array]] = []

    def file(self, file: ShardFile, data: bytes) -> list[Problem]:
        """What is wrong with one file by itself, and with its clips."""
        if self._digests and len(data) != file.bytes:
            sentence = f"it has {len(data)} bytes, the manifest says {file.bytes}"
            return [Problem(Fault.DIGEST, file.path, sentence)]
        if self._digests and hashlib.sha256(data).hexdigest() != file.sha256:
            return [Problem(Fault.DIGEST, file.path, "its bytes are not those of the manifest")]
        try:
            return list(self._inside(file, open_shard(pa.BufferReader(data))))
        except ShardError as error:
            return [Problem(Fault.UNREADABLE, file.path, str(error))]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            return [Problem(Fault.UNREADABLE, file.path, f"damaged: {error}")]

    def _inside(self, file: ShardFile, shard: pq.ParquetFile) -> Iterator[Problem]:
        missing = [field.name for field in columns_of(shard) if not _has(shard.schema_arrow, field)]
        if missing:
            yield Problem(Fault.ROWS, file.path, f"it lacks the columns {', '.join(missing)}")
            return
        count = 0
        ids: list[str] = []
        problems: list[Problem] = []
        for row in _rows(shard):
            count += 1
            ids += [row["clip_id"]] if row["clip_id"] is not None else []
            absent = [name for name in NEEDED if row[name] is None]
            found = [(Fault.ROWS, f"it has no {', '.join(absent)}")] if absent else self._row(file, row)
            problems += [Problem(fault, file.path, sentence, row["clip_id"]) for fault, sentence in found]
        if count != file.rows:
            yield Problem(Fault.ROWS, file.path, f"it has {count} rows, the manifest says {file.rows}")
        if ids != sorted(ids):
            yield Problem(Fault.ROWS, file.path, "its rows are not sorted by clip_id")
        self._clips.append((file.path, pa.array(ids, pa.string())))
        yield from problems

    def _row(self, file: ShardFile, row: Mapping[str, Any]) -> Iterator[tuple[Fault, str]]:
        if (row["bucket"], row["pool"]) != (file.bucket, self._manifest.pool):
            yield (
                Fault.BUCKET,
                f"it belongs to bucket {row['bucket']} of pool {row['pool']}, not to this folder",
            )
        shape = (row["frames"], row["width"], row["height"])
        usual = self._shapes.setdefault(file.bucket, shape)
        if shape != usual:
            yield Fault.BUCKET, f"its frames, width and height are {shape}, those of its bucket {usual}"
        elif row["frames"] % 4 != 1 or not _fits(row["bucket"], *shape):
            yield Fault.BUCKET, f"frames, width and height {shape} do not fit bucket {row['bucket']}"
        for column in JSON_COLUMNS:
            if row[column] is not None and not _is_json_object(row[column]):
                yield Fault.ROWS, f"its {column} is not a JSON object"
        if hashlib.sha256(row["media"]).hexdigest() != row["media_sha256"]:
            yield Fault.MEDIA, "its bytes do not fit media_sha256"
        elif row["media_type"] != (PNG if row["frames"] == 1 else MP4):
            yield Fault.MEDIA, f"{row['frames']} frames as {row['media_type']}"
        elif self._decoder is not None:
            yield from ((Fault.MEDIA, sentence) for sentence in _media(self._decoder, row, self._deep))

    def duplicates(self) -> list[Problem]:
        """The clips that are in the pool more than once, each at its second place and later ones."""
        import pyarrow.compute as pc

        if not self._clips:
            return []
        counts = pc.value_counts(pa.concat_arrays([ids for _, ids in self._clips]))
        often = pc.filter(counts.field("values"), pc.greater(counts.field("counts"), 1))
        seen: Counter[str] = Counter()
        problems = []
        for path, ids in self._clips:
            for clip in pc.filter(ids, pc.is_in(ids, value_set=often)).to_pylist():
                if seen[clip]:
                    problems.append(Problem(Fault.DUPLICATE, path, "the clip is there twice", clip))
                seen[clip] += 1
        return problems


def _rows(shard: pq.ParquetFile) -> Iterator[dict[str, Any]]:
    """The rows in order, whatever is missing in them; of the scores only whether they are there."""
    unscored = shard.read(columns=["scores"], use_threads=False).column("scores").is_null().to_pylist()
    plain = [field.name for field in columns_of(shard) if field.name != "scores"]
    for row, missing in zip(read_rows(shard, plain), unscored, strict=True):
        yield row | {"scores": None if missing else {}}


@cache
def _fits(bucket: str, frames: int, width: int, height: int) -> bool:
    """Whether a bucket of this name has pictures of this size at some resolution."""
    named = re.fullmatch(r"t(\d+)-ar([1-9]\d*x[1-9]\d*)", bucket)
    if named is None or int(named[1]) != frames or min(width, height) < GRID_PX:
        return False
    across, down = map(int, named[2].split("x"))
    # Each side is within one step of the grid of what the resolution asks for: 4/3 lines for the side of a square.
    a_line = (width, 4 / 3 * math.sqrt(across / down)), (height, 4 / 3 * math.sqrt(down / across))
    least = max((side - GRID_PX) / length for side, length in a_line)
    most = min((side + GRID_PX) / length for side, length in a_line)
    return any(
        Buckets(resolution=f"{lines}p", aspects=(named[2],)).sizes[0][1:] == (width, height)
        for lines in range(max(LEAST_PX, math.floor(least)), math.ceil(most) + 1)
    )


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_refused), dict)
    except (ValueError, RecursionError):
        return False


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _has(schema: pa.Schema, field: pa.Field) -> bool:
    position = schema.get_field_index(field.name)
    return position >= 0 and bool(schema.field(position).type.equals(field.type))


def _media(decoder: Decoder, row: Mapping[str, Any], deep: bool) -> Iterator[str]:
    """What is wrong with one clip's media, read through the guarded decoder."""
    from pipeline.frames import VideoIndex

    try:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / ("clip.png" if row["media_type"] == PNG else "clip.mp4")
            path.write_bytes(row["media"])
            found = decoder.probe(str(path))
            sentence = _header(found, row)
            if sentence is None and deep:
                decoder.scan(str(path), VideoIndex.from_row(found), 0, row["frames"], 0)
    except MediaError as error:
        if error.reason in STARVED:
            raise StorageError(f"clip {row['clip_id']} could not be looked at ({error}): {AGAIN}") from error
        sentence = f"it cannot be decoded: {error}"
    except OSError as error:
        why = error.strerror or str(error)
        raise StorageError(f"no scratch file can be written ({why}): free some space, and {AGAIN}") from error
    if sentence is not None:
        yield sentence


def _header(found: Mapping[str, Any], row: Mapping[str, Any]) -> str | None:
    """Where the media's header and the row differ, if they do."""
    shape = (found["frame_count"], found["width"], found["height"], found["audio_codec"])
    stated = (row["frames"], row["width"], row["height"], row["audio_codec"])
    if shape != stated:
        return f"its frames, width, height and sound are {shape}, the row says {stated}"
    if row["frames"] > 1 and found["fps_num"] != row["fps"] * found["fps_den"]:
        return f"it has {found['fps_num']}/{found['fps_den']} fps, the row says {row['fps']}"
    return None
