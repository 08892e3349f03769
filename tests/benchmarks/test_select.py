"""The synthetic table of the recipes' benchmark has what the recipes ask for, and each rule something to drop."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from benchmarks import select
from pipeline.recipe import load
from pipeline.whatif import funnel


def test_every_pool_keeps_and_drops_some_of_the_table() -> None:
    found = funnel(load(select.RECIPE), [select.part(0, 20_000)])
    kept = [found.total.clips, *(tally.clips for _, tally in found.pools)]
    assert all(wide > narrow > 0 for wide, narrow in pairwise(kept))
    engines = ("aesthetic_engine", "iqa_engine", "vqa_engine", "vtss_engine")
    own = [rule for rule in found.rules if not rule.rule.endswith((*engines, "is_image"))]
    assert [rule.rule for rule in own if not rule.failed.clips] == []


def test_the_benchmark_prints_a_line_a_step(tmp_path: Path) -> None:
    select.write_table(tmp_path, 5_000)
    assert select.select(tmp_path).endswith("of 5,000 clips kept")
    before, after = select.compare(tmp_path).split(" clips")[0].split(" -> ")
    assert int(after) < int(before)
