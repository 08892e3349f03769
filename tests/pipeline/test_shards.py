"""Shards hold what was put in, in the same bytes every time."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.encode import EncodedClip
from pipeline.shards import (
    FORMAT,
    GROUP_BYTES,
    GROUP_ROWS,
    SCHEMA,
    SINCE,
    Judged,
    Manifest,
    ShardError,
    ShardFile,
    ShardRow,
    check_format,
    columns_of,
    open_shard,
    read_manifest,
    read_rows,
    write_shard,
)

GOLDEN = Path(__file__).parent.parent / "data" / "golden-1.0.parquet"
BUCKET = "t017-ar16x9"


def clip(number: int, size: int = 3000, **changes: Any) -> EncodedClip:
    data = np.random.default_rng(number).bytes(size)
    plain = EncodedClip(
        data=data,
        media_type="video/mp4",
        sha256=hashlib.sha256(data).hexdigest(),
        width=448,
        height=256,
        frames=17,
        fps=24,
        audio_codec="aac",
        audio_gap_s=0.0,
        first_frame=number,
        last_frame=number + 16,
    )
    return dataclasses.replace(plain, **changes)


def row(number: int, media: EncodedClip | None = None, **changes: Any) -> ShardRow:
    plain = ShardRow(
        clip_id=f"{number:020x}",
        video_id="v" * 20,
        source_path="films/été.mkv",
        start_s=number / 24,
        end_s=(number + 17) / 24,
        clip=media or clip(number),
        bucket=BUCKET,
        pool="256p",
        crop=(0.0, 0.125, 1.0, 0.875),
        caption='{"subjects":[],"shot_type":"long_shot"}',
        caption_engine="rushes-embedded/1",
        concept="Human > Woman",
        scores={"motion_score": 0.25, "black_ratio": 0, "face_count": 2, "unknown": None},
        provenance={"recipe": "1a2b3c4d", "stages": {"motion": "00ff00ff"}},
        extra='{"licence": "CC0"}',
    )
    return dataclasses.replace(plain, **changes)


# writing and reading


def test_a_shard_gives_back_what_was_put_in() -> None:
    rows = [row(number) for number in range(5)]
    read = list(read_rows(open_shard(pa.BufferReader(write_shard(rows)))))
    assert [found["clip_id"] for found in read] == [given.clip_id for given in rows]
    first = read[0]
    assert first["media"] == rows[0].clip.data
    assert first["media_sha256"] == rows[0].clip.sha256
    assert first["scores"] == {"black_ratio": 0.0, "face_count": 2.0, "motion_score": 0.25}
    assert first["crop"] == [0.0, 0.125, 1.0, 0.875]
    assert json.loads(first["provenance"]) == {"recipe": "1a2b3c4d", "stages": {"motion": "00ff00ff"}}
    assert (first["source_path"], first["extra"]) == ("films/été.mkv", '{"licence": "CC0"}')
    assert (first["frames"], first["fps"], first["width"], first["height"]) == (17, 24, 448, 256)
    assert set(first) == set(SCHEMA.names)
    only = list(read_rows(open_shard(pa.BufferReader(write_shard(rows))), columns=["clip_id", "fps"]))
    assert only[4] == {"clip_id": rows[4].clip_id, "fps": 24}


def test_equal_clips_give_equal_bytes_in_any_order() -> None:
    rows = [row(number) for number in range(9)]
    assert write_shard(rows) == write_shard(iter(rows[::-1]))


def test_the_writer_keeps_its_fixed_settings() -> None:
    rows = [row(number, clip(number, size=200_000)) for number in range(7)]
    rows += [row(number, clip(number, size=10)) for number in range(100, 100 + GROUP_ROWS + 5)]
    shard = open_shard(pa.BufferReader(write_shard(rows)))
    metadata = shard.metadata
    sizes = [metadata.row_group(group).num_rows for group in range(shard.num_row_groups)]
    assert sizes == [3, 3, GROUP_ROWS, 6]
    assert 3 * 200_000 >= GROUP_BYTES > 2 * 200_000
    for position in range(metadata.num_columns):
        column = metadata.row_group(0).column(position)
        expected = "UNCOMPRESSED" if column.path_in_schema == "media" else "ZSTD"
        assert (column.path_in_schema, column.compression) == (column.path_in_schema, expected)
        assert not column.has_dictionary_page
    assert shard.schema_arrow.metadata[b"rushes.format"] == b"1.1"
    assert shard.schema_arrow.metadata[b"rushes.bucket"] == BUCKET.encode()
    assert shard.schema_arrow.equals(SCHEMA)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "at least one clip"),
        ([row(1), row(1)], "twice"),
        ([row(1), row(2, bucket="t033-ar16x9")], "one bucket"),
        ([row(1), row(2, pool="360p")], "one bucket"),
        ([row(1), row(2, clip(2, width=256))], "one bucket"),
        ([row(1, scores={"sharpness": math.nan})], "sharpness of clip"),
        ([row(1, scores={"sharpness": math.inf})], "sharpness of clip"),
    ],
)
def test_rows_that_make_no_shard_are_refused(rows: list[ShardRow], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        write_shard(rows)


def test_a_newer_format_is_refused_in_one_sentence(tmp_path: Path) -> None:
    check_format("1.7")
    with pytest.raises(
        ShardError, match=r"^these shards have format '2\.0', this version reads 1\.x: get a newer"
    ):
        check_format("2.0")
    table = pq.read_table(io.BytesIO(write_shard([row(1)])))
    for found, sentence in (("2.0", "format '2.0'"), (None, "not a training shard")):
        path = tmp_path / "shard.parquet"
        pq.write_table(table.replace_schema_metadata({"rushes.format": found} if found else None), path)
        with pytest.raises(ShardError, match=sentence):
            open_shard(path)


def test_the_golden_shard_of_format_1_stays_readable() -> None:
    assert FORMAT.startswith("1.")
    data = GOLDEN.read_bytes()
    assert len(data) < 60_000
    rows = list(read_rows(open_shard(GOLDEN)))
    assert [found["clip_id"] for found in rows] == ["00000000000000000001", "00000000000000000002"]
    assert [found["scores"]["motion_score"] for found in rows] == [0.25, 0.5]
    assert {found["media_type"] for found in rows} == {"video/mp4"}
    assert json.loads(rows[1]["caption"])["shot_type"] == "close_up"
    for found in rows:
        assert hashlib.sha256(found["media"]).hexdigest() == found["media_sha256"]
        assert set(found) == set(SCHEMA.names) - set(SINCE)
    assert [field.name for field in columns_of(open_shard(GOLDEN))] == SCHEMA.names[: -len(SINCE)]


def test_prompts_are_kept_as_they_are() -> None:
    one = {
        "kind": "t2v",
        "language": "zh",
        "variant": 1,
        "text": "特写。",
        "engine": "e",
        "dropped": ["lighting"],
    }
    rows = [
        row(1),
        row(2, prompt_t2v="A close-up.", prompts=[one]),
        row(3, prompts=[]),
    ]
    read = list(read_rows(open_shard(pa.BufferReader(write_shard(rows)))))
    assert [found["prompts"] for found in read] == [None, [one], []]
    assert [(found["prompt_t2v"], found["prompt_i2v"]) for found in read] == [
        (None, None),
        ("A close-up.", None),
        (None, None),
    ]


def test_the_datasets_library_loads_shards(tmp_path: Path) -> None:
    import datasets

    for name, numbers in (("a", range(6)), ("b", range(6, 9))):
        (tmp_path / f"{name}.parquet").write_bytes(write_shard([row(number) for number in numbers]))
    loaded = datasets.load_dataset(
        "parquet",
        data_files=[str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")],
        cache_dir=str(tmp_path / "cache"),
        split="train",
    )
    assert loaded.num_rows == 9
    assert loaded[7]["media"] == clip(7).data
    assert loaded[7]["clip_id"] == row(7).clip_id
    assert {score["name"]: score["value"] for score in loaded[7]["scores"]}["face_count"] == 2.0


# the manifest


def test_a_manifest_is_canonical_and_read_back() -> None:
    files = tuple(ShardFile(f"t017-ar1x1/{name}.parquet", "ab" * 32, 10, 2) for name in "ba")
    data = Manifest("256p", "r", {"z": "1", "a": "2"}, files).to_json()
    again = read_manifest(data)
    assert [file.path for file in again.files] == ["t017-ar1x1/a.parquet", "t017-ar1x1/b.parquet"]
    assert again.to_json() == data == Manifest("256p", "r", {"a": "2", "z": "1"}, files[::-1]).to_json()
    plain = json.loads(data)
    assert plain["counts"] == plain["buckets"]["t017-ar1x1"] == {"files": 2, "rows": 4, "bytes": 20}
    assert list(plain) == sorted(plain)
    assert read_manifest(Manifest("256p", "r", {}, ()).to_json()).files == ()


def test_a_manifest_says_what_the_gates_found_and_one_of_format_1_0_said_nothing() -> None:
    gates = {"pretrain": "fail", "source": "absent"}
    manifest = Manifest("540p", "0a1b2c3d", {}, (), gates)
    assert read_manifest(manifest.to_json()).gates == gates
    assert b'"gates"' not in Manifest("540p", "0a1b2c3d", {}, ()).to_json()
    assert read_manifest(GOLDEN.with_suffix(".manifest.json").read_bytes()).gates == {}
    nulls = {"caption": 0, "prompt_t2v": 7}
    assert read_manifest(Manifest("540p", "0a1b2c3d", {}, (), gates, nulls).to_json()).nulls == nulls
    for count in (-1, "7", True):
        said = Manifest("540p", "0a1b2c3d", {}, (), {}, {"caption": count})  # type: ignore[dict-item]
        with pytest.raises(ShardError, match="no number of rows"):
            read_manifest(said.to_json())
    judged = {"pretrain": Judged("ab12", 2), "source": Judged("cd34", 1, waived=True)}
    failed = Manifest("540p", "0a1b2c3d", {}, (), {"pretrain": "fail", "source": "fail"}, nulls, judged)
    again = read_manifest(failed.to_json())
    assert (again, again.refused) == (failed, ["pretrain"])
    wrong = Manifest("540p", "0a1b2c3d", {}, (), {"pretrain": 3})  # type: ignore[dict-item]
    with pytest.raises(ShardError, match="a gate's state is no text"):
        read_manifest(wrong.to_json())


def test_every_changed_byte_of_a_manifest_is_found() -> None:
    files = tuple(ShardFile(f"t017-ar1x1/{name}.parquet", "ab" * 32, 10, 2) for name in "ab")
    data = Manifest("256p", "1a2b3c4d", {"motion": "00ff00ff"}, files).to_json()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(ShardError):
            read_manifest(bytes(changed))
    for changed in (b"", b"null", b"[" * 100_000, data[:-1], data + b"\n", b"\xff" + data):
        with pytest.raises(ShardError):
            read_manifest(changed)


@pytest.mark.parametrize(
    "path",
    ["../a/b.parquet", "/etc/passwd", "a/../b.parquet", "a.parquet", ".hidden/a.parquet", "a/b/c.parquet"],
)
def test_a_manifest_names_nothing_outside_its_pool(path: str) -> None:
    with pytest.raises(ShardError, match="not BUCKET"):
        read_manifest(Manifest("256p", "r", {}, (ShardFile(path, "", 0, 0),)).to_json())


def test_a_manifest_names_no_file_twice() -> None:
    file = ShardFile("a/b.parquet", "", 0, 0)
    with pytest.raises(ShardError, match="twice"):
        read_manifest(Manifest("256p", "r", {}, (file, file)).to_json())
