"""Text tracks: the lines that were read on several frames, joined where place and words are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import pyarrow as pa

from filters.base import Rgb
from filters.boxes import BOX, NAMES, box, most_on_one
from filters.detectors.ocr import Line
from filters.signals.places import overlap_ratio

OVERLAP_MIN = 0.4
"""Shared area of two boxes over their joint area from which they are one place: a box may lose a letter. Ours."""
ALIKE_MIN = 0.7
"""Matching letters (2M / T, Ratcliff & Metzener 1988) from which two readings are the same words: one letter in four
may be misread. Ours."""
TRACK = (
    *(pa.field(name, pa.float32()) for name in NAMES),
    pa.field("first", pa.int64()),
    pa.field("last", pa.int64()),
    pa.field("share", pa.float32()),
    pa.field("text", pa.string()),
)
"""Fields of a struct: the outermost corners as shares of the frame, the frames that first and last show the line, the
share of the frames looked at that show it, and its best reading."""


COLUMNS = {
    "text_box_count": pa.int32(),
    "text": pa.string(),
    "text_boxes": pa.list_(pa.struct(BOX)),
    "text_tracks": pa.list_(pa.struct(TRACK)),
    "text_frames": pa.list_(pa.int64()),
}
"""Columns of the stage `text` that `told` fills."""


@dataclass(frozen=True)
class Reading:
    """One line on one frame; `box` has the fields of filters.boxes.BOX."""

    box: Mapping[str, Any]
    text: str


def reading(frame: int, line: Line, image: Rgb) -> Reading:
    """A line that was read on the picture of a frame."""
    height, width = image.shape[:2]
    return Reading(
        {"frame": frame, **box(line.bounds_px, width, height, line.score)}, (line.text or "").strip()
    )


@dataclass
class _Track:
    readings: list[Reading] = field(default_factory=list)

    def takes(self, other: Reading) -> bool:
        last = self.readings[-1]
        return (
            last.box["frame"] != other.box["frame"]
            and overlap_ratio(last.box, other.box) >= OVERLAP_MIN
            and SequenceMatcher(None, _plain(last.text), _plain(other.text)).ratio() >= ALIKE_MIN
        )


def told(readings: Sequence[Reading], looked: Sequence[int]) -> dict[str, Any]:
    """The values of COLUMNS; `readings` are in the order of the frames `looked` at."""
    boxes = [one.box for one in readings]
    return {
        "text_box_count": most_on_one(looked, boxes),
        "text": json.dumps(list(dict.fromkeys(one.text for one in readings)), ensure_ascii=False),
        "text_boxes": boxes,
        "text_tracks": tracks(readings, looked),
        "text_frames": list(looked),
    }


def tracks(readings: Sequence[Reading], looked: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of TRACK, in order of first appearance; `readings` are in the order of the frames `looked` at."""
    found: list[_Track] = []
    for reading in readings:
        for track in found:
            if track.takes(reading):
                track.readings.append(reading)
                break
        else:
            found.append(_Track([reading]))
    return [_row(track.readings, len(looked)) for track in found]


def _row(readings: Sequence[Reading], looked: int) -> dict[str, Any]:
    low = {name: min(reading.box[name] for reading in readings) for name in NAMES[:2]}
    high = {name: max(reading.box[name] for reading in readings) for name in NAMES[2:]}
    share = pa.scalar(len(readings) / looked, pa.float32()).as_py()
    best = max(readings, key=lambda reading: reading.box["score"])
    span = {"first": readings[0].box["frame"], "last": readings[-1].box["frame"]}
    return {**low, **high, **span, "share": share, "text": best.text}


def _plain(text: str) -> str:
    return "".join(text.split()).casefold()
