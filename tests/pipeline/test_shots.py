"""Shots and clips of groups: the name of a clips part stands for its rows, and counts are of all of a unit's files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.clip import VIDEOS
from pipeline.frames import pack_pts
from pipeline.runner import Done
from pipeline.scan import SIGNALS, Group, Span, Unit
from pipeline.segment import Segment
from pipeline.shots import FindShots, part_name
from pipeline.store import Entry, Failure, Store

FRAMES, SIGNALS_STEP = 40, "signals@0"


def video(number: int) -> dict[str, Any]:
    """The VIDEOS row of an invented video of one shot, 40 frames at 20 fps."""
    plain = {"video_id": f"{number:020x}", "frame_count": FRAMES, "duration_s": 2.0, "seekable": True}
    plain |= {"time_base_num": 1, "time_base_den": 20, "pts": pack_pts(np.arange(FRAMES))}
    plain |= {"sar_num": 1, "sar_den": 1, "width": 320, "height": 240}
    plain |= {"fps_num": 20, "fps_den": 1, "is_image": False, "vfr": False}
    return dict.fromkeys(VIDEOS.names) | plain


def signals(store: Store, group: Group, failed: str | None) -> None:
    """Commits the signals of a group, one of whose videos could not be decoded."""
    (unit,) = group.units
    rows = []
    for one in group.videos:
        row: dict[str, Any] = {"video_id": one["video_id"], "start_frame": 0}
        if one["video_id"] == failed:
            row |= {"error_reason": "decode_error", "error": "damaged"}
        else:
            row |= dict.fromkeys(("transnet", "transnet_many", "content", "adaptive"), [0.0] * FRAMES)
            row |= {"luma": [128.0] * FRAMES}
        rows.append(row)
    output = store.put_table(f"{SIGNALS_STEP}/{unit.name}.parquet", pa.Table.from_pylist(rows, SIGNALS))
    failures = (Failure(failed, "segment", "decode_error", "damaged"),) if failed else ()
    store.record(Entry(SIGNALS_STEP, unit.name, (output,), {}, failures))


def worked(task: FindShots, group: Group) -> Entry:
    assert any(isinstance(event, Done) for event in task.run(None, group, {}))
    entry = task.store.entry(task.step, group.name)
    assert entry is not None
    return entry


def parts(entry: Entry) -> list[str]:
    return [output.path for output in entry.outputs if output.path.startswith("clips@")]


@pytest.fixture
def task(tmp_path: Path) -> FindShots:
    return FindShots(Store(str(tmp_path)), Segment(min_clip_s=0.7, max_clip_s=5.0), SIGNALS_STEP)


def test_a_part_made_again_after_a_retry_has_another_name(task: FindShots, tmp_path: Path) -> None:
    videos = (video(1), video(2))
    group = Group("part-g", videos, (Unit("part-u", tuple(Span(one, 0, FRAMES) for one in videos)),))
    signals(task.store, group, failed=video(1)["video_id"])
    first = worked(task, group)
    assert first.counts == {"videos": 2, "failed": 1, "shots": 1, "clips": 1, "dropped": 0}
    signals(task.store, group, failed=None)
    second = worked(task, replace(group, retry=True))
    assert second.counts == {"videos": 2, "failed": 0, "shots": 2, "clips": 2, "dropped": 0}
    assert parts(second)[0] == parts(first)[0]
    assert len(parts(second)) == 2
    (tmp_path / parts(second)[1]).unlink()
    third = worked(task, replace(group, retry=True))
    assert third.counts == second.counts
    (whole,) = parts(third)
    assert whole not in parts(second)
    assert task.store.table(whole).num_rows == 2


def test_a_parts_name_is_its_groups_and_its_clips() -> None:
    names = {
        part_name(group, pa.table({"clip_id": ids}))
        for group in ("part-a", "part-b")
        for ids in (["x"], ["y"], ["x", "y"])
    }
    assert len(names) == 6
    assert part_name("part-a", pa.table({"clip_id": ["x"]})) == "part-a-2d711642"
