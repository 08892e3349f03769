"""Bodies with 17 points, by MoveNet."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from filters.base import ModelStage, looked_at
from filters.boxes import BOX, box, most_on_one
from filters.detectors.litert import LiteModel
from filters.detectors.movenet import MoveNet
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row

BODY = pa.struct([*BOX, pa.field("points", pa.list_(pa.float32()))])
"""BOX, and x and y shares and score of COCO's 17 keypoints: nose, eyes, ears, shoulders, elbows, wrists, hips, knees,
ankles, each the person's left before the right."""


@dataclass(frozen=True)
class Bodies(ModelStage):
    """Bodies on those of the frames looked at on which a face or a person was found, best first within a frame.

    `body_frames` lists the frames searched; `body_count` is the most bodies on one of them, at most six (0: none was
    searched).
    """

    name = "bodies"
    requires = ("faces", "objects")
    columns = pa.schema(
        [
            pa.field("body_count", pa.int32()),
            pa.field("body_frames", pa.list_(pa.int64())),
            pa.field("bodies", pa.list_(BODY)),
        ]
    )
    frames = VIEW
    weights = ("body.movenet",)

    every_s: float = 2.0
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many; of these, those with a face or a person are searched."""
    long_side_px: int = 256
    """Size at which frames are searched: the model's own; larger ones find fewer."""
    score_min: float = 0.3
    """The detector's own score below which a body is not kept."""

    def load(self) -> MoveNet:
        return MoveNet(LiteModel(self.weight("body.movenet")), self.long_side_px)

    def measure(self, state: MoveNet, clip: Clip, frames: FrameBatch | None) -> Row:
        people = {one["frame"] for one in clip.upstream["faces"]["faces"]}
        people |= {one["frame"] for one in clip.upstream["objects"]["objects"] if one["label"] == "person"}
        pictures = looked_at(frames, clip, self.every_s, self.most_frames)
        searched = [(frame, image) for frame, image in pictures if frame in people]
        bodies = []
        for frame, image in searched:
            height, width = image.shape[:2]
            for pose in state.detect(image, self.score_min):
                corners = box(pose.corners_px, width, height, pose.score)
                bodies.append({"frame": frame, **corners, "points": pose.points.ravel().tolist()})
        looked = [frame for frame, _ in searched]
        return {
            "body_count": most_on_one(looked, bodies) if looked else 0,
            "body_frames": looked,
            "bodies": bodies,
        }
