"""Real clips at both ends of each measurement, as pictures to judge by eye.

    python -m benchmarks.accuracy.spot RUN [--docs FOLDER]

RUN is a run directory whose clips are annotated. Writes images/accuracy/spot-*.jpg: a row a column, the clips with the
lowest values at the left, with the highest at the right.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.accuracy import sheet
from benchmarks.accuracy.harness import DOCS
from jobs import chain
from jobs.tables import measurements
from pipeline.frames import Decoder, VideoIndex
from pipeline.stage import FrameSpec

EACH = 3
"""Clips at each end."""
SHEETS: Mapping[str, tuple[str, ...]] = {
    "moving": (
        "motion_score",
        "camera_motion_score",
        "jitter",
        "static_ratio",
        "black_ratio",
        "flicker_score",
    ),
    "shown": ("text_area_ratio", "subtitle_ratio", "logo_area_ratio", "overlay_area_ratio", "effects_score"),
    "made": (
        "mosaic_ratio",
        "split_score",
        "clean_area_ratio",
        "slideshow_score",
        "screen_score",
        "animation_score",
    ),
    "sharp": ("blur_effect", "sharpness", "blockiness", "noise_sigma", "combing", "duplicate_frame_ratio"),
    "good": ("aesthetic_score", "iqa_score", "vqa_score", "vtss_score", "brightness", "saturation"),
}
"""By sheet, its columns; those that the run does not have are left out."""
LOOK = FrameSpec(1.0, short_side_px=180)


def ends(table: pa.Table, column: str) -> tuple[list[int], list[int]]:
    """Row numbers of the EACH lowest and EACH highest values, rising, each video once at an end; nulls left out."""
    values = table.column(column).cast(pa.float64()).to_numpy()
    order = [int(row) for row in np.argsort(values, kind="stable") if not np.isnan(values[row])]
    videos = table.column("video_id").to_pylist()

    def first(rows: Sequence[int]) -> list[int]:
        chosen: dict[str, int] = {}
        for row in rows:
            chosen.setdefault(videos[row], row)
        rest = [row for row in rows if row not in chosen.values()]
        return [*chosen.values(), *rest][:EACH]

    high = first(order[::-1])
    low = [row for row in first(order) if row not in high]
    return low, sorted(high, key=order.index)


def picture(video: Mapping[str, Any], clip: Mapping[str, Any], decoder: Decoder) -> bytes:
    """The middle frame of a clip, small."""
    middle = (clip["start_frame"] + clip["end_frame"]) // 2
    index = VideoIndex.from_row(video)
    (batch,) = decoder.read(video["path"], index, [(middle, middle + 1)], LOOK)
    return sheet.thumb(batch.images[0])


def write(table: pa.Table, videos: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """The sheets of a table of measured clips, written into a folder that is there; `videos` are by video_id."""
    written = []
    with Decoder() as decoder:
        for name, columns in SHEETS.items():
            rows = []
            for column in columns:
                if column in table.column_names:
                    low, high = ends(table, column)
                    clips = table.take([*low, *high]).to_pylist()
                    texts = [f"{clip[column]:.3g}" for clip in clips]
                    thumbs = [picture(videos[clip["video_id"]], clip, decoder) for clip in clips]
                    cells = [sheet.cell(*pair, sheet.GRAY) for pair in zip(thumbs, texts, strict=True)]
                    if cells:
                        rows.append((f"{column}: lowest, highest", cells))
            if rows:
                sheet.save(folder / f"spot-{name}.jpg", sheet.grid(rows))
                written.append(folder / f"spot-{name}.jpg")
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description="Real clips at both ends of each measurement.")
    parser.add_argument("run")
    parser.add_argument("--docs", type=Path, default=DOCS)
    asked = parser.parse_args()
    folder = asked.docs / "images" / "accuracy"
    folder.mkdir(parents=True, exist_ok=True)
    run = chain.look(asked.run)
    for path in write(pa.concat_tables(measurements(run)), run.used, folder):
        print(path)


if __name__ == "__main__":
    main()
