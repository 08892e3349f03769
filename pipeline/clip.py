"""Video, shot and clip: identity, spans and the Arrow schemas of a run's tables.

Ids are content hashes. A frame span is half open: `start_frame` is in it, `end_frame` is not. A frame's index is its
position in presentation order; times are seconds from the first frame's timestamp.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

ID_HEX = 20
"""Hex digits of an id: 80 bits, a collision chance of 1e-9 among 5e7 items."""


def video_id(sha256: str) -> str:
    """The id of the video whose bytes have this sha256 (hex)."""
    return sha256[:ID_HEX]


def span_id(video: str, start_frame: int, end_frame: int) -> str:
    """The id of a shot or clip: a hash of its video's id and its frame span."""
    return hashlib.sha256(f"{video}:{start_frame}:{end_frame}".encode()).hexdigest()[:ID_HEX]


VIDEOS = pa.schema(
    [
        pa.field("video_id", pa.string()),  # null when it was refused: its bytes are then not hashed
        pa.field("path", pa.string()),  # as listed: a local path or a URL of a filesystem
        pa.field("sha256", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("container", pa.string()),
        pa.field("codec", pa.string()),
        pa.field("pix_fmt", pa.string()),
        pa.field("width", pa.int32()),  # as displayed: rotation and pixel aspect applied
        pa.field("height", pa.int32()),
        pa.field("coded_width", pa.int32()),
        pa.field("coded_height", pa.int32()),
        pa.field("fps_num", pa.int64()),  # average rate, exact
        pa.field("fps_den", pa.int64()),
        pa.field("vfr", pa.bool_()),
        pa.field("frame_count", pa.int64()),
        pa.field("duration_s", pa.float64()),
        pa.field("rotation_deg", pa.int32()),  # clockwise turn that displays it upright: 0, 90, 180, 270
        pa.field("sar_num", pa.int32()),  # pixel aspect
        pa.field("sar_den", pa.int32()),
        pa.field("interlaced", pa.bool_()),
        pa.field("bit_depth", pa.int32()),
        pa.field("hdr", pa.bool_()),
        pa.field("audio_streams", pa.int32()),
        pa.field("audio_codec", pa.string()),
        pa.field("is_image", pa.bool_()),
        pa.field("time_base_num", pa.int64()),
        pa.field("time_base_den", pa.int64()),
        pa.field("pts", pa.binary()),  # every frame's timestamp: see frames.pack_pts
        pa.field("seekable", pa.bool_()),  # the index may be trusted, so chunks can be decoded apart
        pa.field("extra", pa.string()),  # the manifest's own columns, as a JSON object
        pa.field("status", pa.string()),  # used, refused
        pa.field("reason", pa.string()),  # when refused: one of pipeline.reasons
        pa.field("message", pa.string()),
    ]
)

BOUNDARIES = pa.schema(
    [
        pa.field("video_id", pa.string()),
        pa.field(
            "frame", pa.int64()
        ),  # first frame of the transition; for a cut, first frame of the new shot
        pa.field("end_frame", pa.int64()),  # first frame after the transition; for a cut, equal to `frame`
        pa.field("kind", pa.string()),  # cut, gradual
        pa.field("transnet", pa.float32()),  # TransNetV2's probability
        pa.field("adaptive", pa.float32()),  # PySceneDetect's adaptive ratio
        pa.field("kept", pa.bool_()),  # accepted by the merge policy
    ]
)

SHOTS = pa.schema(
    [
        pa.field("video_id", pa.string()),
        pa.field("shot_id", pa.string()),
        pa.field("start_frame", pa.int64()),
        pa.field("end_frame", pa.int64()),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
    ]
)

CLIPS = pa.schema(
    [
        pa.field("clip_id", pa.string()),
        pa.field("shot_id", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("start_frame", pa.int64()),
        pa.field("end_frame", pa.int64()),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
        pa.field("fps", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Clip:
    """One row of CLIPS, and the columns that the stages before have added to it."""

    clip_id: str
    shot_id: str
    video_id: str
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    fps: float
    width: int
    height: int
    upstream: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)
    """Rows of the stages that this stage `requires`, by stage name."""
    attempt: int = field(default=1, compare=False)
    """How often this stage has been asked for it in the run, this time included: over 1 on a retry."""
    failed: str = field(default="", compare=False)
    """On a retry, the reason (of pipeline.reasons) for which the last attempt failed."""

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s
