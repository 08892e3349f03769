"""`rushes verify`: what is lost of a run as it stands is a line; what is not done yet or no longer used is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from jobs import chain
from jobs.config import dump
from jobs.pools import Pools
from jobs.proof import Proof
from jobs.shards import Shards
from pipeline.shots import part_name
from pipeline.store import Entry, Failure, StorageError, Store, Unreachable


@pytest.fixture
def copy(whole: tuple[Any, Path], tmp_path: Path) -> Path:
    """A run that is done, to be changed."""
    shutil.copytree(whole[1], tmp_path / "run")
    return tmp_path / "run"


def lose(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("shards/tiny/manifest.json", "shards/tiny/manifest.json is missing"),
        ("shards", "shards/tiny/manifest.json is missing"),
        ("ledger", "ledger/probed@"),
        ("videos.json", "videos.json is missing"),
        ("ledger/probed@*", "ledger/probed@"),
        ("ledger/videos@*", "ledger/videos@"),
        ("ledger/signals@*", "ledger/signals@"),
        ("ledger/segment@*", "ledger/segment@"),
        ("ledger/annotations/black@*", "ledger/annotations/black@"),
        ("ledger/dedup@*", "ledger/dedup@"),
        ("ledger/verdicts", "ledger/verdicts/tiny@"),
        ("ledger/shards", "ledger/shards/tiny@"),
        ("clips@*", "is missing"),
        ("dedup@*", "is missing"),
    ],
)
def test_what_is_lost_is_a_line(copy: Path, what: str, line: str) -> None:
    (path,) = copy.glob(what)
    lose(path)
    assert any(line in problem for problem in chain.verify(str(copy), deep=False))


@pytest.mark.parametrize(
    "step", ["probed@*", "segment@*", "annotations/black@*", "verdicts/tiny@*", "shards/*"]
)
def test_a_torn_entry_is_a_line(copy: Path, step: str) -> None:
    torn = next(copy.glob(f"ledger/{step}/*.json"))
    torn.write_bytes(torn.read_bytes()[:20])
    problems = chain.verify(str(copy), deep=False)
    assert any(f"{torn.relative_to(copy)} of run {copy} is torn" in problem for problem in problems)


def test_damage_of_the_same_size_is_a_line(copy: Path) -> None:
    (path,) = copy.glob("verdicts/tiny@*/*.parquet")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    assert f"{path.relative_to(copy)} is damaged: its bytes are not those of the ledger" in chain.verify(
        str(copy), deep=False
    )


def test_what_is_no_longer_used_may_be_deleted(copy: Path, whole: tuple[Any, Path], tmp_path: Path) -> None:
    """Another dedup setting and another recipe: the old folders and the old buckets' folders are no part of the run."""
    old = next(copy.glob("dedup@*"))
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(whole[0].recipe.read_text().replace('"256p"', '"360p"').replace("1.5", "3.0"))
    whole[0].done(copy, recipes=[str(recipe)], dedup={"max_bits": 7})
    lose(old)
    assert chain.verify(str(copy), deep=False) == []
    assert all(any(folder.iterdir()) for folder in (copy / "shards/tiny").iterdir() if folder.is_dir())


def test_a_folder_that_an_earlier_sweep_left_empty_goes(copy: Path, whole: tuple[Any, Path]) -> None:
    (copy / "shards/tiny/t999-ar1x1").mkdir()
    chain.do(whole[0].run(copy), "shard")
    assert not (copy / "shards/tiny/t999-ar1x1").exists()
    assert chain.verify(str(copy), deep=False) == []


@pytest.mark.slow
def test_steps_that_are_not_done_are_no_fault(small: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run = small.run(out)
    run.store.put_text("run.toml", dump(run.config))
    assert chain.verify(str(out), deep=False) == []
    for step in chain.STEPS[:-1]:
        chain.do(run, step)
        assert chain.verify(str(out), deep=False) == [], step


@pytest.mark.slow
def test_new_sources_and_settings_over_a_whole_run_are_no_fault(
    small: Any, tmp_path: Path, make_video: Callable[..., Path], shots_of: Callable[..., Any]
) -> None:
    out = tmp_path / "run"
    small.done(out)
    make_video(small.media / "new.mp4", frames=30, fps=20, size=(320, 256), draw=shots_of((30, 9)))
    run = small.run(out)
    for step in ("ingest", "segment", "annotate", "dedup", "select"):
        chain.do(run, step)
        assert chain.verify(str(out), deep=False) == [], step
    small.recipe.write_text(small.recipe.read_text().replace("0.5", "0.25"))
    assert chain.verify(str(out), deep=False) == []


@dataclass(frozen=True)
class SweptStore(Store):
    """An object store on which another command, of other settings, sweeps a shard as soon as it is there."""

    def record(self, entry: Entry) -> None:
        super().record(entry)
        if entry.step.startswith("shards/"):
            for output in entry.outputs:
                self.remove(output.path)


@dataclass(frozen=True)
class LostStore(Store):
    """A store that is lost after the ledger has been read."""

    def read(self, path: str) -> bytes:
        if path.startswith("shards/") and path.endswith(".parquet"):
            raise Unreachable("the store does not answer")
        return super().read(path)


def test_a_lost_store_is_no_damage(copy: Path, whole: tuple[Any, Path]) -> None:
    run = whole[0].run(copy, store=LostStore(str(copy)))
    with pytest.raises(Unreachable, match="does not answer"):
        Proof(Shards(Pools(run))).problems()


def test_no_manifest_is_written_of_shards_that_are_gone_again(copy: Path, whole: tuple[Any, Path]) -> None:
    lose(copy / "shards")
    run = whole[0].run(copy, store=SweptStore(str(copy)))
    with pytest.raises(StorageError, match="is another command at work on this run"):
        chain.do(run, "shard")
    assert not (copy / "shards/tiny/manifest.json").exists()


def attempted(store: Store, step: str, unit: str) -> None:
    """Leaves a unit of shots as an attempt leaves it that could not do the first video of its clips."""
    whole = store.recorded(step, unit)
    assert whole is not None
    (clips,) = (output for output in whole.outputs if output.path.startswith("clips@"))
    first = store.table(clips.path).column("video_id")[0].as_py()
    left = []
    for output in whole.outputs:
        part = store.table(output.path).filter(pc.field("video_id") != first)
        name = output.path
        if output == clips:
            store.remove(name)
            name = f"{name.rpartition('/')[0]}/{part_name(unit, part)}.parquet"
        left.append(store.put_table(name, part))
    failure = Failure(first, "segment", "decode_error", "damaged")
    store.record(Entry(step, unit, tuple(left), whole.counts, (failure,)))


@pytest.mark.slow
def test_a_clips_file_lost_after_a_retry_is_made_again(
    small: Any, tmp_path: Path, make_video: Callable[..., Path], shots_of: Callable[..., Any]
) -> None:
    """A part of the clips table never takes the name of another one, whose annotations are there."""
    out = tmp_path / "run"
    make_video(small.media / "later.mp4", frames=30, fps=20, size=(320, 256), draw=shots_of((30, 9)))
    small.done(out)
    entries = [json.loads(path.read_bytes()) for path in out.glob("ledger/segment@*/*.json")]
    found = max(entries, key=lambda entry: float(entry["counts"]["clips"]))
    step, unit, clips = found["step"], found["unit"], found["counts"]["clips"]
    assert clips > 1
    store = small.run(out).store
    attempted(store, step, unit)
    chain.everything(small.run(out))
    again = small.run(out)
    chain.everything(again, retry=True)
    retried = again.store.entry(step, unit)
    assert retried.counts["clips"] == clips
    assert retried.failures == ()
    files = [output.path for output in retried.outputs if output.path.startswith("clips@")]
    assert len(files) == 2
    (out / files[1]).unlink()
    chain.everything(small.run(out))
    assert chain.verify(str(out), deep=False) == []
    assert small.account(out).clips()[0].to_json()["in"] == 6
