"""Duplicates of earlier runs' clips, by the index that every run keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from filters.dedup import COLUMNS, DUPLICATES
from jobs import chain
from jobs.config import ConfigError
from jobs.pools import Pools
from jobs.run import NotReady


def told(run: Any) -> list[dict[str, Any]]:
    pools = Pools(run)
    return run.store.tables(pools.dedup().outputs, DUPLICATES).to_pylist()


def test_a_run_keeps_an_index_of_its_clips(whole: tuple[Any, Path]) -> None:
    small, reference = whole
    run = small.run(reference)
    step = json.loads((reference / "index.json").read_text())["step"]
    (output,) = run.store.entry(step, "all").outputs
    index = run.store.table(output.path)
    assert index.column_names == list(COLUMNS)
    assert index.num_rows == sum(part.output.rows for part in run.parts) > 0
    assert not (reference / "against.json").exists()


def test_clips_of_an_earlier_run_are_duplicates_in_a_later_one(
    whole: tuple[Any, Path], tmp_path: Path
) -> None:
    small, reference = whole
    later = tmp_path / "later"
    shutil.copytree(reference, later)
    before = {one["clip_id"]: one for one in told(small.run(later))}
    run = small.run(later, dedup={"against": [str(reference)]})
    found = told(run)
    assert set(run.did) == {"dedup"}  # nothing is measured again, and the index is still right
    for one in found:
        measurable = before[one["clip_id"]]["duplicate_rank"] is not None
        assert one["duplicate_rank"] != 0 or not measurable
        if measurable:
            assert one["duplicate_run"] == str(reference)
            assert one["duplicate_kind"] == "exact"
    again = small.run(later, dedup={"against": [str(reference)]})
    chain.do(again, "dedup")
    assert not again.did


def test_the_pin_holds_while_the_earlier_run_is_away(whole: tuple[Any, Path], tmp_path: Path) -> None:
    small, reference = whole
    earlier, later = tmp_path / "earlier", tmp_path / "later"
    for folder in (earlier, later):
        shutil.copytree(reference, folder)
    settings = {"dedup": {"against": [str(earlier)]}}
    expected = told(small.run(later, **settings))
    shutil.rmtree(earlier)
    looked = small.run(later, **settings)
    batches = list(Pools(looked).measured(["black_ratio"]))
    assert [row for batch in batches for row in batch.column("duplicate_of").to_pylist()] == [
        one["duplicate_of"] for one in expected
    ]
    with pytest.raises(NotReady, match=f"{earlier} has no index of its clips"):
        chain.do(small.run(later, **settings), "dedup")


def test_a_run_is_not_ready_before_it_has_looked_at_the_earlier_one(
    whole: tuple[Any, Path], tmp_path: Path
) -> None:
    small, reference = whole
    later = tmp_path / "later"
    shutil.copytree(reference, later)
    run = small.run(later, dedup={"against": [str(reference)]})
    with pytest.raises(NotReady, match="run `rushes dedup"):
        list(Pools(run).measured(["black_ratio"]))


def test_a_run_is_not_its_own_past(whole: tuple[Any, Path], tmp_path: Path) -> None:
    small, reference = whole
    later = tmp_path / "later"
    shutil.copytree(reference, later)
    with pytest.raises(NotReady, match="itself"):
        chain.do(small.run(later, dedup={"against": [str(later)]}), "dedup")


def test_earlier_runs_are_named_without_keys_and_taken_from_where_the_settings_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dedup\.against"):
        chain.resolve("r", None, (), {"dedup.against": ("s3://key:secret@bucket/run",)})
    (tmp_path / "settings.toml").write_text('[dedup]\nagainst = ["old", "s3://bucket/run"]\n')
    found = chain.resolve(str(tmp_path / "r"), tmp_path / "settings.toml", (), {})
    assert found.deduplicator().against == (str(tmp_path / "old"), "s3://bucket/run")
