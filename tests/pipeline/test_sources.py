"""Folders, globs, files and manifests become items; what cannot is refused with a reason."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.reasons import Reason
from pipeline.sources import Item, SourceError, Sources, partition


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    (folder / "deep").mkdir(parents=True)
    for name in ("b.mp4", "a.MOV", "deep/c.webm", "notes.txt"):
        (folder / name).write_bytes(b"x")
    return folder


def names(items: list[Item], root: Path) -> list[str]:
    return [os.path.relpath(item.path, root) for item in items]


def test_a_folder_gives_its_media_in_order(media: Path) -> None:
    assert names(Sources((str(media),)).list(), media) == ["a.MOV", "b.mp4", "deep/c.webm"]


def test_a_glob_and_a_file_overlap_once(media: Path) -> None:
    items = Sources((str(media / "*.mp4"), str(media / "b.mp4"), str(media / "notes.txt"))).list()
    assert names(items, media) == ["b.mp4", "notes.txt"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_manifests_carry_their_columns(media: Path, suffix: str) -> None:
    rows = [
        {"path": "b.mp4", "licence": "CC0", "title": "B"},
        {"path": "deep/c.webm", "licence": "CC BY", "title": "C"},
    ]
    manifest = media / f"list{suffix}"
    if suffix == ".csv":
        lines = ["path,licence,title", *(",".join(row.values()) for row in rows)]
        manifest.write_text("\n".join(lines))
    elif suffix == ".jsonl":
        manifest.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), manifest)
    items = Sources((str(manifest),)).list()
    assert names(items, media) == ["b.mp4", "deep/c.webm"]
    assert [item.extra for item in items] == [
        {"licence": "CC0", "title": "B"},
        {"licence": "CC BY", "title": "C"},
    ]
    assert all(item.refused is None for item in items)


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("../secret.mp4", Reason.OUTSIDE_ROOT),
        ("/etc/passwd", Reason.OUTSIDE_ROOT),
        ("s3://elsewhere/x.mp4", Reason.OUTSIDE_ROOT),
        ("concat:a|b", Reason.NOT_FOUND),
        ("-x.mp4", Reason.NOT_FOUND),
        ("link/passwd", Reason.OUTSIDE_ROOT),
        ("", Reason.BAD_ROW),
        ("a\0b", Reason.BAD_ROW),
        ("missing.mp4", Reason.NOT_FOUND),
        ("deep", Reason.NOT_A_FILE),
    ],
)
def test_bad_manifest_rows_are_refused_with_their_reason(media: Path, named: str, reason: Reason) -> None:
    (media / "link").symlink_to("/etc")
    manifest = media / "list.jsonl"
    manifest.write_text(json.dumps({"path": named}) + "\n" + json.dumps({"path": "b.mp4"}))
    refused = [item.refused for item in Sources((str(manifest),)).list() if item.refused]
    assert [r for r, _ in refused] == [reason]


def test_broken_json_line_is_one_refused_row(media: Path) -> None:
    (media / "list.jsonl").write_text('{"path": "b.mp4"}\n{nope\n')
    items = Sources((str(media / "list.jsonl"),)).list()
    assert [item.refused[0] for item in items if item.refused] == [Reason.BAD_ROW]


def test_roots_open_other_folders(media: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "o.mp4").write_bytes(b"o")
    (media / "list.jsonl").write_text(json.dumps({"path": str(other / "o.mp4")}))
    assert Sources((str(media / "list.jsonl"),)).list()[0].refused is not None
    assert Sources((str(media / "list.jsonl"),), roots=(str(other),)).list()[0].refused is None


def test_manifest_that_is_no_text_is_a_sentence(media: Path) -> None:
    (media / "list.csv").write_bytes(b"\xff\xfe\x00\x00")
    with pytest.raises(SourceError, match="not UTF-8"):
        Sources((str(media / "list.csv"),)).list()


def test_missing_sources_are_refused_items(tmp_path: Path) -> None:
    items = Sources((str(tmp_path / "none.mp4"), str(tmp_path / "*.mkv"))).list()
    assert [item.refused[0] for item in items if item.refused] == [Reason.NOT_FOUND, Reason.NOT_FOUND]


def test_a_fifo_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (item,) = Sources((str(tmp_path / "pipe.mp4"),)).list()
    assert item.refused is not None
    assert item.refused[0] is Reason.NOT_A_FILE


def test_partition_is_stable_under_insertion() -> None:
    before = [f"video-{n:04d}" for n in range(400)]
    after = sorted([*before, "video-0200x"])
    cut = {tuple(before[part]) for part in partition(before, 32)}
    again = {tuple(after[part]) for part in partition(after, 32)}
    assert sum(len(part) for part in cut) == 400
    assert max(len(part) for part in cut) <= 32
    assert len(cut - again) <= 3
