"""A checkpoint that has not changed is not read again; any change of a file is seen, whatever its times say."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from captioner.engines.checkpoint import digest, known_digest
from captioner.engines.digests import LEAST_BYTES, kept
from pipeline.weights import WeightError


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("a.safetensors", "b.safetensors"):
        (folder / name).write_bytes(name.encode())
    return sorted(folder.iterdir())


class Reads:
    """Counts how often it is asked for a digest."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"{self.count:064d}"


def test_what_has_not_changed_is_read_once(files: list[Path], tmp_path: Path) -> None:
    reads = Reads()
    found = [kept(files, reads, tmp_path / "known", 0) for _ in range(3)]
    assert found == [f"{1:064d}"] * 3
    assert reads.count == 1


def shorter(path: Path) -> None:
    path.write_bytes(b"x")


def of_the_same_size_and_time(path: Path) -> None:
    about = path.stat()
    time.sleep(0.02)  # the times of changes go by ticks of a few ms
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def another_file(path: Path) -> None:
    about, other = path.stat(), path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(about.st_atime_ns, about.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [shorter, of_the_same_size_and_time, another_file])
def test_a_file_that_changed_is_read_again(
    files: list[Path], tmp_path: Path, change: Callable[[Path], None]
) -> None:
    reads = Reads()
    kept(files, reads, tmp_path / "known", 0)
    change(files[1])
    assert kept(files, reads, tmp_path / "known", 0) == f"{2:064d}"
    assert kept(files, reads, tmp_path / "known", 0) == f"{2:064d}"


def test_a_file_more_is_another_checkpoint(files: list[Path], tmp_path: Path) -> None:
    reads = Reads()
    kept(files, reads, tmp_path / "known", 0)
    more = files[0].with_name("c.json")
    more.write_text("{}")
    kept([*files, more], reads, tmp_path / "known", 0)
    assert reads.count == 2


def test_what_changes_while_it_is_read_is_not_kept(files: list[Path], tmp_path: Path) -> None:
    def read() -> str:
        files[0].write_bytes(b"another")
        return "0" * 64

    kept(files, read, tmp_path / "known", 0)
    assert not (tmp_path / "known").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": 1}', '{"sha256": "0"}', "\x00"])
def test_a_torn_page_is_done_without_and_mended(files: list[Path], tmp_path: Path, text: str) -> None:
    reads = Reads()
    kept(files, reads, tmp_path / "known", 0)
    (page,) = (tmp_path / "known").iterdir()
    page.write_text(text)
    assert kept(files, reads, tmp_path / "known", 0) == f"{2:064d}"
    assert json.loads(page.read_text())["sha256"] == f"{2:064d}"


def test_a_folder_that_cannot_be_written_is_done_without(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "known").write_text("a file stands in the way")
    reads = Reads()
    assert [kept(files, reads, tmp_path / "known", 0) for _ in range(2)] == [f"{1:064d}", f"{2:064d}"]


def test_small_ones_are_read_and_leave_nothing(files: list[Path], tmp_path: Path) -> None:
    reads = Reads()
    kept(files, reads, tmp_path / "known", LEAST_BYTES)
    kept(files, reads, tmp_path / "known", LEAST_BYTES)
    assert reads.count == 2
    assert not (tmp_path / "known").exists()


def test_it_is_the_digest_of_the_checkpoint(files: list[Path], tmp_path: Path) -> None:
    folder, known = files[0].parent, tmp_path / "known"
    assert known_digest(folder, known, 0) == known_digest(folder, known, 0) == digest(folder)
    (page,) = known.iterdir()
    page.write_text(page.read_text().replace(digest(folder), "f" * 64))
    assert known_digest(folder, known, 0) == "f" * 64  # it was not read


def test_a_link_to_nothing_is_a_sentence(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(WeightError, match="cannot be read"):
        known_digest(tmp_path / "gone", tmp_path / "known", 0)
