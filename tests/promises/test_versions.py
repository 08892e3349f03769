"""Old shards stay readable: a golden set of each released format; a newer major is refused in one sentence."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.frames import Decoder
from pipeline.shards import FORMAT, ShardError, open_shard, read_manifest, read_rows
from pipeline.store import LocalFiles
from pipeline.verify import Fault, verify

DATA = Path(__file__).parents[1] / "data"
RELEASED = {
    "1.0": (
        "a8fc618051fcdd18f252adec7e3ee210a5ba350e60ed5d216e5eaefaba9ec99c",
        "9265f5f9f2c4e7cea0d2e1e9486b93939a5268ed1c88347ac19b24383f8fc78f",
    ),
    "1.1": (
        "ab6d32089a31336f5288bdf407c87512cd154c5235f99c56c525f41b85c8b34b",
        "ff0fd5819ecb9a05dca1ce48ea9ebac8d467e5e4bfefd929ee10ea189a6c042a",
    ),
}
"""The sha256 of the golden shard and manifest of every released format: written once, and never again."""
GOLDENS = pytest.mark.parametrize("version", RELEASED)


def placed(version: str, root: Path) -> Path:
    """A pool's folder with the golden shard and manifest of a format."""
    manifest = (DATA / f"golden-{version}.manifest.json").read_bytes()
    (path,) = (file.path for file in read_manifest(manifest).files)
    (root / path).parent.mkdir(parents=True)
    (root / path).write_bytes((DATA / f"golden-{version}.parquet").read_bytes())
    (root / "manifest.json").write_bytes(manifest)
    return root


def signed(plain: dict[str, Any]) -> bytes:
    """A manifest's text with a digest that fits it, made as docs/shards.md says and not by the code under test."""

    def text(of: dict[str, Any]) -> bytes:
        return json.dumps(of, sort_keys=True, indent=1, ensure_ascii=False).encode() + b"\n"

    body = {name: value for name, value in plain.items() if name != "digest"}
    return text(body | {"digest": hashlib.sha256(text(body)).hexdigest()})


def test_every_released_format_has_its_golden_set() -> None:
    assert FORMAT in RELEASED
    assert {
        path.name.removeprefix("golden-").removesuffix(".parquet") for path in DATA.glob("golden-*.parquet")
    } == set(RELEASED)


@GOLDENS
def test_a_golden_set_is_read_and_proved_whole(
    version: str, tmp_path: Path, record: Callable[[str, str], None]
) -> None:
    names = (f"golden-{version}.parquet", f"golden-{version}.manifest.json")
    assert (
        tuple(hashlib.sha256((DATA / name).read_bytes()).hexdigest() for name in names) == RELEASED[version]
    )
    root = placed(version, tmp_path)
    with Decoder() as decoder:
        assert verify(LocalFiles(root), "", decoder=decoder, deep=True) == []
    manifest = read_manifest((root / "manifest.json").read_bytes())
    assert (manifest.pool, manifest.totals["rows"]) == ("256p", 2)
    rows = list(read_rows(open_shard(root / manifest.files[0].path)))
    assert [row["clip_id"] for row in rows] == ["00000000000000000001", "00000000000000000002"]
    record("old shards", f"format {version} read and proved whole")


@pytest.mark.parametrize("version", [FORMAT])  # a newer minor has every column of this one
def test_of_a_newer_minor_what_is_known_is_read(version: str, tmp_path: Path) -> None:
    """It may have more columns in its shards, and more keys anywhere in its manifest."""
    root = placed(version, tmp_path)
    plain = json.loads((root / "manifest.json").read_bytes())
    path = root / plain["files"][0]["path"]
    table = pq.read_table(path)
    metadata = table.schema.metadata | {b"rushes.format": b"1.9"}
    newer = table.append_column("invented", pa.array([1, 2])).replace_schema_metadata(metadata)
    pq.write_table(newer, path, write_page_checksum=True)
    data = path.read_bytes()
    plain["format"] = "1.9"
    plain["invented"] = {"anything": [1.5]}
    plain["files"][0] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "invented": None}
    for totals in (plain["counts"], *plain["buckets"].values()):
        totals |= {"bytes": len(data), "seconds": 1.4}
    (root / "manifest.json").write_bytes(signed(plain))
    assert verify(LocalFiles(root), "") == []
    assert [row["clip_id"] for row in read_rows(open_shard(path), ["clip_id"])] == table[
        "clip_id"
    ].to_pylist()
    path.write_bytes(data[:-1])
    assert [problem.fault for problem in verify(LocalFiles(root), "")] == [Fault.DIGEST]


@GOLDENS
@pytest.mark.parametrize("newer", ["2.0", "10.0", "0.9", "", "two", "1"])
def test_another_major_is_refused_in_one_sentence(version: str, newer: str, tmp_path: Path) -> None:
    root = placed(version, tmp_path)
    plain = json.loads((root / "manifest.json").read_bytes())
    sentence = rf"^these shards have format '{newer}', this version reads 1\.x: get a newer rushes$"
    with pytest.raises(ShardError, match=sentence):
        read_manifest(signed(plain | {"format": newer}))
    table = pq.read_table(root / plain["files"][0]["path"])
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"rushes.format": newer}), sink)
    with pytest.raises(ShardError, match=sentence):
        open_shard(pa.BufferReader(sink.getvalue()))
    (root / "manifest.json").write_bytes(signed(plain | {"format": newer}))
    (problem,) = verify(LocalFiles(root), "")
    assert (problem.fault, problem.message) == (Fault.MANIFEST, sentence.strip("^$").replace("\\", ""))


@GOLDENS
def test_a_manifest_that_contradicts_itself_is_refused(version: str, tmp_path: Path) -> None:
    """Each with a digest that fits: what a program that writes manifests by itself may get wrong."""
    plain = json.loads((placed(version, tmp_path) / "manifest.json").read_bytes())
    bucket = plain["files"][0]["bucket"]
    for changes in (
        {"counts": plain["counts"] | {"rows": 3}},
        {"counts": {}},
        {"buckets": {}},
        {"buckets": plain["buckets"] | {"t001-ar1x1": {"files": 0, "rows": 0, "bytes": 0}}},
        {"buckets": {bucket: plain["buckets"][bucket] | {"files": 2}}},
        {"files": [plain["files"][0] | {"bucket": "t001-ar1x1"}]},
        {"files": []},
    ):
        with pytest.raises(ShardError, match="contradicts itself"):
            read_manifest(signed(plain | changes))
    with pytest.raises(ShardError, match="damaged or was changed by hand"):
        read_manifest(json.dumps(json.loads(signed(plain))).encode())
    for lacking in ("counts", "buckets", "format", "pool"):
        with pytest.raises(ShardError, match="cannot be read"):
            read_manifest(signed({name: value for name, value in plain.items() if name != lacking}))
