"""The emotion on each face, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from filters.base import ModelStage, shown, spread
from filters.detectors.litert import LiteModel
from filters.detectors.yunet import Yunet, load_yunet
from filters.expressions.exported import load_expressions
from filters.expressions.fer import ExpressionEngine, FerEngine
from filters.faces import FACE
from filters.scorers.engines import EngineStage
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import ClipError, FrameBatch, Row, Stage

EMOTION = pa.struct(
    [
        pa.field("time_s", pa.float32()),  # from the clip's start
        *FACE,
        pa.field(
            "probabilities", pa.list_(pa.float32())
        ),  # of filters.expressions.fer.EMOTIONS, in its order
    ]
)


@dataclass(frozen=True)
class Emotions(EngineStage, ModelStage):
    """Probabilities of seven emotions for the largest faces of a clip, on more frames than those that `faces` looks at.

    A clip on whose frames `faces` found none is not looked at: both lists are empty. `fer` is a small network of 2017,
    trained on FER2013 (66 % right there); `onnx` any exported one that the user brings.
    """

    name = "emotions"
    requires = ("faces",)
    columns = pa.schema(
        [
            pa.field("emotion_engine", pa.string()),
            pa.field("emotion_frames", pa.list_(pa.int64())),
            pa.field("emotions", pa.list_(EMOTION)),
        ]
    )
    frames = VIEW
    weights = ("face.yunet", "expression.fer")
    embedded = "fer"
    wanted: ClassVar[Mapping[str, str]] = {
        "onnx": "a folder with an exported network as model.onnx, and expression.toml (docs/captions.md, Expression)"
    }

    engine: Literal["fer", "onnx"] = "fer"
    every_s: float = 1.0
    """About one frame for each so many seconds of the clip, besides those that `faces` looked at ..."""
    most_frames: int = 8
    """... and at most so many."""
    most_faces: int = 4
    """The largest faces of a frame that are looked at."""
    face_min_px: int = 32
    """Height of a face in a frame of 360 pixels below which no expression can be told. Ours."""
    short_side_px: int = 256
    """Size at which frames are searched for faces, as in `faces`."""
    score_min: float = 0.7
    """The face detector's own score below which a face is not kept, as in `faces`."""

    def load(self) -> tuple[Yunet, ExpressionEngine]:
        faces = load_yunet(self.weight("face.yunet"), self.score_min, self.short_side_px)
        if self.engine == "onnx":
            return faces, load_expressions(self.brought())
        return faces, FerEngine(LiteModel(self.weight("expression.fer")))

    def measure_batch(
        self, state: Any, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Row | ClipError]:
        """One clip after the other: a face is too small to be worth a batch."""
        return Stage.measure_batch(self, state, clips, frames)

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        detector, engine = state
        batch = shown(frames)
        known = clip.upstream["faces"]
        chosen = spread(len(batch.images), clip.duration_s, self.every_s, self.most_frames)
        seen = {int(frame): i for i, frame in enumerate(batch.frames)}
        looked = sorted({*chosen, *(seen[frame] for frame in known["face_frames"])}) if known["faces"] else []
        emotions = []
        for i in looked:
            image, frame = batch.images[i], int(batch.frames[i])
            for face in detector.detect(image)[: self.most_faces]:
                if (face["y1"] - face["y0"]) * image.shape[0] >= self.face_min_px:
                    told = np.asarray(engine.tell(image, face), np.float32).tolist()
                    when = float(np.float32(batch.times_s[i]))
                    emotions.append({"time_s": when, "frame": frame, **face, "probabilities": told})
        return {
            "emotion_engine": engine.label,
            "emotion_frames": [int(batch.frames[i]) for i in looked],
            "emotions": emotions,
        }
