"""Everyday objects, people and animals, by YOLOX-nano."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.base import ModelStage, looked_at, onnx_session
from filters.boxes import BOX, box, most_on_one
from filters.detectors.coco import LABELS
from filters.detectors.yolox import Yolox
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row

OBJECT = pa.struct([*BOX, pa.field("label", pa.string())])
"""BOX and the COCO class."""


@dataclass(frozen=True)
class Objects(ModelStage):
    """Boxes of the 80 COCO classes on a few frames, best first within a frame.

    `object_frames` lists the frames looked at; `person_count` is the most people on one of them; `object_labels` the
    labels by their area times score over all frames, largest first, and `object_evidence` how surely the clip has each:
    the mean over the frames of its best score there, 0 on a frame without it.
    """

    name = "objects"
    version = 2
    columns = pa.schema(
        [
            pa.field("person_count", pa.int32()),
            pa.field("object_labels", pa.list_(pa.string())),
            pa.field("object_evidence", pa.list_(pa.float64())),
            pa.field("object_frames", pa.list_(pa.int64())),
            pa.field("objects", pa.list_(OBJECT)),
        ]
    )
    frames = VIEW
    weights = ("object.yolox_nano",)

    every_s: float = 2.0
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many."""
    score_min: float = 0.4
    """Objectness times class score; 0.25 to 0.5 is usual for YOLOX."""
    overlap_max: float = 0.45
    """Intersection over union above which the weaker of two boxes of one class is dropped: YOLOX's own."""

    def load(self) -> Yolox:
        return Yolox(onnx_session(self.weight("object.yolox_nano")))

    def measure(self, state: Yolox, clip: Clip, frames: FrameBatch | None) -> Row:
        pictures = looked_at(frames, clip, self.every_s, self.most_frames)
        looked = [frame for frame, _ in pictures]
        objects: list[dict[str, Any]] = []
        for frame, image in pictures:
            height, width = image.shape[:2]
            for found in state.detect(image, self.score_min, self.overlap_max):
                corners = box(found.corners_px, width, height, found.score)
                objects.append({"frame": frame, "label": LABELS[found.label], **corners})
        weight: dict[str, float] = {}
        best: dict[tuple[str, int], float] = {}
        for one in objects:
            label, score = one["label"], one["score"]
            area = (one["x1"] - one["x0"]) * (one["y1"] - one["y0"])
            weight[label] = weight.get(label, 0.0) + area * score
            best[label, one["frame"]] = max(score, best.get((label, one["frame"]), 0.0))
        labels = sorted(weight, key=lambda label: (-weight[label], label))
        return {
            "person_count": most_on_one(looked, [one for one in objects if one["label"] == "person"]),
            "object_labels": labels,
            "object_evidence": [
                sum(best.get((label, frame), 0.0) for frame in looked) / len(looked) for label in labels
            ],
            "object_frames": looked,
            "objects": objects,
        }
