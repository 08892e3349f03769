"""Sheets of real clips: which clips stand at the ends, and a sheet that is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.accuracy import sheet, spot
from pipeline.frames import Decoder


def clips(values: list[float | None], videos: list[str]) -> pa.Table:
    count = len(values)
    return pa.table(
        {
            "video_id": videos,
            "start_frame": [0] * count,
            "end_frame": [4] * count,
            "brightness": pa.array(values, pa.float64()),
        }
    )


def test_each_video_comes_once_before_any_comes_twice_and_nulls_never() -> None:
    table = clips([0.1, 0.2, 0.3, 0.4, 0.5, None, 0.9, 0.8], list("aabbccdd"))
    assert spot.ends(table, "brightness") == ([0, 2], [3, 4, 6])


def test_few_clips_stand_at_one_end_only() -> None:
    assert spot.ends(clips([0.5, None], ["a", "b"]), "brightness") == ([], [0])


def test_a_sheet_is_written(make_video: Callable[..., Path], tmp_path: Path) -> None:
    path = make_video(tmp_path / "v.mp4", frames=8, draw=lambda number: np.full((96, 160, 3), 90, np.uint8))
    with Decoder() as decoder:
        row = decoder.probe(str(path)) | {"path": str(path)}
    table = clips([0.1, 0.9, 0.5, 0.6], ["v"] * 4)
    (written,) = spot.write(table, {"v": row}, tmp_path)
    assert written.name == "spot-good.jpg"
    assert 0 < written.stat().st_size <= sheet.MOST_BYTES
