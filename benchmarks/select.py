"""Seconds and memory to judge, count and compare recipes over a synthetic table.

    python -m benchmarks.select [CLIPS] [FOLDER]

CLIPS is 10,000,000 by default. The table is written to FOLDER (a temporary one by default) as Parquet parts; each
step then runs in a process of its own and prints wall and CPU seconds and its peak memory.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.recipe import Recipe, judge, load
from pipeline.whatif import funnel, whatif

PART_ROWS = 1_000_000
BATCH_ROWS = 1 << 18
RECIPE = "sft_540p"


ENGINES = {"aesthetic": "rules/1", "iqa": "brisque/1", "vqa": "pooled/1", "vtss": "columns/1"}
"""Who wrote the scores, as the recipes ask."""


def part(number: int, rows: int) -> pa.Table:
    """Clips whose measurements are spread so that each rule has something to drop."""
    dice = np.random.default_rng(number)
    ids = np.arange(number * PART_ROWS, number * PART_ROWS + rows)
    columns = {
        "clip_id": pa.array(np.char.mod("%020x", ids)),
        "duration_s": dice.gamma(3.0, 2.0, rows),
        "fps": dice.choice([15.0, 23.976, 24.0, 25.0, 29.97, 30.0, 60.0], rows),
        "short_side_px": dice.choice(np.array([180, 360, 480, 720, 1080, 2160], np.int32), rows),
        "is_image": dice.random(rows) < 0.2,
        "hdr": dice.random(rows) < 0.02,
        "duplicate_rank": dice.choice(np.array([0, 0, 0, 1], np.int32), rows),
        "motion_score": dice.lognormal(-2.6, 1.5, rows),
        "jitter": dice.lognormal(-4, 1.5, rows),
        "static_ratio": np.clip(dice.normal(-0.3, 0.4, rows), 0, 1),
        "black_ratio": np.clip(dice.normal(-0.5, 0.3, rows), 0, 1),
        "brightness": dice.beta(3, 4, rows),
        "shadow_clip_ratio": dice.beta(0.5, 4, rows),
        "highlight_clip_ratio": dice.beta(0.5, 8, rows),
        "blur_effect": pa.array(dice.beta(4, 9, rows), mask=dice.random(rows) < 0.01),
        "crop_area_ratio": np.minimum(1, dice.normal(1.1, 0.2, rows)),
        "crop_text_ratio": np.clip(dice.normal(-0.03, 0.03, rows), 0, 1),
        "text_area_ratio": np.clip(dice.normal(-0.02, 0.06, rows), 0, 1),
        "mosaic_ratio": np.clip(dice.normal(-0.05, 0.03, rows), 0, 1),
        "split_score": np.where(dice.random(rows) < 0.02, 0.8, 0.0),
        "effects_score": dice.beta(0.3, 2, rows),
        "screen_score": dice.beta(0.2, 4, rows),
        "hud_score": dice.beta(0.2, 4, rows),
        "aesthetic_score": dice.beta(5, 7, rows),
        "flicker_score": dice.lognormal(-8, 1.5, rows),
        "duplicate_frame_ratio": np.clip(dice.normal(-0.1, 0.1, rows), 0, 1),
        "combing": dice.lognormal(-9, 1.5, rows),
        "noise_sigma": dice.lognormal(-1.3, 1, rows),
        "blockiness": dice.lognormal(-1.2, 0.7, rows),
        "iqa_score": dice.normal(55, 20, rows),
        "vqa_score": dice.beta(4, 4, rows),
        "vtss_score": dice.beta(6, 5, rows),
        **{f"{name}_engine": np.full(rows, label) for name, label in ENGINES.items()},
    }
    return pa.table(columns)


def write_table(folder: Path, clips: int) -> None:
    for number, start in enumerate(range(0, clips, PART_ROWS)):
        table = part(number, min(PART_ROWS, clips - start))
        pq.write_table(table, folder / f"part-{number:05d}.parquet", row_group_size=BATCH_ROWS)


def read(folder: Path, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    for file in sorted(folder.glob("part-*.parquet")):
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH_ROWS, columns=list(columns)):
                yield pa.Table.from_batches([batch])


def select(folder: Path) -> str:
    """Judges every clip and writes the verdicts."""
    recipe = load(RECIPE)
    kept = rows = 0
    (folder / "verdicts").mkdir(exist_ok=True)
    for number, batch in enumerate(read(folder, ("clip_id", *recipe.columns))):
        verdicts = judge(recipe, batch)
        pq.write_table(verdicts, folder / "verdicts" / f"part-{number:05d}.parquet")
        kept += int(np.count_nonzero(verdicts.column("kept").to_numpy()))
        rows += verdicts.num_rows
    return f"{kept:,} of {rows:,} clips kept"


def count(folder: Path) -> str:
    """The funnel of one recipe."""
    recipe = load(RECIPE)
    found = funnel(recipe, read(folder, ("duration_s", *(c for c in recipe.columns if c != "duration_s"))))
    return ", ".join(f"{name} {tally.clips:,}" for name, tally in found.pools)


def compare(folder: Path) -> str:
    """One recipe against itself with one threshold moved."""
    before = load(RECIPE)
    after = with_less_text(before)
    columns = tuple(dict.fromkeys(("duration_s", *before.columns, *after.columns)))
    final = whatif(before, after, read(folder, columns)).final
    return f"{final.before.clips:,} -> {final.after.clips:,} clips, {final.lost.clips:,} lost"


def with_less_text(recipe: Recipe) -> Recipe:
    return replace(
        recipe, own=tuple(replace(r, most=0.0) if r.column == "crop_text_ratio" else r for r in recipe.own)
    )


def timed(step: Callable[[Path], str], folder: Path) -> str:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    answer = step(folder)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return f"{step.__name__:8s} {wall_s:6.1f} s wall {cpu_s:6.1f} s CPU {peak_mib:6d} MiB peak   {answer}"


def main(clips: int, folder: Path) -> None:
    write_table(folder, clips)
    size_mib = sum(file.stat().st_size for file in folder.glob("part-*.parquet")) >> 20
    print(
        f"{clips:,} clips, {size_mib:,} MiB of measurements, recipe {RECIPE}: {len(load(RECIPE).rules)} rules"
    )
    for step in (select, count, compare):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            print(fresh.submit(timed, step, folder).result(), flush=True)


if __name__ == "__main__":
    asked = int(float(sys.argv[1])) if len(sys.argv) > 1 else 10_000_000
    if len(sys.argv) > 2:
        main(asked, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(asked, Path(scratch))
