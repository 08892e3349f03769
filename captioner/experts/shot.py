"""Shot type and position of clips with people, by the size of a face or a whole figure and by where a face looks.

What these cannot tell stays empty: the camera's angle, a back view (a face that is not found may look down or be
covered), and every clip without people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from captioner.experts.boxes import Box, face_boxes, human_faces, largest, object_boxes, stored
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage

FACE_PER_FIGURE = 0.12
"""Height of a detected face (brow to chin) over that of the standing person: 0.9 of a head, 7.5 heads a body."""


@dataclass(frozen=True)
class ShotExpert(Stage):
    """How near the main person is, and from which side seen; empty strings where it cannot know.

    The bounds of `shot_scale` are ours, from the terms' meaning: a figure under 45 % of the frame's height is a long
    shot, a whole one a full shot, one cut at the waist or chest a medium shot, head and shoulders a close-up, less
    than a face an extreme close-up. A label is said when `agree_min` of the frames looked at agree on it.
    """

    name: ClassVar[str] = "shot"
    requires: ClassVar[tuple[str, ...]] = ("faces", "objects")
    columns: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field(
                "shot_scale", pa.float32()
            ),  # face height of the main person, share of the frame's; median
            pa.field("shot_type", pa.string()),
            pa.field(
                "shot_type_confidence", pa.float32()
            ),  # share of frames that agree, times detection score
            pa.field("shot_angle", pa.string()),  # always empty: not measurable here
            pa.field("shot_angle_confidence", pa.float32()),
            pa.field("shot_position", pa.string()),
            pa.field("shot_position_confidence", pa.float32()),
        ]
    )

    long_shot_max: float = 0.055
    full_shot_max: float = 0.135
    medium_shot_max: float = 0.28
    close_up_max: float = 0.9
    agree_min: float = 0.6
    front_yaw_max: float = 0.40
    """|yaw_ratio| up to which a head is seen from the front: turned by up to 36 degrees ..."""
    side_yaw_min: float = 0.80
    """... and from which it is seen from the side: by 56 degrees and more."""
    cut_max: float = 0.02
    """A figure's box that comes this near to the frame's top or bottom, as a share of its height, may go on beyond."""
    upright_max: float = 0.6
    """Width of a standing figure's box over its height, in pixels: wider ones sit, lie or are several."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        objects = object_boxes(clip.upstream["objects"])
        faces = human_faces(face_boxes(clip.upstream["faces"]), objects)
        people = [box for box in objects if box.label == "person"]
        looked = clip.upstream["faces"]["face_frames"]
        scales, types, views = [], [], []
        for frame in looked:
            face, person = largest(faces, frame), largest(people, frame)
            if face and person and not person.holds(face.centre):
                face = None  # the face of someone behind the main person
            seen = face or person
            scale = face.height if face else self.figure_scale(person, clip) if person else None
            if seen and scale is not None:
                scales.append(scale)
                types.append((self.type_of(scale), seen.score))
            if face and (view := self.view_of(face, clip)):
                views.append((view, face.score))
        shot_type, type_confidence = agreed(types, len(looked), self.agree_min)
        position, position_confidence = agreed(views, len(looked), self.agree_min)
        row = {
            "shot_scale": float(np.median(scales)) if scales else None,
            "shot_type": shot_type,
            "shot_type_confidence": type_confidence,
            "shot_angle": "",
            "shot_angle_confidence": None,
            "shot_position": position,
            "shot_position_confidence": position_confidence,
        }
        return stored(self.columns, row)

    def type_of(self, scale: float) -> str:
        """The shot type of a face height, as a share of the frame's."""
        bounds = (
            (self.long_shot_max, "long_shot"),
            (self.full_shot_max, "full_shot"),
            (self.medium_shot_max, "medium_shot"),
            (self.close_up_max, "close_up"),
        )
        return next((name for most, name in bounds if scale <= most), "extreme_close_up")

    def figure_scale(self, person: Box, clip: Clip) -> float | None:
        """The face height that a whole standing figure implies; None when the box is cut off or is no standing one."""
        whole = person.y0 > self.cut_max and person.y1 < 1 - self.cut_max
        width_px = (person.x1 - person.x0) * clip.width
        upright = width_px < self.upright_max * person.height * clip.height
        return person.height * FACE_PER_FIGURE if whole and upright else None

    def view_of(self, face: Box, clip: Clip) -> str | None:
        """front_view or side_view; None for a head between them."""
        turned = abs(yaw_ratio(face, clip))
        return (
            "front_view"
            if turned <= self.front_yaw_max
            else "side_view"
            if turned >= self.side_yaw_min
            else None
        )


def yaw_ratio(face: Box, clip: Clip) -> float:
    """Signed offset of the nose from between the eyes, over the eyes' distance; + is towards the right of the picture.

    About 0.55 tan(yaw): the nose tip stands 35 mm before eyes 64 mm apart (adult means). In pixels, along the eyes'
    line, so that a tilted head does not count.
    """
    points = np.reshape(face.landmarks, (5, 2)) * (clip.width, clip.height)
    eyes = points[1] - points[0]
    nose = points[2] - (points[0] + points[1]) / 2
    return float(nose @ eyes / max(float(eyes @ eyes), 1e-12))


def agreed(votes: Sequence[tuple[str, float]], frames: int, agree_min: float) -> tuple[str, float | None]:
    """The label that enough of all frames agree on, and that share times its mean score; else empty and None."""
    if not votes:
        return "", None
    label, count = Counter(name for name, _ in votes).most_common(1)[0]
    if count < agree_min * frames:
        return "", None
    score = float(np.mean([score for name, score in votes if name == label]))
    return label, count / frames * score
