"""`rushes verify` finds every fault of a run's shards: flips, cuts, swaps, losses, additions, stale manifests."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import chain
from jobs.run import NotReady
from pipeline.shards import Manifest, read_manifest
from pipeline.store import LocalFiles, StorageError
from pipeline.verify import verify

POOL = "shards/tiny"


@dataclass(frozen=True)
class Harmed:
    """What was done to a pool, and the files by one of whose names it must be told."""

    what: str
    names: tuple[str, ...]


Harm = Callable[[Path], Harmed]
"""Damages a pool in its folder and says what it did."""


@pytest.fixture
def run(whole: tuple[Any, Path], tmp_path: Path) -> Path:
    """A finished run, to be damaged."""
    shutil.copytree(whole[1], tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def stale(small: Any, tmp_path: Path, make_video: Callable[..., Path], shots_of: Callable[..., Any]) -> Path:
    """A run of which a video was added after its shards had been written once; beside it, the first shards."""
    out = tmp_path / "grown"
    small.done(out)
    shutil.copytree(out / POOL, tmp_path / "first")
    make_video(small.media / "later.mp4", frames=50, fps=20, size=(320, 256), draw=shots_of((25, 8), (25, 9)))
    small.done(out)
    return out


def flip(seed: int) -> Harm:
    """One bit of one file of the pool, the manifest included; every byte of all files is as likely."""

    def harm(pool: Path) -> Harmed:
        dice = random.Random(seed)
        files = sorted(path for path in pool.rglob("*") if path.is_file())
        at = dice.randrange(sum(path.stat().st_size for path in files))
        for path in files:
            if at < path.stat().st_size:
                break
            at -= path.stat().st_size
        data = bytearray(path.read_bytes())
        data[at] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        return Harmed(f"bit flip {seed} in {path.relative_to(pool)} at {at}", (path.name,))

    return harm


def cut(seed: int) -> Harm:
    """A file ends early, or zeros stand for its end, as after a power cut."""

    def harm(pool: Path) -> Harmed:
        dice = random.Random(seed)
        path = dice.choice(sorted(path for path in pool.rglob("*") if path.is_file()))
        data = path.read_bytes()
        left = dice.randrange(len(data) - 1)
        zeros = dice.random() < 0.3
        path.write_bytes(data[:left] + bytes(len(data) - left) * zeros)
        return Harmed(f"cut {seed} of {path.relative_to(pool)} at {left}", (path.name,))

    return harm


def shards_of(pool: Path) -> list[Path]:
    return sorted(pool.glob("*/*.parquet"))


def swap(pool: Path) -> Harmed:
    one, other = shards_of(pool)[-2:]
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    return Harmed("swap", (one.name,))


def copy_over(pool: Path) -> Harmed:
    one, other = shards_of(pool)[-2:]
    other.write_bytes(one.read_bytes())
    return Harmed("one shard in place of another", (other.name,))


def rename(pool: Path) -> Harmed:
    path = shards_of(pool)[0]
    path.rename(path.with_name("part-0.parquet"))
    return Harmed("rename", (path.name,))


def delete_bucket(pool: Path) -> Harmed:
    path = shards_of(pool)[0]
    shutil.rmtree(path.parent)
    return Harmed("delete a bucket", (path.name,))


def add_copy(pool: Path) -> Harmed:
    shutil.copyfile(shards_of(pool)[0], pool / "t001-ar4x3" / "part-zz.parquet")
    return Harmed("add a copy", ("part-zz.parquet",))


def add_empty(pool: Path) -> Harmed:
    (shards_of(pool)[0].parent / "_SUCCESS").touch()
    return Harmed("add an empty file", ("_SUCCESS",))


def add_bucket(pool: Path) -> Harmed:
    (pool / "t017-ar1x1").mkdir()
    return Harmed("add a folder", ("t017-ar1x1",))


def forge(pool: Path) -> Harmed:
    """A whole manifest of fewer files, and the others gone: nothing in the pool itself is wrong."""
    manifest = read_manifest((pool / "manifest.json").read_bytes())
    kept, *others = manifest.files
    (pool / "manifest.json").write_bytes(
        Manifest(manifest.pool, manifest.recipe, manifest.fingerprints, (kept,)).to_json()
    )
    for file in others:
        (pool / file.path).unlink()
        if not any((pool / file.path).parent.iterdir()):
            (pool / file.path).parent.rmdir()
    return Harmed("a manifest of fewer files", ("manifest.json",))


def delete(number: int) -> Harm:
    def harm(pool: Path) -> Harmed:
        files = sorted(path for path in pool.rglob("*") if path.is_file())
        files[number].unlink()
        return Harmed(f"delete {files[number].relative_to(pool)}", (files[number].name,))

    return harm


CHANGES: tuple[Harm, ...] = (
    swap, copy_over, rename, delete_bucket, add_copy, add_empty, add_bucket, *map(delete, range(4)),
)  # fmt: skip
"""All that can happen to whole files; the run of the fixture has a manifest and three shards."""


def each(harms: Iterator[Harm], run: Path, look: Callable[[Path], list[Any]]) -> list[str]:
    """Does every harm to the pool by itself, mends it after each, and returns those of which no line names the file."""
    kept = run.with_name("kept")
    shutil.copytree(run / POOL, kept)
    missed = []
    for harm in harms:
        harmed = harm(run / POOL)
        if not any(name in str(line) for line in look(run) for name in harmed.names):
            missed.append(harmed.what)
        shutil.rmtree(run / POOL)
        shutil.copytree(kept, run / POOL)
    shutil.rmtree(kept)
    assert look(run) == []
    return missed


def in_the_pool(run: Path) -> list[Any]:
    return verify(LocalFiles(run / POOL), "")


def by_command(run: Path) -> list[Any]:
    """What `rushes verify RUN` prints."""
    return chain.verify(str(run), deep=False)


def by_pyarrow_alone(run: Path) -> list[Any]:
    """The files in which a reader without page checksums and digests notices something."""
    found = []
    for path in shards_of(run / POOL):
        try:
            pq.read_table(path)
        except (pa.ArrowException, OSError, UnicodeDecodeError):
            found.append(path.name)
    return found


def test_damage_and_changes_are_found(run: Path) -> None:
    harms = [*map(flip, range(40)), *map(cut, range(20)), *CHANGES]
    assert each(iter(harms), run, in_the_pool) == []
    unseen = each(map(flip, range(40)), run, by_pyarrow_alone)
    assert len(unseen) > 20  # so the flips are such that a reader takes wrong bytes for right ones


def test_a_whole_manifest_of_fewer_files_is_found(run: Path) -> None:
    assert each(iter([forge]), run, in_the_pool) == ["a manifest of fewer files"]  # the ledger alone knows
    assert each(iter([forge]), run, by_command) == []


@pytest.mark.slow
def test_manifests_and_shards_of_another_time_are_found(stale: Path) -> None:
    """Put back from before the last sources: manifest, shards, or all of them."""
    first, pool = stale.with_name("first"), stale / POOL
    assert by_command(stale) == []
    now, then = ({path.name for path in shards_of(folder)} for folder in (pool, first))
    changed = tuple(now ^ then)
    assert changed

    def old_manifest(pool: Path) -> Harmed:
        shutil.copyfile(first / "manifest.json", pool / "manifest.json")
        return Harmed("the old manifest", changed)

    def old_shards(pool: Path) -> Harmed:
        manifest = (pool / "manifest.json").read_bytes()
        shutil.rmtree(pool)
        shutil.copytree(first, pool)
        (pool / "manifest.json").write_bytes(manifest)
        return Harmed("the old shards", changed)

    def old_pool(pool: Path) -> Harmed:
        shutil.rmtree(pool)
        shutil.copytree(first, pool)
        return Harmed("the old pool", ("manifest.json",))

    assert (first / "manifest.json").read_bytes() != (pool / "manifest.json").read_bytes()
    assert each(iter([old_manifest, old_shards, old_pool]), stale, by_command) == []


@pytest.mark.promise
@pytest.mark.timeout(1800)
def test_all_of_three_hundred_flips_and_every_change_are_found(
    run: Path, record: Callable[[str, str], None]
) -> None:
    harms = [*map(flip, range(1000, 1300)), *map(cut, range(100)), *CHANGES, forge]
    missed = each(iter(harms), run, by_command)
    assert missed == []
    unseen = len(each(map(flip, range(1000, 1300)), run, by_pyarrow_alone))
    others = len(harms) - 300
    record(
        "corruption is found",
        f"300 of 300 bit flips, {others} of {others} cuts, swaps, losses, additions;"
        f" reading alone misses {unseen} of the flips",
    )


NO_RESULT = ("timings", "proxies@", "report.html", "run.toml", ".lock")
"""What begins like this holds nothing that a result is read from unchecked, or (run.toml) is itself the question."""


def flipped(path: Path, at: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["videos.json", "index.json"])
def test_a_flip_in_a_pointer_is_found_by_every_command(run: Path, name: str) -> None:
    """Any byte of it: the file is named, and no command ends in a traceback."""
    data = (run / name).read_bytes()
    for at in range(0, len(data), 23):
        flipped(run / name, at, 1 << at % 8)
        assert any(name in line for line in by_command(run)), at
        with suppress(StorageError, NotReady):  # what a command says in one sentence
            chain.write_report(chain.account_of(chain.look(str(run))))
        (run / name).write_bytes(data)


def test_damage_does_not_hide_damage(run: Path) -> None:
    """An entry of the shards, an annotation, and the list of videos itself: each is named beside the others."""
    entry = next(run.glob("ledger/shards/*/*.json"))
    table = next(run.glob("annotations/black@*/*.parquet"))
    flipped(entry, 60)
    flipped(table, 60)
    for extra in (None, run / "videos.json", next(run.glob("videos@*/*.parquet"))):
        if extra is not None:
            flipped(extra, 60)
        lines = by_command(run)
        for path in (entry, table, extra):
            assert path is None or sum(path.name in line for line in lines) == 1


@pytest.mark.promise
@pytest.mark.timeout(1800)
def test_a_flip_in_any_table_or_ledger_entry_is_found(run: Path, record: Callable[[str, str], None]) -> None:
    files = [path for path in sorted(run.rglob("*")) if path.is_file() and path.name != "stage.json"]
    files = [path for path in files if not str(path.relative_to(run)).startswith(NO_RESULT)]
    dice = random.Random(7)
    missed = []
    for number in range(200):
        path = dice.choice(files)
        data = path.read_bytes()
        changed = bytearray(data)
        at = dice.randrange(len(data))
        changed[at] ^= 1 << dice.randrange(8)
        path.write_bytes(changed)
        if not any(path.name in line for line in by_command(run)):
            missed.append(f"{number}: {path.relative_to(run)} at {at}")
        path.write_bytes(data)
    assert missed == []
    assert by_command(run) == []
    record(
        "corruption of the rest",
        f"200 of 200 bit flips in {len(files)} tables, entries, manifests and shards",
    )
