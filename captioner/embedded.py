"""The embedded captioner: a structured caption of what can be measured without a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pyarrow as pa

from captioner.experts.boxes import Box, face_boxes, human_faces, object_boxes
from captioner.experts.expression import expression_of
from captioner.schema import Caption, dumps
from captioner.subjects import Limits, Track, subjects, tracks
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage

ENGINE = "rushes-embedded/1"
COLUMNS = pa.schema(
    [
        pa.field("caption", pa.string()),  # canonical JSON: captioner.schema.dumps
        pa.field("caption_engine", pa.string()),
        pa.field("caption_status", pa.string()),  # ok; where a model's caption failed, how
        pa.field("caption_fields", pa.list_(pa.string())),  # names of the schema's fields that say something
        pa.field("concept_type", pa.string()),  # of the main subject; null when there is none
        pa.field("concept_sub_type", pa.string()),
    ]
)
"""What every captioner writes."""


@dataclass(frozen=True)
class EmbeddedCaptioner(Stage):
    """A caption in SkyCaptioner's schema whose every word is measured; what is not stays an empty string.

    It says what is in the picture and where, what faces show, the shot and the camera's motion as the experts found
    them, and the light. It never says appearance, action or environment, nor, where the main subject is no person, what
    of the shot is told by one. Thresholds are ours.
    """

    name: ClassVar[str] = "caption"
    version: ClassVar[int] = 3
    requires: ClassVar[tuple[str, ...]] = ("camera", "shot", "expression", "faces", "objects", "exposure")
    columns: ClassVar[pa.Schema] = COLUMNS

    evidence_min: float = 0.5
    """Share of the frames looked at on which a subject is found, times its mean detection score."""
    area_min: float = 0.005
    """Share of the picture that a subject covers."""
    main_area_min: float = 0.03
    """Share of the picture under which no kind of thing is the main subject, people apart: that of 96 x 96 pixels in a
    picture of 640 x 480, above which COCO's evaluation calls an object large."""
    most_subjects: int = 4
    """As many as the released captions of SkyCaptioner-V1 name."""
    crowded_share: float = 0.4
    """A main subject that covers more of the picture hides the background: slow camera motion may be its own."""
    expression_min: float = 0.5
    """Confidence of the expression expert from which a person's expression is said."""
    left_max: float = 0.37
    """Share of the width up to which a subject's middle is on the left ..."""
    right_min: float = 0.63
    """... and from which it is on the right: thirds, moved a little outwards as boxes wobble."""
    nearer_ratio: float = 2.0
    """A subject as many times as high as another of its kind, which is about as large in life, is nearer."""
    dark_max: float = 0.25
    """Mean luma, 0 to 1, below which the picture is dark ..."""
    bright_min: float = 0.6
    """... and above which it is bright."""
    low_contrast_max: float = 0.12
    """Standard deviation of luma, 0 to 1, below which its contrast is low ..."""
    high_contrast_min: float = 0.28
    """... and above which it is high."""
    cool_max: float = -0.1
    """Mean of red less blue, -1 to 1, below which its tones are cool ..."""
    warm_min: float = 0.1
    """... and above which they are warm."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        limits = Limits(
            self.evidence_min,
            self.area_min,
            self.most_subjects,
            self.left_max,
            self.right_min,
            self.nearer_ratio,
            self.main_area_min,
        )
        looked = clip.upstream["objects"]["object_frames"]
        objects = object_boxes(clip.upstream["objects"])
        found = tracks(
            with_faces(objects, human_faces(face_boxes(clip.upstream["faces"]), objects)), looked, limits
        )
        camera, shot = clip.upstream["camera"], clip.upstream["shot"]
        faces = clip.upstream["expression"]
        expressions = [expression_of(track.boxes, faces, self.expression_min) for track in found]
        named = subjects(found, limits, expressions)
        person_first = bool(named) and named[0].TYPES.type == "Human"
        caption = Caption(
            subjects=named,
            shot_type=shot["shot_type"] if person_first else "",
            shot_angle=shot["shot_angle"] if person_first or shot["shot_angle"] != "eye_level" else "",
            shot_position=shot["shot_position"] if person_first else "",
            camera_motion="" if self._doubtful(camera, found) else camera["camera_motion"],
            environment="",
            lighting=self.lighting(clip.upstream["exposure"]),
        )
        return caption_row(caption, ENGINE)

    def _doubtful(self, camera: Row, found: Sequence[Track]) -> bool:
        crowded = any(track.area > self.crowded_share for track in found)
        return crowded and camera["camera_speed"] == "slow"

    def lighting(self, exposure: Row) -> str:
        """What the picture's levels say of the light, as a list of words; empty where all are near the middle."""
        level, contrast, warmth = exposure["brightness"], exposure["contrast"], exposure["warmth"]
        said = [
            "dark" if level < self.dark_max else "bright" if level > self.bright_min else "",
            "low contrast" if contrast < self.low_contrast_max else "",
            "high contrast" if contrast > self.high_contrast_min else "",
            "cool tones" if warmth < self.cool_max else "warm tones" if warmth > self.warm_min else "",
        ]
        words = ", ".join(word for word in said if word)
        return f"{words.capitalize()}." if words else ""


def caption_row(caption: Caption, engine: str) -> Row:
    """The columns of a caption and of who wrote it."""
    main = next((one.TYPES for one in caption.subjects if one.is_main_subject), None)
    return {
        "caption": dumps(caption),
        "caption_engine": engine,
        "caption_status": "ok",
        "caption_fields": list(caption.said()),
        "concept_type": main.type if main else None,
        "concept_sub_type": main.sub_type if main else None,
    }


def with_faces(objects: Sequence[Box], faces: Sequence[Box]) -> list[Box]:
    """The objects, each person as sure as the face in the box; and each face outside every person's box as a person: a
    close-up's body is not in the picture."""
    lent: dict[Box, float] = {}
    alone: list[Box] = []
    for face in faces:
        people = [box for box in objects if (box.label, box.frame) == ("person", face.frame)]
        owner = min((box for box in people if box.holds(face.centre)), key=lambda box: box.area, default=None)
        if owner is None:
            alone.append(Box(face.frame, "person", face.score, face.x0, face.y0, face.x1, face.y1))
        else:
            lent[owner] = max(face.score, lent.get(owner, owner.score))
    return [*(replace(box, score=lent.get(box, box.score)) for box in objects), *alone]
