"""Training shards: Parquet files of one bucket each, and a manifest a pool.

docs/shards.md describes the format for readers that have pyarrow alone. Everything here takes and gives bytes; what
is stored where is the caller's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.encode import EncodedClip

FORMAT = "1.1"
"""Major.minor: a reader takes any minor of a major it knows; new columns raise the minor."""
MANIFEST = "manifest.json"
GROUP_BYTES = 1 << 19
"""A row group is closed at this many bytes of media. One row is read at 1.3 GiB/s from groups of one row of 400 KB,
at 0.07 from groups of 32; far smaller groups make the footer grow past 1 % of the file. Ours, measured."""
GROUP_ROWS = 64

SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("source_path", pa.string(), nullable=False),  # as listed when it was read
        pa.field("first_frame", pa.int64(), nullable=False),  # of the source frames shown, both included
        pa.field("last_frame", pa.int64(), nullable=False),
        pa.field(
            "start_s", pa.float64(), nullable=False
        ),  # what is shown of the source, from its first frame
        pa.field("end_s", pa.float64(), nullable=False),
        pa.field("media", pa.large_binary(), nullable=False),  # a complete file of media_type
        pa.field("media_type", pa.string(), nullable=False),  # video/mp4, or image/png when frames is 1
        pa.field("media_sha256", pa.string(), nullable=False),  # hex
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),  # 4k + 1
        pa.field("fps", pa.int32(), nullable=False),
        pa.field("audio_codec", pa.string()),  # null: no sound in the file
        pa.field(
            "audio_gap_s", pa.float64()
        ),  # silence put in for missing sound; null: no sound in the source
        pa.field("caption", pa.string()),  # a JSON object; null: not captioned
        pa.field("caption_engine", pa.string()),
        pa.field("concept", pa.string()),
        pa.field(
            "scores",  # every scalar measurement, sorted by name; what was not measured is absent
            pa.list_(pa.struct([pa.field("name", pa.string()), pa.field("value", pa.float64())])),
            nullable=False,
        ),
        pa.field("bucket", pa.string(), nullable=False),
        pa.field("pool", pa.string(), nullable=False),
        pa.field(
            "crop", pa.list_(pa.float64(), 4), nullable=False
        ),  # x0, y0, x1, y1: ratios of the upright source
        pa.field("provenance", pa.string(), nullable=False),  # JSON object: recipe and stages' fingerprints
        pa.field(
            "extra", pa.string(), nullable=False
        ),  # JSON object: the manifest's own columns, licence included
        pa.field("prompt_t2v", pa.string()),  # text-to-video, of the first language; null: none
        pa.field("prompt_i2v", pa.string()),  # image-to-video
        pa.field(
            "prompts",  # all of them, `dropped` being the caption's fields that a text leaves out; null: not fused
            pa.list_(
                pa.struct(
                    [
                        pa.field("kind", pa.string()),
                        pa.field("language", pa.string()),
                        pa.field("variant", pa.int32()),
                        pa.field("text", pa.string()),
                        pa.field("engine", pa.string()),
                        pa.field("dropped", pa.list_(pa.string())),
                    ]
                )
            ),
        ),
    ],
)
TEXTS = ("caption", "prompt_t2v", "prompt_i2v")
"""What a trainer conditions on, where a clip has it."""
SINCE = {"prompt_t2v": 1, "prompt_i2v": 1, "prompts": 1}
"""By column that format 1.0 did not have, the minor that brought it."""


class ShardError(Exception):
    """A shard or manifest that this version cannot read; the sentence says why."""


@dataclass(frozen=True)
class ShardRow:
    """One clip of a shard; the fields are the columns of SCHEMA, those of `clip` included."""

    clip_id: str
    video_id: str
    source_path: str
    start_s: float
    end_s: float
    clip: EncodedClip
    bucket: str
    pool: str
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    caption: str | None = None
    caption_engine: str | None = None
    concept: str | None = None
    scores: Mapping[str, float | int | bool | None] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    extra: str | None = None
    """The manifest's own columns as a JSON object, as VIDEOS has them."""
    prompt_t2v: str | None = None
    prompt_i2v: str | None = None
    prompts: Sequence[Mapping[str, Any]] | None = None
    """As SCHEMA has them."""

    def record(self) -> dict[str, Any]:
        """The row as Arrow takes it. ValueError: a score is not finite."""
        scores = {name: float(value) for name, value in sorted(self.scores.items()) if value is not None}
        for name, score in scores.items():
            if not math.isfinite(score):
                raise ValueError(f"{name} of clip {self.clip_id} is {score}")
        clip = {field.name: getattr(self.clip, field.name) for field in dataclasses.fields(self.clip)}
        clip["media"], clip["media_sha256"] = clip.pop("data"), clip.pop("sha256")
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del own["clip"]
        own["scores"] = [{"name": name, "value": score} for name, score in scores.items()]
        own["crop"] = list(self.crop)
        own["provenance"] = json.dumps(
            self.provenance, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        own["extra"] = self.extra or "{}"
        own["prompts"] = None if self.prompts is None else [dict(prompt) for prompt in self.prompts]
        return own | clip


def write_shard(rows: Iterable[ShardRow]) -> bytes:
    """The Parquet file of these clips, sorted by clip id: equal clips give equal bytes in any order.

    ValueError: no rows, two rows of one clip, or rows of several buckets, pools or shapes.
    """
    ordered = sorted(rows, key=lambda row: row.clip_id)
    if not ordered:
        raise ValueError("a shard needs at least one clip")
    for one, following in pairwise(ordered):
        if one.clip_id == following.clip_id:
            raise ValueError(f"clip {one.clip_id} is twice in one shard")
    kinds = {
        (row.bucket, row.pool, row.clip.frames, row.clip.width, row.clip.height, row.clip.media_type)
        for row in ordered
    }
    if len(kinds) > 1:
        raise ValueError(f"a shard holds one bucket of one pool and shape, not {sorted(kinds)}")
    schema = SCHEMA.with_metadata(
        {"rushes.format": FORMAT, "rushes.bucket": ordered[0].bucket, "rushes.pool": ordered[0].pool}
    )
    sink = io.BytesIO()
    with _writer(sink, schema) as writer:
        for group in _row_groups(ordered):
            writer.write_table(pa.Table.from_pylist([row.record() for row in group], schema=schema))
    return sink.getvalue()


def _writer(sink: io.BytesIO, schema: pa.Schema) -> pq.ParquetWriter:
    """Fixed settings: media as it is (it is compressed already), text as zstd, every page with its checksum."""
    text = [name for name in schema.names if name not in ("media", "scores", "crop", "prompts")]
    nested = ["scores.list.element.name", "scores.list.element.value", "crop.list.element"]
    nested += [f"prompts.list.element.{name}" for name in ("kind", "language", "variant", "text", "engine")]
    nested += ["prompts.list.element.dropped.list.element"]
    return pq.ParquetWriter(
        sink,
        schema,
        version="2.6",
        compression={"media": "none"} | dict.fromkeys([*text, *nested], "zstd"),
        use_dictionary=False,
        write_statistics=["clip_id", "video_id"],
        write_page_checksum=True,
        store_schema=True,
    )


def _row_groups(rows: Sequence[ShardRow]) -> Iterator[list[ShardRow]]:
    """Rows in order, together until they hold GROUP_BYTES of media or GROUP_ROWS rows."""
    group: list[ShardRow] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row.clip.data)
        if size >= GROUP_BYTES or len(group) == GROUP_ROWS:
            yield group
            group, size = [], 0
    if group:
        yield group


def open_shard(source: Any) -> pq.ParquetFile:
    """The shard, its pages checked as they are read. `source` is a path, an open binary file or an Arrow buffer.

    ShardError: not a shard, or of a format this version does not know. Damage shows as pyarrow's own errors.
    """
    shard = pq.ParquetFile(source, page_checksum_verification=True)
    found = (shard.schema_arrow.metadata or {}).get(b"rushes.format")
    if found is None:
        raise ShardError("this Parquet file is not a training shard: it has no rushes.format")
    check_format(found.decode(errors="replace"))
    return shard


def columns_of(shard: pq.ParquetFile) -> list[pa.Field]:
    """The columns that a shard of this one's format has, of those that this version knows."""
    minor = int(shard.schema_arrow.metadata[b"rushes.format"].partition(b".")[2])
    return [field for field in SCHEMA if SINCE.get(field.name, 0) <= minor]


def check_format(found: str) -> None:
    """Raises ShardError for a format whose major this version does not know."""
    known = FORMAT.partition(".")[0]
    if re.fullmatch(rf"{known}\.\d+", found) is None:
        raise ShardError(
            f"these shards have format {found!r}, this version reads {known}.x: get a newer rushes"
        )


def read_rows(shard: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows in order, one row group in memory at a time; `scores` as a dict."""
    for group in range(shard.num_row_groups):
        table = shard.read_row_group(group, columns=columns, use_threads=False)
        for row in table.to_pylist():
            if "scores" in row:
                row["scores"] = {score["name"]: score["value"] for score in row["scores"]}
            yield row


@dataclass(frozen=True)
class ShardFile:
    """One file of a pool as its manifest lists it."""

    path: str
    """Below the pool's folder: `t097-ar16x9/part-....parquet`; the folder is the bucket."""
    sha256: str
    bytes: int
    rows: int

    @property
    def bucket(self) -> str:
        return self.path.partition("/")[0]


@dataclass(frozen=True)
class Judged:
    """Which sample of a pool a gate's word comes from, and whether its failure was overruled."""

    plan: str
    """Digest of the sample's frozen plan."""
    attempt: int
    """Which sample of the same clips it was, from 1: of many one passes by luck."""
    waived: bool = False
    """The gate failed, and these shards were written all the same because somebody asked for it."""


@dataclass(frozen=True)
class Manifest:
    """What a pool's shard set consists of; the root of every check."""

    pool: str
    recipe: str
    """The recipe's fingerprint."""
    fingerprints: Mapping[str, str]
    """Of the stages whose columns the clips carry, by stage name."""
    files: tuple[ShardFile, ...]
    gates: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What people's review says of the pool, by gate: pass, fail, not_enough, stale (of another state of the run) or
    absent; empty in a manifest of format 1.0, which did not say."""
    nulls: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """By column of TEXTS, the rows that have none, and under `prompts` those that lack some of theirs; empty in a
    manifest of format 1.0, which did not say."""
    judged: Mapping[str, Judged] = dataclasses.field(default_factory=dict)
    """By gate, for those whose word comes from a sample."""

    @property
    def refused(self) -> list[str]:
        """The gates that failed, and whose failure nobody overruled."""
        waived = {gate for gate, one in self.judged.items() if one.waived}
        return [gate for gate, state in self.gates.items() if state == "fail" and gate not in waived]

    @property
    def totals(self) -> dict[str, int]:
        """Files, rows and bytes of the whole set."""
        return _totals(self.files)

    def to_json(self) -> bytes:
        """Its one canonical text: sorted by path, with totals and a digest over all the rest."""
        files = sorted(self.files, key=lambda file: file.path)
        plain = {
            "format": FORMAT,
            "pool": self.pool,
            "recipe": self.recipe,
            "fingerprints": dict(self.fingerprints),
            "counts": _totals(files),
            "buckets": {
                bucket: _totals([file for file in files if file.bucket == bucket])
                for bucket in sorted({file.bucket for file in files})
            },
            "files": [dataclasses.asdict(file) | {"bucket": file.bucket} for file in files],
        }
        if self.gates:
            plain["gates"] = dict(self.gates)
        if self.judged:
            plain["judged"] = {gate: dataclasses.asdict(one) for gate, one in self.judged.items()}
        if self.nulls:
            plain["nulls"] = dict(self.nulls)
        return _canonical(plain | {"digest": hashlib.sha256(_canonical(plain)).hexdigest()})


def read_manifest(data: bytes) -> Manifest:
    """The manifest in these bytes, of any minor of a known major: keys that a newer minor added are passed over.

    ShardError: damaged, changed by hand, or of an unknown format.
    """
    try:
        plain = json.loads(data)
        check_format(plain["format"])
        body = {name: value for name, value in plain.items() if name != "digest"}
        intact = data == _canonical(plain) and plain["digest"] == hashlib.sha256(_canonical(body)).hexdigest()
        files = tuple(
            ShardFile(file["path"], file["sha256"], file["bytes"], file["rows"]) for file in plain["files"]
        )
        gates = plain.get("gates", {})
        if not all(isinstance(state, str) for state in gates.values()):
            raise TypeError("a gate's state is no text")
        nulls = plain.get("nulls", {})
        if not all(type(count) is int and count >= 0 for count in nulls.values()):
            raise TypeError("a count of nulls is no number of rows")
        judged = {
            gate: Judged(str(one["plan"]), int(one["attempt"]), one["waived"] is True)
            for gate, one in plain.get("judged", {}).items()
        }
        manifest = Manifest(
            plain["pool"], plain["recipe"], plain["fingerprints"], files, gates, nulls, judged
        )
        agrees = _agrees(plain, manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ShardError(f"the manifest cannot be read: {type(error).__name__}: {error}") from error
    if not intact:
        raise ShardError("the manifest is damaged or was changed by hand: its digest does not fit")
    if not agrees:
        raise ShardError("the manifest contradicts itself: its counts are not those of its files")
    for file in manifest.files:
        if not _SHARD_PATH.fullmatch(file.path):
            raise ShardError(f"the manifest names {file.path!r}, which is not BUCKET/FILE.parquet")
    if len({file.path for file in manifest.files}) != len(manifest.files):
        raise ShardError("the manifest names a file twice")
    return manifest


_SHARD_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*/[A-Za-z0-9_][A-Za-z0-9_.=-]*\.parquet")


def _agrees(plain: Mapping[str, Any], manifest: Manifest) -> bool:
    """Whether the counts, buckets and order that a manifest states are those of the files that it lists."""
    whole = json.loads(manifest.to_json())
    stated = {"": plain["counts"]} | plain["buckets"]
    found = {"": whole["counts"]} | whole["buckets"]
    return (
        stated.keys() == found.keys()
        and all(stated[name] | totals == stated[name] for name, totals in found.items())
        and [(file["path"], file["bucket"]) for file in plain["files"]]
        == [(file["path"], file["bucket"]) for file in whole["files"]]
    )


def _totals(files: Sequence[ShardFile]) -> dict[str, int]:
    return {
        "files": len(files),
        "rows": sum(file.rows for file in files),
        "bytes": sum(file.bytes for file in files),
    }


def _canonical(plain: Mapping[str, Any]) -> bytes:
    return json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"
