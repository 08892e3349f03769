"""Faces with five landmarks, by YuNet."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from filters.base import ModelStage, looked_at
from filters.boxes import BOX, most_on_one
from filters.detectors.yunet import Yunet, load_yunet
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row

FACE = pa.struct([*BOX, pa.field("landmarks", pa.list_(pa.float32()))])
"""BOX, and x and y shares of the person's right eye, left eye, nose tip, right mouth corner, left mouth corner."""


@dataclass(frozen=True)
class Faces(ModelStage):
    """Faces on a few frames, largest first within a frame. YuNet: Wu et al. 2023.

    `face_frames` lists the frames looked at, so that a reader can count those without a face; `face_count` is the
    most faces on one of them, `face_height_ratio` the height of the largest as a share of the frame's (None: no face).
    """

    name = "faces"
    columns = pa.schema(
        [
            pa.field("face_count", pa.int32()),
            pa.field("face_height_ratio", pa.float64()),
            pa.field("face_frames", pa.list_(pa.int64())),
            pa.field("faces", pa.list_(FACE)),
        ]
    )
    frames = VIEW
    weights = ("face.yunet",)

    every_s: float = 2.0
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many."""
    short_side_px: int = 256
    """Size at which frames are searched: half the time of 360, and faces from 7 % of the frame's height are found."""
    score_min: float = 0.7
    """The detector's own score below which a box is not kept; rows keep the score, so that readers may ask for more."""

    def load(self) -> Yunet:
        return load_yunet(self.weight("face.yunet"), self.score_min, self.short_side_px)

    def measure(self, state: Yunet, clip: Clip, frames: FrameBatch | None) -> Row:
        pictures = looked_at(frames, clip, self.every_s, self.most_frames)
        looked = [frame for frame, _ in pictures]
        faces = [{"frame": n, **face} for n, image in pictures for face in state.detect(image)]
        return {
            "face_count": most_on_one(looked, faces),
            "face_height_ratio": max((face["y1"] - face["y0"] for face in faces), default=None),
            "face_frames": looked,
            "faces": faces,
        }
