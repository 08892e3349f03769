"""How many copies of clean clips are found, by what was done to them, and how many calls are wrong.

Every clip is edited, and the search goes over all clips and all copies made by one edit: a copy is found when it is in
its original's cluster, a call is wrong when two clips of different originals are in one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from benchmarks.accuracy.defect import Pictures
from benchmarks.accuracy.footage import Footage
from filters.border import Border
from filters.dedup import COLUMNS, find_duplicates
from filters.embedding import Embedding
from filters.phash import PHash
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Stage

Edit = Callable[[Pictures, float], Pictures]
"""Pictures and their frame rate to the copy's pictures."""
Row = Mapping[str, Any]


def measure(footage: Sequence[Footage]) -> list[dict[str, Any]]:
    """One row an edit: edit, strength, copies, found, recall, wrong (calls) and precision (share of calls that are
    right; None without a call)."""
    stages = (Border(), PHash(), Embedding())
    states = [stage.load() for stage in stages]
    originals = [_row(f"o{i:04d}", one.pictures, one.fps, stages, states) for i, one in enumerate(footage)]
    rows = []
    for (edit, strength), render in EDITS.items():
        copies = [
            _row(f"p{i:04d}", render(one.pictures, one.fps), one.fps, stages, states)
            for i, one in enumerate(footage)
        ]
        found, calls, right = _judged([*originals, *copies], len(footage))
        rows.append(
            {
                "edit": edit,
                "strength": strength,
                "copies": len(footage),
                "found": found,
                "recall": found / len(footage),
                "wrong": calls - right,
                "precision": right / calls if calls else None,
            }
        )
    return rows


def _judged(rows: Sequence[Row], originals: int) -> tuple[int, int, int]:
    """Copies that are with their original, clips that were called copies, and those whose representative is theirs."""
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("clip_id", "shot_id")),
            ("is_image", pa.bool_()),
            *((name, pa.int32()) for name in ("width", "height")),
            *((name, pa.float64()) for name in ("clean_area_ratio", "duration_s", "sharpness")),
            *PHash.columns,
            *Embedding.columns,
        ]
    )
    table = pa.Table.from_pylist(list(rows), schema=schema).select(COLUMNS)
    answers = find_duplicates(table).to_pylist()
    clusters = [one["duplicate_cluster"] for one in answers]
    found = sum(clusters[i] == clusters[originals + i] for i in range(originals))
    calls = [one for one in answers if one["duplicate_of"] is not None]
    right = sum(one["clip_id"][1:] == one["duplicate_of"][1:] for one in calls)
    return found, len(calls), right


def _row(name: str, pictures: Pictures, fps: float, stages: Sequence[Stage], states: Sequence[Any]) -> Row:
    height, width = pictures.shape[1:3]
    seconds = len(pictures) / fps
    at = [round(k * VIEW.every_s * fps) for k in range(int(np.ceil(seconds / VIEW.every_s)))]
    at = [frame for frame in at if frame < len(pictures)]
    factor = min(1.0, (VIEW.short_side_px or 0) / min(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    shown = np.stack([cv2.resize(pictures[frame], size, interpolation=cv2.INTER_AREA) for frame in at])
    batch = FrameBatch(shown, np.array(at) / fps, np.array(at, np.int64))
    values: dict[str, Any] = {"clip_id": name, "shot_id": name, "is_image": False, "sharpness": None}
    values |= {"width": width, "height": height, "duration_s": seconds}
    upstream: dict[str, Row] = {}
    for stage, state in zip(stages, states, strict=True):
        clip = Clip(name, name, name, 0, len(pictures), 0.0, seconds, fps, width, height, upstream)
        upstream[stage.name] = stage.measure(state, clip, batch)
        values |= upstream[stage.name]
    return values


# --- what is done to a clip


def _each(edit: Callable[[Pictures], Pictures]) -> Edit:
    """An edit of every picture alike."""
    return lambda pictures, fps: np.stack([edit(picture) for picture in pictures])


def _coded(quality: int) -> Edit:
    def edit(picture: Pictures) -> Pictures:
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    return _each(edit)


def _scaled(factor: float) -> Edit:
    return _each(
        lambda p: np.asarray(
            cv2.resize(p, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
        )
    )


def _cropped(kept: float, left: float, top: float) -> Edit:
    """Keeps this share of each side; what is cut off lies by these shares on the left and at the top."""

    def edit(pictures: Pictures, fps: float) -> Pictures:
        height, width = pictures.shape[1:3]
        y, x = round(height * (1 - kept) * top), round(width * (1 - kept) * left)
        return pictures[:, y : y + round(height * kept), x : x + round(width * kept)]

    return edit


def _barred(vertical: float, horizontal: float) -> Edit:
    """Black bars, as shares of the picture's height and width, at each side."""

    def edit(picture: Pictures) -> Pictures:
        y, x = round(picture.shape[0] * vertical), round(picture.shape[1] * horizontal)
        return np.asarray(cv2.copyMakeBorder(picture, y, y, x, x, cv2.BORDER_CONSTANT), np.uint8)

    return _each(edit)


def _marked(picture: Pictures) -> Pictures:
    marked = picture.copy()
    height, width = picture.shape[:2]
    cv2.putText(
        marked, "SAMPLE TV", (width // 20, height // 5), 0, height / 250, (255, 255, 255), height // 120 + 1
    )
    x, y = round(width * 0.82), round(height * 0.82)
    cv2.rectangle(marked, (x, y), (round(width * 0.96), round(height * 0.96)), (200, 30, 30), -1)
    return marked


def _titled(picture: Pictures) -> Pictures:
    titled = picture.copy()
    height, width = picture.shape[:2]
    said = "and then he said: hello world"
    cv2.putText(
        titled, said, (width // 8, round(height * 0.9)), 0, width / 640, (255, 255, 255), height // 180 + 1
    )
    return titled


def _graded(gamma: float) -> Edit:
    table = np.round(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return lambda pictures, fps: table[pictures]


def _part(first_s: float, share: float) -> Edit:
    """A part of the clip, from so many seconds on."""

    def edit(pictures: Pictures, fps: float) -> Pictures:
        start = round(first_s * fps)
        return pictures[start : start + max(1, round(len(pictures) * share))]

    return edit


def _both(one: Edit, two: Edit) -> Edit:
    return lambda pictures, fps: two(one(pictures, fps), fps)


def _mirrored(pictures: Pictures, fps: float) -> Pictures:
    return np.ascontiguousarray(pictures[:, :, ::-1])


EDITS: Mapping[tuple[str, str], Edit] = {
    ("equal", ""): lambda pictures, fps: pictures.copy(),
    ("coded again", "JPEG quality 40"): _coded(40),
    ("coded again", "JPEG quality 10"): _coded(10),
    ("scaled", "to a half"): _scaled(0.5),
    ("scaled", "to a quarter"): _scaled(0.25),
    ("mirrored", ""): _mirrored,
    ("bars", "letterbox, 12 % each"): _barred(0.12, 0.0),
    ("bars", "pillarbox, 20 % each"): _barred(0.0, 0.2),
    ("bars", "all around, 15 % each"): _barred(0.15, 0.15),
    ("cropped", "90 % kept"): _cropped(0.9, 0.5, 0.5),
    ("cropped", "80 % kept"): _cropped(0.8, 0.5, 0.5),
    ("cropped", "80 % kept, a corner"): _cropped(0.8, 0.0, 0.0),
    ("cropped", "65 % kept"): _cropped(0.65, 0.5, 0.5),
    ("cropped", "50 % kept"): _cropped(0.5, 0.5, 0.5),
    ("watermark", "a word and a logo"): _each(_marked),
    ("subtitle", "one line"): _each(_titled),
    ("graded", "gamma 1.5"): _graded(1.5),
    ("shifted", "by 0.5 s"): _part(0.5, 1.0),
    ("cut", "second half"): _part(1.5, 0.5),
    ("several", "mirrored, 80 %, JPEG 40"): _both(_both(_mirrored, _cropped(0.8, 0.3, 0.6)), _coded(40)),
}
"""By kind and strength."""
