"""The example feeds a loop: whole batches of one bucket, in a repeatable order, with the right pictures."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.encode import EncodeJob
from pipeline.frames import Decoder, VideoIndex
from pipeline.shards import Manifest, ShardFile, ShardRow, write_shard

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "read_shards.py"
CAPTION = (
    '{"subjects":[{"TYPES":{"type":"Human","sub_type":"Woman"},"appearance":"","action":"","expression":"",'
    '"position":"","is_main_subject":true}],"shot_type":"close_up","shot_angle":"","shot_position":"",'
    '"camera_motion":"The camera is static.","environment":"","lighting":""}'
)
PROMPT = "A close-up. There is a woman. The camera is static."


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("read_shards", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """Seven clips of one bucket in two files and three of another: the number of a clip's first frame is in it."""
    folder = tmp_path_factory.mktemp("pool")
    path = make_video(folder / "v.mp4", frames=80, bframes=2, audio=True)
    shapes = {"t009-ar5x3": ((160, 96), 9, range(0, 70, 10)), "t001-ar1x1": ((96, 96), 1, range(5, 8))}
    files = []
    with Decoder() as decoder:
        index = VideoIndex.from_row(decoder.probe(str(path)))
        for bucket, ((width, height), frames, starts) in shapes.items():
            jobs = [EncodeJob(start, start + 9, width, height, 24, frames) for start in starts]
            rows = [
                ShardRow(
                    clip_id=f"{bucket}-{clip.first_frame:03d}",
                    video_id="v",
                    source_path="v.mp4",
                    start_s=clip.first_frame / 24,
                    end_s=(clip.last_frame + 1) / 24,
                    clip=clip,
                    bucket=bucket,
                    pool="256p",
                    caption=CAPTION,
                    prompt_t2v=PROMPT,
                    prompts=[],
                )
                for clip in decoder.encode(str(path), index, jobs)
            ]
            for name, some in (("a", rows[:4]), ("b", rows[4:])):
                if some:
                    data = write_shard(some)
                    (folder / bucket).mkdir(exist_ok=True)
                    (folder / bucket / f"{name}.parquet").write_bytes(data)
                    digest = hashlib.sha256(data).hexdigest()
                    files.append(ShardFile(f"{bucket}/{name}.parquet", digest, len(data), len(some)))
    (folder / "manifest.json").write_bytes(Manifest("256p", "r", {}, tuple(files)).to_json())
    return folder


def order(example: ModuleType, pool: Path, seed: int, epoch: int) -> list[list[str]]:
    return [[row["clip_id"] for row in batch] for batch in example.batches(pool, 2, seed, epoch)]


def test_batches_are_of_one_bucket_and_show_each_clip_once(example: ModuleType, pool: Path) -> None:
    found = order(example, pool, 3, 0)
    assert [len(batch) for batch in found] == [2, 2, 2, 2]
    shown = [clip for batch in found for clip in batch]
    assert len(set(shown)) == 8
    assert all(len({clip[:4] for clip in batch}) == 1 for batch in found)


def test_the_order_is_decided_by_seed_and_epoch(example: ModuleType, pool: Path) -> None:
    assert order(example, pool, 3, 0) == order(example, pool, 3, 0)
    assert len({str(order(example, pool, seed, epoch)) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6


def test_pictures_are_those_of_the_clip(example: ModuleType, pool: Path, barcode: Any) -> None:
    shown = 0
    for batch in example.batches(pool, 1, 0, 0):
        row = batch[0]
        video = example.pictures(row["media"])
        assert video.shape == (3, row["frames"], row["height"], row["width"])
        assert -1 <= float(video.min()) < -0.5
        if row["frames"] == 9:  # the square bucket cuts the outer columns away
            assert 0.5 < float(video.max()) <= 1
            scaled = [((picture + 1) * 127.5).permute(1, 2, 0).numpy() for picture in video.unbind(1)]
            first, last = row["first_frame"], row["last_frame"]
            assert [barcode.read(picture) for picture in scaled] == list(range(first, last + 1))
            shown += 1
    assert shown == 7


def test_the_prompt_is_the_shards_or_for_format_1_0_what_they_would_hold(example: ModuleType) -> None:
    old = {"clip_id": "000", "caption": CAPTION}  # this clip drops nothing
    assert example.prompt(old) == PROMPT
    assert example.prompt(old | {"caption": None}) == ""
    assert example.prompt(old | {"prompts": [], "prompt_t2v": "A street."}) == "A street."
    assert example.prompt(old | {"prompts": [], "prompt_t2v": None}) == ""


def run_in(pool: Path, *arguments: str) -> list[str]:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=pool).stdout.splitlines()


@pytest.mark.slow
def test_the_loop_runs_as_its_docstring_says(pool: Path) -> None:
    lines = run_in(pool, str(EXAMPLE), str(pool))
    assert len(lines) == 4
    assert (
        sum("t009-ar5x3 (2, 3, 9, 96, 160) [24, 24] A close-up. There is a woman." in line for line in lines)
        == 3
    )
    assert sum("t001-ar1x1 (2, 3, 1, 96, 96)" in line for line in lines) == 1


def test_the_format_page_reads_a_pool_with_pyarrow_alone(pool: Path) -> None:
    text = (ROOT / "docs" / "shards.md").read_text()
    (block,) = (block.partition("```")[0] for block in text.split("```python\n")[1:])
    lines = run_in(pool, "-c", block)
    assert len(lines) == 10
    assert lines[9].startswith("t009-ar5x3 t009-ar5x3-060 video/mp4")


def test_the_format_page_names_every_column(pool: Path) -> None:
    text = (ROOT / "docs" / "shards.md").read_text()
    columns = text.partition("## Columns")[2].partition("\n## ")[0]
    documented = [line.split("|")[1:3] for line in columns.splitlines() if line.startswith("| `")]
    schema = pq.read_schema(pool / "t009-ar5x3" / "a.parquet")
    assert [name.strip(" `") for name, _ in documented] == schema.names
    for name, kind in documented:
        if kind.strip().isidentifier():
            assert str(schema.field(name.strip(" `")).type).replace("double", "float64") == kind.strip()
