"""A PyTorch loop over a pool's shards: batches of one bucket each, in an order that seed and epoch alone decide.

python examples/read_shards.py RUN/shards/256p

Needs pyarrow, av and torch. Of rushes it needs the serializer alone, and that only for shards of format 1.0, which hold
no prompts yet. docs/shards.md describes the columns.
"""

import io
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pyarrow.parquet as pq
import torch


def batches(pool: Path, size: int, seed: int, epoch: int) -> Iterator[list[dict[str, Any]]]:
    """Rows of one bucket, `size` at a time; what a bucket has left over at the end of an epoch is not shown."""
    dice, plan = random.Random(f"{seed} {epoch}"), []
    clips: dict[str, list[tuple[Path, int, int]]] = defaultdict(list)
    for file in json.loads((pool / "manifest.json").read_text())["files"]:
        shard = pq.read_metadata(pool / file["path"])
        for group in range(shard.num_row_groups):
            rows = range(shard.row_group(group).num_rows)
            clips[file["bucket"]] += [(pool / file["path"], group, row) for row in rows]
    for bucket in clips.values():
        dice.shuffle(bucket)
        plan += [bucket[first : first + size] for first in range(0, len(bucket) - size + 1, size)]
    dice.shuffle(plan)
    for batch in plan:
        yield [read_row(*place) for place in batch]


def read_row(path: Path, group: int, row: int) -> dict[str, Any]:
    """One clip's columns; damaged data is an error."""
    table = pq.ParquetFile(path, page_checksum_verification=True).read_row_group(group)
    return dict(table.slice(row, 1).to_pylist()[0])


def pictures(media: bytes) -> torch.Tensor:
    """The clip as (3, frames, height, width), -1 to 1."""
    with av.open(io.BytesIO(media)) as container:
        frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return torch.stack(frames).permute(3, 0, 1, 2).float() / 127.5 - 1


def prompt(row: dict[str, Any]) -> str:
    """The clip's text-to-video prompt; empty where its caption says nothing."""
    if "prompts" in row:
        return row["prompt_t2v"] or ""
    from captioner.schema import loads
    from captioner.serialize import write

    return write(loads(row["caption"]), row["clip_id"], "t2v").text if row["caption"] else ""


if __name__ == "__main__":
    for batch in batches(Path(sys.argv[1]), size=2, seed=0, epoch=0):
        videos = torch.stack([pictures(row["media"]) for row in batch])
        prompts = [prompt(row) for row in batch]
        rates = torch.tensor([row["fps"] for row in batch])
        print(batch[0]["bucket"], tuple(videos.shape), rates.tolist(), prompts[0][:80])  # a training step
