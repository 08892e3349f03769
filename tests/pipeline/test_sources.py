"""Folders, globs, files and manifests become items; what cannot is refused with a reason."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ingest import digest_of
from pipeline.reasons import MediaError, Reason
from pipeline.scratch import FETCHED
from pipeline.sources import Fetcher, Item, SourceError, Sources, partition


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
        ("file:///etc/passwd", Reason.OUTSIDE_ROOT),
        ("local:///etc/passwd", Reason.OUTSIDE_ROOT),
        ("file://link/passwd", Reason.OUTSIDE_ROOT),
        ("\udce9.mp4", Reason.BAD_ROW),
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


def reasons(items: list[Item]) -> list[Reason]:
    return [item.refused[0] for item in items if item.refused]


@pytest.mark.parametrize("source", ["caf\udce9.mp4", "*.mp4", ""])
def test_a_name_that_is_not_utf8_is_refused_and_shown(tmp_path: Path, source: str) -> None:
    (tmp_path / "caf\udce9.mp4").write_bytes(b"x")
    (item,) = Sources((os.path.join(tmp_path, source),)).list()
    assert item.path.encode().startswith(f"{tmp_path}/caf\\ud".encode())
    assert item.refused == (Reason.UNREADABLE, "its name is not UTF-8: rename it")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('path,title\na.mp4,A\n"b.mp4,B\nc.mp4,C\n', 3),
        ('path,title\n"a.mp4" x,A\nc.mp4,C\n', 2),
        (f"path,title\na.mp4,A\nb.mp4,{'B' * 200_000}\n", 3),
    ],
)
def test_a_csv_whose_rows_have_no_certain_end_is_a_sentence(media: Path, text: str, line: int) -> None:
    (media / "list.csv").write_text(text)
    with pytest.raises(SourceError, match=f"cannot be read as CSV from line {line} on"):
        Sources((str(media / "list.csv"),)).list()


def test_a_csv_row_with_a_comma_too_many_names_no_file(media: Path) -> None:
    """Its cells stand under other columns: `a,b.mp4` would be the file `a`."""
    (media / "b").write_bytes(b"x")
    (media / "list.csv").write_text("path,title\nb,c.mp4,T\nb.mp4,B\ndeep/c.webm\n")
    items = Sources((str(media / "list.csv"),)).list()
    assert names([item for item in items if not item.refused], media) == ["b.mp4", "deep/c.webm"]
    assert reasons(items) == [Reason.BAD_ROW]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_manifest_with_two_columns_of_one_name_is_a_sentence(media: Path, suffix: str) -> None:
    manifest = media / f"list{suffix}"
    if suffix == ".csv":
        manifest.write_text("path,title,path\na.MOV,A,b.mp4\n")
    else:
        columns = [pa.array([name]) for name in ("a.MOV", "A", "b.mp4")]
        pq.write_table(pa.Table.from_arrays(columns, names=["path", "title", "path"]), manifest)
    with pytest.raises(SourceError, match="more than one column 'path'"):
        Sources((str(manifest),)).list()


def test_a_row_of_json_that_names_a_column_twice_is_refused(media: Path) -> None:
    (media / "list.jsonl").write_text('{"path": "a.MOV", "path": "b.mp4"}\n{"path": "deep/c.webm"}\n')
    items = Sources((str(media / "list.jsonl"),)).list()
    assert reasons(items) == [Reason.BAD_ROW]
    assert len(items) == 2


def test_only_a_line_feed_ends_a_row_of_json(media: Path) -> None:
    rows = [{"path": "b.mp4", "title": "a\u2028b\u0085c"}, {"path": "deep/c.webm"}]
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (media / "list.jsonl").write_bytes(text.encode())
    items = Sources((str(media / "list.jsonl"),)).list()
    assert [(item.refused, dict(item.extra)) for item in items] == [
        (None, {"title": "a\u2028b\u0085c"}),
        (None, {}),
    ]


@pytest.mark.parametrize("cell", ["[" * 100_000, "[" * 200 + "]" * 200, "9" * 5000])
def test_json_that_cannot_be_held_is_one_refused_row(media: Path, cell: str) -> None:
    (media / "list.jsonl").write_text(f'{{"path": "b.mp4", "x": {cell}}}\n{{"path": "deep/c.webm"}}\n')
    items = Sources((str(media / "list.jsonl"),)).list()
    assert reasons(items) == [Reason.BAD_ROW]
    assert len(items) == 2


def test_a_damaged_parquet_page_is_a_sentence(media: Path) -> None:
    table = pa.table({"path": [f"{number * 7919 % 10007}.mp4" for number in range(5000)]})
    pq.write_table(table, media / "list.parquet", use_dictionary=False)
    data = bytearray((media / "list.parquet").read_bytes())
    data[100:2000] = b"\xff" * 1900
    (media / "list.parquet").write_bytes(data)
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        Sources((str(media / "list.parquet"),)).list()


@pytest.fixture
def memory() -> Any:
    import fsspec

    fs = fsspec.filesystem("memory")
    for name in ("all/x/a.mp4", "all/x/deep/b.mp4", "all/c.mp4", "all/x/notes.txt"):
        fs.pipe_file(f"/{name}", b"x")
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_a_remote_pattern_goes_into_folders_and_one_without_a_match_is_refused(memory: Any) -> None:
    (item,) = Sources(("memory://all/*.mkv",)).list()
    assert item.path == "memory://all/*.mkv"
    assert reasons([item]) == [Reason.NOT_FOUND]
    items = Sources(("memory://all/*",)).list()
    assert [item.path.split("all/")[1] for item in items] == ["c.mp4", "x/a.mp4", "x/deep/b.mp4"]
    assert reasons(items) == []


def test_a_remote_folder_named_in_a_row_is_no_file(memory: Any) -> None:
    rows = b'{"path": "x"}\n{"path": "memory://all/c.mp4"}\n{"path": "/etc/passwd"}'
    memory.pipe_file("/all/list.jsonl", rows)
    items = Sources(("memory://all/list.jsonl",)).list()
    assert sorted(reasons(items)) == [Reason.NOT_A_FILE, Reason.OUTSIDE_ROOT]
    assert len(items) == 3


def test_a_row_that_the_storage_refuses_costs_no_other(media: Path) -> None:
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class Closed(MemoryFileSystem):  # type: ignore[misc]
        protocol = "closed"

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            raise PermissionError("Forbidden")

    fsspec.register_implementation("closed", Closed, clobber=True)
    rows = [{"path": "closed://a/x.mp4"}, {"path": "b.mp4"}]
    (media / "list.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    items = Sources((str(media / "list.jsonl"),), roots=("closed://a",)).list()
    assert reasons(items) == [Reason.UNREADABLE]
    assert len(items) == 2


def test_folders_behind_links_are_looked_into_once(media: Path, tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    (far / "d.mp4").write_bytes(b"d")
    (far / "back").symlink_to(media)
    for name, target in (("l1", far), ("l2", far), ("a-deep", media / "deep"), ("deep/loop", media)):
        (media / name).symlink_to(target)
    items = Sources((str(media),)).list()
    assert names(items, media) == ["a.MOV", "b.mp4", "deep/c.webm", "l1/d.mp4"]
    assert reasons(items) == []


def test_a_link_to_a_folder_above_is_refused(media: Path, tmp_path: Path) -> None:
    (tmp_path / "private.mp4").write_bytes(b"p")
    (media / "up").symlink_to(tmp_path)
    items = Sources((str(media),)).list()
    assert names(items, media) == ["a.MOV", "b.mp4", "deep/c.webm", "up"]
    assert reasons(items) == [Reason.NOT_A_FILE]


def test_file_urls_are_local_paths_everywhere(media: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "o.mp4").write_bytes(b"o")
    (other / "etc").symlink_to("/etc")
    rows = [{"path": f"file://{other}/o.mp4"}, {"path": f"file://{other}/etc/passwd"}]
    (media / "list.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    items = Sources((f"file://{media}/list.jsonl",), roots=(f"file://{other}",)).list()
    assert [item.path for item in items if item.refused is None] == [str(other / "o.mp4")]
    assert reasons(items) == [Reason.OUTSIDE_ROOT]


def test_a_source_with_other_bytes_than_were_ingested_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    row = {"path": str(path), "video_id": digest_of(str(path))[0][:20]}
    fetcher = Fetcher()
    assert fetcher.source(row) == str(path)
    (tmp_path / "new").write_bytes(b"two")
    os.utime(tmp_path / "new", ns=(0, path.stat().st_mtime_ns))
    (tmp_path / "new").rename(path)
    for _ in range(2):
        with pytest.raises(MediaError, match="run `rushes ingest` again") as raised:
            fetcher.source(row)
        assert raised.value.reason is Reason.CHANGED
    path.unlink()
    with pytest.raises(MediaError) as raised:
        fetcher.source(row)
    assert raised.value.reason is Reason.NOT_FOUND
    os.mkfifo(path)
    with pytest.raises(MediaError) as raised:
        fetcher.source(row)
    assert raised.value.reason is Reason.NOT_A_FILE


def test_a_source_is_hashed_once(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    stamp = path.stat().st_mtime_ns
    row = {"path": str(path), "video_id": digest_of(str(path))[0][:20]}
    fetcher = Fetcher()
    fetcher.source(row)
    path.write_bytes(b"two")  # what only a second reading would see: the same inode, size and time
    os.utime(path, ns=(stamp, stamp))
    assert fetcher.source(row) == str(path)


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(memory: Any) -> None:
    code = """
        import os, signal, sys, fsspec
        from pipeline.sources import Fetcher
        fsspec.filesystem("memory").pipe_file("/a.mp4", b"x")
        print(Fetcher().local("memory://a.mp4"), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    lines = "\n".join(line.strip() for line in code.split("\n"))
    dead = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)
    assert dead.returncode == -signal.SIGKILL
    left = Path(dead.stdout.strip())
    assert left.exists()
    assert left.parent.name.startswith(FETCHED)
    first, second = Fetcher(), Fetcher()
    kept = Path(first.local("memory://all/c.mp4"))
    assert not left.parent.exists()
    second.local("memory://all/c.mp4")
    assert kept.exists()
    first.close()
    second.close()
    assert not kept.parent.exists()
