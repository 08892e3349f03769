"""The clips of a run and all that is known of each, joined by position: what recipes judge and reports draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clip import CLIPS, VIDEOS
from pipeline.recipe import Origin
from pipeline.stage import Stage

if TYPE_CHECKING:
    from jobs.run import Part, Run
    from pipeline.annotate import Planned

ROWS = 1 << 16
"""Rows of a joined table: parts are read until there are so many."""

VIDEO_COLUMNS = ("is_image", "vfr", "hdr", "interlaced", "bit_depth", "audio_streams")
"""What a recipe may ask of a clip's video."""
CLIP_COLUMNS = ("duration_s", "short_side_px", "long_side_px", "aspect_ratio", "pixels")
"""What follows from a clip's own row."""


def measurements(run: Run, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The joined table in batches, in the order of the parts: CLIPS, VIDEO_COLUMNS, CLIP_COLUMNS, every stage's columns
    (or those of `columns`), and `failed_stages` (list of the stages whose row is an error)."""
    planned = [p for p in run.planned if _wanted(p, columns)]
    parts: list[Part] = []
    rows = 0
    for part in run.parts:
        parts.append(part)
        rows += part.output.rows
        if rows >= ROWS:
            yield _joined(run, planned, parts, columns)
            parts, rows = [], 0
    if parts:
        yield _joined(run, planned, parts, columns)


def schema(stages: Sequence[Stage]) -> pa.Schema:
    """The columns that `measurements` gives of these stages, `failed_stages` apart."""
    videos = pa.schema([VIDEOS.field(name) for name in ("video_id", *VIDEO_COLUMNS)])
    known = with_derived(CLIPS.empty_table(), videos.empty_table()).schema
    return pa.schema([*known, *(column for stage in stages for column in stage.columns)])


def _wanted(planned: Planned, columns: Sequence[str] | None) -> bool:
    return columns is None or bool(set(columns) & set(planned.stage.columns.names))


def _joined(
    run: Run, planned: Sequence[Planned], parts: Sequence[Part], columns: Sequence[str] | None
) -> pa.Table:
    table = run.store.tables([part.output for part in parts], CLIPS)
    table = with_derived(table, run.used_columns(VIDEO_COLUMNS))
    failed = [np.zeros(table.num_rows, dtype=np.bool_) for _ in planned]
    for number, one in enumerate(planned):
        names = [n for n in one.stage.columns.names if columns is None or n in columns]
        read = ["clip_id", *names, "error_reason"]
        outputs = [run.annotation(one, part) for part in parts]
        annotation = pa.concat_tables(
            [run.store.table(output.path, read, output.sha256) for output in outputs]
        )
        if not annotation.column("clip_id").equals(table.column("clip_id")):
            raise ValueError(
                f"{one.step} does not have the rows of the clips table: delete it and annotate again"
            )
        failed[number] = pc.is_valid(annotation.column("error_reason")).to_numpy(zero_copy_only=False)
        if failed[number].any():  # what a stage knows of a clip that it failed for is no measurement
            annotation = annotation.take(pa.array(np.arange(table.num_rows), mask=failed[number]))
        for name in names:
            table = table.append_column(annotation.schema.field(name), annotation.column(name))
    return table.append_column(
        "failed_stages", _names_where([p.stage.name for p in planned], failed, table.num_rows)
    )


def with_derived(clips: pa.Table, videos: pa.Table) -> pa.Table:
    """The clips with the columns of their videos and what follows from their own row."""
    places = pc.index_in(clips.column("video_id"), videos.column("video_id").combine_chunks())
    for name in VIDEO_COLUMNS:
        clips = clips.append_column(videos.schema.field(name), videos.column(name).take(places))
    width, height = (clips.column(name).cast(pa.float64()) for name in ("width", "height"))
    derived = {
        "duration_s": pc.subtract(clips.column("end_s"), clips.column("start_s")),
        "short_side_px": pc.min_element_wise(clips.column("width"), clips.column("height")),
        "long_side_px": pc.max_element_wise(clips.column("width"), clips.column("height")),
        "aspect_ratio": pc.divide(width, height),
        "pixels": pc.multiply(width, height),
    }
    for name in CLIP_COLUMNS:
        clips = clips.append_column(name, derived[name])
    return clips


def _names_where(names: Sequence[str], flags: Sequence[np.ndarray], rows: int) -> pa.Array:
    """For each row the names whose flag is set, as a list."""
    grid = np.array(flags, dtype=np.bool_).reshape(len(names), rows)
    offsets = np.zeros(rows + 1, dtype=np.int32)
    np.cumsum(grid.sum(axis=0), out=offsets[1:])
    which = pa.array(np.nonzero(grid.T)[1], pa.int64())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(names, pa.string()).take(which))


def origins(planned: Sequence[Planned]) -> dict[str, Origin]:
    """By column, the stage that wrote it, its fingerprint, and its engine where it has several."""
    return {
        column: Origin(one.stage.name, one.fingerprint, str(getattr(one.stage, "engine", "")))
        for one in planned
        for column in one.stage.columns.names
    }
