"""The whole chain over tiny media: what comes out of the other end."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import chain
from jobs.config import ConfigError
from pipeline.store import Entry, Store


def test_the_chain_makes_shards_of_videos_and_pictures(whole: tuple[Any, Path]) -> None:
    small, out = whole
    account = small.account(out)
    assert account.videos().to_json() == {"in": 6, "kept": 4, "rejected": 1, "failed": 1, "pending": 0}
    assert account.clips()[0].to_json() == {"in": 5, "kept": 4, "rejected": 1, "failed": 0, "pending": 0}
    manifest = json.loads((out / "shards/tiny/manifest.json").read_text())
    buckets = {name: bucket["rows"] for name, bucket in manifest["buckets"].items()}
    assert {name.split("-")[0]: rows for name, rows in buckets.items()} == {"t001": 1, "t017": 3}
    assert chain.verify(str(out), deep=True) == []
    assert (out / "report.html").stat().st_size > 10_000


class Counting(Store):
    """A run directory that notes which entries of its ledger are asked for."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.asked: Counter[tuple[str, str]] = Counter()

    def entry(self, step: str, unit: str) -> Entry | None:
        self.asked[step, unit] += 1
        return super().entry(step, unit)


def test_when_all_is_done_each_part_of_the_ledger_is_read_once(
    whole: tuple[Any, Path], tmp_path: Path
) -> None:
    """A file a stage and part: read over and over, ten thousand parts on an object store would take hours."""
    small, done = whole
    shutil.copytree(done, tmp_path / "run")
    store = Counting(str(tmp_path / "run"))
    again = small.run(tmp_path / "run", store=store)
    chain.everything(again)
    assert not again.did
    by_part = {key: times for key, times in store.asked.items() if key[1].startswith("part-")}
    assert {step.split("@")[0] for step, _ in by_part} >= {"annotations/black", "annotations/phash"}
    assert {key: times for key, times in by_part.items() if times > 1} == {}


@pytest.mark.slow
def test_columns_of_a_manifest_reach_the_shards(small: Any, tmp_path: Path) -> None:
    (small.media / "list.csv").write_text("path,title,licence\na.mp4,First,CC0\nc.png,Picture,CC BY\n")
    small.done(tmp_path / "run", sources=[str(small.media / "list.csv")])
    rows = [
        row
        for path in (tmp_path / "run/shards").rglob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    extras = {Path(row["source_path"]).name: json.loads(row["extra"]) for row in rows}
    assert extras == {
        "a.mp4": {"title": "First", "licence": "CC0"},
        "c.png": {"title": "Picture", "licence": "CC BY"},
    }


def test_progress_in_a_log_is_whole_lines_and_few(whole: tuple[Any, Path]) -> None:
    said = whole[0].said[0].getvalue()
    assert "\r" not in said
    lines = [line for line in said.splitlines() if "%" in line]
    assert [line.split()[0] for line in lines if "100%" in line] == [
        "ingest",
        "scan",
        "shots",
        "annotate",
        "shard",
    ]
    assert len(lines) < 15
    assert any(line.startswith("shard tiny 100%") for line in lines)


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    from jobs.progress import Lines

    now = [0.0]
    said: list[str] = []
    lines = Lines(said.append, "scan", 100, "frames", lambda: now[0])
    for second in range(1, 50):
        now[0] = float(second)
        lines.update(2)
    lines.end()
    assert len(said) == 5
    assert said[0] == "scan        20% 20/100 frames in 10 s, 2.0 frames/s, 40 s left"
    lines.note("engine idle 3 %")
    lines.end()
    assert said[-1].endswith(" frames/s, 1 s left, engine idle 3 %")


def test_steps_on_an_empty_run_make_empty_tables(small: Any, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    run = small.run(tmp_path / "run", sources=[str(tmp_path / "none")])
    for step in chain.STEPS[:-1]:
        chain.do(run, step)
    account = small.account(tmp_path / "run")
    assert account.videos().entered == 0
    assert account.accounts[0].manifest.totals == {"files": 0, "rows": 0, "bytes": 0}


def test_a_balanced_pool_needs_what_it_is_balanced_by(small: Any, tmp_path: Path) -> None:
    small.recipe.write_text(small.recipe.read_text() + "\n[balance.axis.camera_speed]\ncap = 0.5\n")
    with pytest.raises(ConfigError, match="balances by camera_speed"):
        small.run(tmp_path / "run")
    assert not (tmp_path / "run" / "videos").exists()
