"""A whole shard set has no problem, and whatever happens to one is found."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.encode import EncodedClip
from pipeline.frames import Decoder
from pipeline.reasons import MediaError, Reason
from pipeline.shards import SCHEMA, Judged, Manifest, ShardFile, ShardRow, read_manifest, write_shard
from pipeline.store import LocalFiles, StorageError
from pipeline.verify import Fault, Problem, verify

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


def pool(root: Path, shards: Mapping[str, list[ShardRow]]) -> Path:
    """A shard set in a folder: shards by path."""
    files = []
    for path, rows in shards.items():
        data = write_shard(rows)
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        files.append(ShardFile(path, hashlib.sha256(data).hexdigest(), len(data), len(rows)))
    manifest = Manifest("256p", "1a2b3c4d", {"motion": "00ff00ff"}, tuple(files))
    (root / "manifest.json").write_bytes(manifest.to_json())
    return root


def good(root: Path) -> Path:
    return pool(
        root,
        {
            f"{BUCKET}/part-a.parquet": [row(number) for number in range(6)],
            f"{BUCKET}/part-b.parquet": [row(number) for number in range(6, 9)],
            "t001-ar1x1/part-a.parquet": [image_row(20)],
        },
    )


def image_row(number: int, **changes: Any) -> ShardRow:
    media = clip(
        number, frames=1, width=320, height=320, media_type="image/png", audio_codec=None, audio_gap_s=None
    )
    return row(number, media, bucket="t001-ar1x1", **changes)


def problems(root: Path, **options: Any) -> list[Problem]:
    return verify(LocalFiles(root), "", **options)


def faults(root: Path, **options: Any) -> list[Fault]:
    return [problem.fault for problem in problems(root, **options)]


def relisted(root: Path) -> None:
    """Makes the manifest agree with the files as they are now: what is left is what the rows themselves say."""
    files = []
    for path in sorted(root.glob("*/*.parquet")):
        data = path.read_bytes()
        name = str(path.relative_to(root))
        files.append(
            ShardFile(name, hashlib.sha256(data).hexdigest(), len(data), pq.read_metadata(path).num_rows)
        )
    (root / "manifest.json").write_bytes(Manifest("256p", "r", {}, tuple(files)).to_json())


def test_a_set_whose_gate_failed_is_named_unless_that_was_waived(tmp_path: Path) -> None:
    failed = Manifest("256p", "r", {}, (), {"pretrain": "fail", "source": "pass"})
    (tmp_path / "manifest.json").write_bytes(failed.to_json())
    (found,) = problems(tmp_path)
    assert str(found) == "gate: manifest.json: the pretrain gate failed, and nobody waived it"
    waived = dataclasses.replace(failed, judged={"pretrain": Judged("ab12", 1, waived=True)})
    (tmp_path / "manifest.json").write_bytes(waived.to_json())
    assert faults(tmp_path) == []


def test_a_whole_set_has_no_problem(tmp_path: Path) -> None:
    assert problems(good(tmp_path)) == []
    assert problems(tmp_path, digests=False) == []
    (tmp_path / "run" / "shards").mkdir(parents=True)
    good(tmp_path / "run" / "shards" / "256p")
    assert verify(LocalFiles(tmp_path / "run"), "shards/256p") == []


def test_missing_and_extra_files(tmp_path: Path) -> None:
    good(tmp_path)
    (tmp_path / BUCKET / "part-b.parquet").unlink()
    (tmp_path / BUCKET / "part-c.parquet").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "t999-ar1x1").mkdir()
    found = {(problem.fault, problem.path) for problem in problems(tmp_path)}
    assert found == {
        (Fault.MISSING, f"{BUCKET}/part-b.parquet"),
        (Fault.EXTRA, f"{BUCKET}/part-c.parquet"),
        (Fault.EXTRA, "notes.txt"),
        (Fault.EXTRA, "t999-ar1x1"),
    }
    (tmp_path / "manifest.json").unlink()
    assert faults(tmp_path) == [Fault.MANIFEST]


def test_a_file_where_a_bucket_should_be(tmp_path: Path) -> None:
    good(tmp_path)
    (tmp_path / "t001-ar1x1" / "part-a.parquet").unlink()
    (tmp_path / "t001-ar1x1").rmdir()
    (tmp_path / "t001-ar1x1").write_text("x")
    assert faults(tmp_path) == [Fault.MISSING]


@pytest.mark.parametrize("cut", [0, 1, 4, 1000, -1, -9])
def test_truncation_is_found(tmp_path: Path, cut: int) -> None:
    path = good(tmp_path) / BUCKET / "part-a.parquet"
    path.write_bytes(path.read_bytes()[:cut])
    assert faults(tmp_path) == [Fault.DIGEST]
    assert faults(tmp_path, digests=False) == [Fault.UNREADABLE]


def test_every_flipped_bit_is_found_by_the_digest(tmp_path: Path) -> None:
    path = good(tmp_path) / BUCKET / "part-b.parquet"
    data = path.read_bytes()
    generator = np.random.default_rng(11)
    for position in generator.integers(0, len(data), 200):
        changed = bytearray(data)
        changed[position] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        assert faults(tmp_path) == [Fault.DIGEST]


def test_every_flipped_bit_of_the_data_is_found_without_the_digest(tmp_path: Path) -> None:
    path = good(tmp_path) / BUCKET / "part-b.parquet"
    data = path.read_bytes()
    pages = []
    metadata = pq.read_metadata(path)
    for group in range(metadata.num_row_groups):
        for position in range(metadata.num_columns):
            column = metadata.row_group(group).column(position)
            last = column.data_page_offset + column.total_compressed_size
            pages.append((last - 8, last))  # within the page's body, behind its header
            if column.path_in_schema == "media":
                pages.append((column.data_page_offset + 100, last))
    generator = np.random.default_rng(12)
    for _ in range(200):
        first, last = pages[int(generator.integers(len(pages)))]
        changed = bytearray(data)
        changed[int(generator.integers(first, last))] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        assert faults(tmp_path, digests=False) == [Fault.UNREADABLE]


def test_a_flipped_bit_anywhere_never_stops_the_check(tmp_path: Path) -> None:
    path = good(tmp_path) / BUCKET / "part-b.parquet"
    data = path.read_bytes()
    generator = np.random.default_rng(13)
    for position in generator.integers(len(data) - 9000, len(data), 300):
        changed = bytearray(data)
        changed[position] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        problems(tmp_path, digests=False)


def test_swapped_files_are_found(tmp_path: Path) -> None:
    good(tmp_path)
    one, other = tmp_path / BUCKET / "part-a.parquet", tmp_path / BUCKET / "part-b.parquet"
    bytes_of_one = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(bytes_of_one)
    assert faults(tmp_path) == [Fault.DIGEST, Fault.DIGEST]
    assert faults(tmp_path, digests=False) == [Fault.ROWS, Fault.ROWS]


def test_what_the_rows_say_is_checked_even_when_the_manifest_agrees(tmp_path: Path) -> None:
    path = good(tmp_path) / BUCKET / "part-b.parquet"

    def found_after(**columns: Any) -> set[Fault]:
        table = pq.read_table(io.BytesIO(original))
        for name, values in columns.items():
            position = table.schema.get_field_index(name)
            table = table.set_column(position, SCHEMA.field(name), pa.array(values, SCHEMA.field(name).type))
        pq.write_table(table, path)
        relisted(tmp_path)
        return set(faults(tmp_path))

    original = path.read_bytes()
    assert found_after() == set()
    for caption in ("a woman", "", "[]", "3", "null", '{"a": NaN}', '{"a": 1', "\x00"):
        assert found_after(caption=['{"a": 1}', caption, None]) == {Fault.ROWS}, caption
    assert found_after(extra=["{}", "{}", "licence"]) == {Fault.ROWS}
    assert found_after(provenance=["{}", "{}", "-"]) == {Fault.ROWS}
    medias = [clip(number).data for number in (6, 7, 8)]
    assert found_after(media=[medias[1], medias[0], medias[2]]) == {Fault.MEDIA}
    assert found_after(clip_id=["c", "b", "a"]) == {Fault.ROWS}
    assert found_after(clip_id=["a", "a", "b"]) == {Fault.DUPLICATE}
    assert found_after(clip_id=[row(3).clip_id, "a", "b"]) == {Fault.DUPLICATE}
    assert found_after(width=[448, 256, 448]) == {Fault.BUCKET}
    assert found_after(frames=[17, 17, 16]) == {Fault.BUCKET}
    assert found_after(frames=[33, 33, 33]) == {Fault.BUCKET}
    assert found_after(bucket=[BUCKET, BUCKET, "t033-ar1x1"]) == {Fault.BUCKET}
    assert found_after(pool=["256p", "256p", "360p"]) == {Fault.BUCKET}
    assert found_after(media_type=["video/mp4", "image/png", "video/mp4"]) == {Fault.MEDIA}
    pq.write_table(pq.read_table(io.BytesIO(original)).drop_columns(["media_sha256"]), path)
    relisted(tmp_path)
    assert [str(problem) for problem in problems(tmp_path)] == [
        f"rows: {BUCKET}/part-b.parquet: it lacks the columns media_sha256"
    ]


@pytest.mark.parametrize("column", [field.name for field in SCHEMA if not field.nullable])
def test_a_value_that_is_missing_is_named(tmp_path: Path, column: str) -> None:
    path = good(tmp_path) / BUCKET / "part-b.parquet"
    table = pq.read_table(path)
    kind = SCHEMA.field(column).type
    values = pa.array([*table.column(column).to_pylist()[:2], None], kind)
    if pa.types.is_fixed_size_list(kind):
        kind = pa.list_(kind.value_type, kind.list_size)
    pq.write_table(
        table.set_column(table.schema.get_field_index(column), pa.field(column, kind), values), path
    )
    relisted(tmp_path)
    (problem,) = problems(tmp_path)
    assert problem.fault is Fault.ROWS
    assert f"it has no {column}" in problem.message
    assert problem.clip_id == (None if column == "clip_id" else row(8).clip_id)


@pytest.mark.parametrize(
    ("bucket", "width", "height", "whole"),
    [
        ("t017-ar16x9", 448, 256, True),
        ("t017-ar16x9", 960, 544, True),
        ("t017-ar9x16", 544, 960, True),
        ("t017-ar4x3", 400, 288, False),
        ("t017-ar4x3", 400, 304, True),
        ("t017-ar1x1", 448, 256, False),
        ("t017-ar16x9", 256, 448, False),
        ("t017-ar16x9", 446, 256, False),
        ("t017-ar16x9", 16, 16, False),
        ("t017-ar16x9", 2**31 - 16, 16, False),
        ("t017-ar16x0", 448, 256, False),
        ("t017", 448, 256, False),
        ("t017-ar16x9-b", 448, 256, False),
    ],
)
def test_a_bucket_has_a_picture_of_its_name(
    tmp_path: Path, bucket: str, width: int, height: int, whole: bool
) -> None:
    media = clip(1, width=width, height=height)
    pool(tmp_path, {f"{bucket}/a.parquet": [row(1, media, bucket=bucket)]})
    assert faults(tmp_path) == ([] if whole else [Fault.BUCKET])


def test_the_manifests_bytes_are_checked_beside_its_digest(tmp_path: Path) -> None:
    path = good(tmp_path) / "manifest.json"
    manifest = read_manifest(path.read_bytes())
    wrong = dataclasses.replace(manifest.files[0], bytes=manifest.files[0].bytes + 1)
    path.write_bytes(dataclasses.replace(manifest, files=(wrong, *manifest.files[1:])).to_json())
    (problem,) = problems(tmp_path)
    assert (problem.fault, problem.path) == (Fault.DIGEST, wrong.path)
    assert problem.message == f"it has {wrong.bytes - 1} bytes, the manifest says {wrong.bytes}"


def test_a_clip_in_two_files_is_named(tmp_path: Path) -> None:
    pool(tmp_path, {f"{BUCKET}/a.parquet": [row(1), row(2)], f"{BUCKET}/b.parquet": [row(2), row(3)]})
    (problem,) = problems(tmp_path)
    assert (problem.fault, problem.path, problem.clip_id) == (
        Fault.DUPLICATE,
        f"{BUCKET}/b.parquet",
        row(2).clip_id,
    )


def test_media_is_checked_through_the_decoder(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video(tmp_path / "c.mp4", frames=17, fps=24, size=(448, 256), bframes=2)
    data = path.read_bytes()
    whole = clip(1, data=data, sha256=hashlib.sha256(data).hexdigest(), audio_codec=None)
    torn = bytearray(data)
    torn[data.index(b"moov") - 600 : data.index(b"moov") - 200] = bytes(400)
    wrong = {
        2: dataclasses.replace(whole, frames=21),
        3: dataclasses.replace(whole, fps=16),
        4: dataclasses.replace(whole, audio_codec="aac"),
        5: clip(5),
        6: dataclasses.replace(whole, data=bytes(torn), sha256=hashlib.sha256(torn).hexdigest()),
    }
    root = tmp_path / "pool"
    with Decoder() as decoder:
        pool(root, {f"{BUCKET}/a.parquet": [row(1, whole)]})
        assert problems(root, decoder=decoder, deep=True) == []
        for number, media in wrong.items():
            bucket = f"t{media.frames:03d}-ar16x9"
            pool(root, {f"{bucket}/a.parquet": [row(number, media, bucket=bucket)]})
            found = [fault for fault in faults(root, decoder=decoder, deep=True) if fault is not Fault.EXTRA]
            assert found == [Fault.MEDIA]
            shallow = [fault for fault in faults(root, decoder=decoder) if fault is not Fault.EXTRA]
            assert shallow == ([] if number == 6 else [Fault.MEDIA])  # damage far behind the header


@dataclasses.dataclass(frozen=True)
class Starved(Decoder):
    """A decoder on a machine that has run out of something."""

    error: Exception

    def probe(self, path: str) -> dict[str, Any]:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        MediaError(Reason.DECODER_TIMEOUT, "late"),
        MediaError(Reason.DECODER_MEMORY, "more than it may have"),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_a_machine_without_room_or_time_is_no_damage(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(StorageError, match="run the same command again") as caught:
        problems(good(tmp_path), decoder=Starved(error))
    assert "\n" not in str(caught.value)


def test_a_full_scratch_disk_is_no_damage(tmp_path: Path) -> None:
    """A clip is larger than any file that may be written."""
    program = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline.frames import Decoder\n"
        "from pipeline.store import LocalFiles, StorageError\n"
        "from pipeline.verify import verify\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    print(verify(LocalFiles(Path(sys.argv[1])), '', decoder=Decoder()))\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    folder = good(tmp_path)
    done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("no scratch file can be written (File too large): free some space, and run")
