"""Faces with five landmarks, by YuNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import ModelStage, Rgb, looked_at, one_thread_cv2
from filters.boxes import BOX, box, most_on_one
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

    def load(self) -> Any:
        cv2 = one_thread_cv2()
        # It warns of every load of a network.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        return cv2, cv2.FaceDetectorYN.create(str(self.weight("face.yunet")), "", (320, 320), self.score_min)

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        pictures = looked_at(frames, clip, self.every_s, self.most_frames)
        looked = [frame for frame, _ in pictures]
        faces = [{"frame": n, **face} for n, image in pictures for face in self._detect(state, image)]
        return {
            "face_count": most_on_one(looked, faces),
            "face_height_ratio": max((face["y1"] - face["y0"] for face in faces), default=None),
            "face_frames": looked,
            "faces": faces,
        }

    def _detect(self, state: Any, image: Rgb) -> list[dict[str, Any]]:
        cv2, detector = state
        factor = min(1.0, self.short_side_px / min(image.shape[:2]))
        small = cv2.resize(image[..., ::-1], None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        height, width = small.shape[:2]
        detector.setInputSize((width, height))
        found = detector.detect(small)[1]  # x, y, width, height, five landmarks, score
        faces = []
        for row in [] if found is None else sorted(found.tolist(), key=lambda row: (-row[2] * row[3], row)):
            corners = (row[0], row[1], row[0] + row[2], row[1] + row[3])
            points = np.array(row[4:14], np.float32) / np.tile(np.array([width, height], np.float32), 5)
            faces.append({**box(corners, width, height, row[14]), "landmarks": points.tolist()})
        return faces
