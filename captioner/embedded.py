"""The embedded captioner: a structured caption of what can be measured without a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from captioner.experts.boxes import Box, face_boxes, human_faces, object_boxes
from captioner.schema import Caption, dumps
from captioner.subjects import Limits, Track, subjects, tracks
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage

ENGINE = "rushes-embedded/1"


@dataclass(frozen=True)
class EmbeddedCaptioner(Stage):
    """A caption in SkyCaptioner's schema whose every word is measured; what is not stays an empty string.

    It says what is in the picture and where, the shot and the camera's motion as the experts found them, and the
    light. It never says appearance, action, expression or environment. Thresholds are ours.
    """

    name: ClassVar[str] = "caption"
    requires: ClassVar[tuple[str, ...]] = ("camera", "shot", "faces", "objects", "exposure")
    columns: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("caption", pa.string()),  # canonical JSON: captioner.schema.dumps
            pa.field("caption_engine", pa.string()),
            pa.field("caption_status", pa.string()),  # ok: a caption that fails is the row's error
            pa.field(
                "caption_fields", pa.list_(pa.string())
            ),  # names of the schema's fields that say something
            pa.field("concept_type", pa.string()),  # of the main subject; null when there is none
            pa.field("concept_sub_type", pa.string()),
        ]
    )

    evidence_min: float = 0.5
    """Share of the frames looked at on which a subject is found, times its mean detection score."""
    area_min: float = 0.005
    """Share of the picture that a subject covers."""
    most_subjects: int = 4
    """As many as the released captions of SkyCaptioner-V1 name."""
    crowded_share: float = 0.4
    """A main subject that covers more of the picture hides the background: slow camera motion may be its own."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        limits = Limits(self.evidence_min, self.area_min, self.most_subjects)
        looked = clip.upstream["objects"]["object_frames"]
        objects = object_boxes(clip.upstream["objects"])
        found = tracks(
            with_faces(objects, human_faces(face_boxes(clip.upstream["faces"]), objects)), looked, limits
        )
        camera, shot = clip.upstream["camera"], clip.upstream["shot"]
        caption = Caption(
            subjects=subjects(found),
            shot_type=shot["shot_type"],
            shot_angle=shot["shot_angle"],
            shot_position=shot["shot_position"],
            camera_motion="" if self._doubtful(camera, found) else camera["camera_motion"],
            environment="",
            lighting=lighting(clip.upstream["exposure"]),
        )
        main = caption.subjects[0].TYPES if caption.subjects else None
        return {
            "caption": dumps(caption),
            "caption_engine": ENGINE,
            "caption_status": "ok",
            "caption_fields": list(caption.said()),
            "concept_type": main.type if main else None,
            "concept_sub_type": main.sub_type if main else None,
        }

    def _doubtful(self, camera: Row, found: Sequence[Track]) -> bool:
        crowded = any(track.area > self.crowded_share for track in found)
        return crowded and camera["camera_speed"] == "slow"


def with_faces(objects: Sequence[Box], faces: Sequence[Box]) -> list[Box]:
    """The objects, and each face outside every person's box as a person: a close-up's body is not in the picture."""
    people = [box for box in objects if box.label == "person"]
    alone = [
        face
        for face in faces
        if not any(one.frame == face.frame and one.holds(face.centre) for one in people)
    ]
    return [
        *objects,
        *(Box(face.frame, "person", face.score, face.x0, face.y0, face.x1, face.y1) for face in alone),
    ]


def lighting(exposure: Row) -> str:
    """What the picture's levels say of the light, as a list of words; empty where all are near the middle.

    Bounds are ours, on mean luma, its deviation, and the mean of red less blue.
    """
    level, contrast, warmth = exposure["brightness"], exposure["contrast"], exposure["warmth"]
    said = [
        "dark" if level < 0.25 else "bright" if level > 0.6 else "",
        "low contrast" if contrast < 0.12 else "high contrast" if contrast > 0.28 else "",
        "cool tones" if warmth < -0.1 else "warm tones" if warmth > 0.1 else "",
    ]
    words = ", ".join(word for word in said if word)
    return f"{words.capitalize()}." if words else ""
