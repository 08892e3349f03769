"""Shot type, angle and position of clips with people, and the angle of others where upright lines tell it.

What cannot be told stays empty: a wrong label costs more than silence. Type comes from the size of a face, of a whole
standing figure, or of an upright torso; position from where the face looks and the order of the shoulders; angle from
upright lines (`horizon`) and level faces. Over-the-shoulder, overhead, aerial and overlooking views and a point of view
are never said, nor is the type of a clip without people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from captioner.experts.angle import Angles, angle_of
from captioner.experts.bodies import Body, bodies_of, body_of
from captioner.experts.boxes import Box, face_boxes, human_faces, largest, object_boxes, stored
from captioner.experts.heads import eye_height, eyes_ratio, nose_ratio, tilt_deg, yaw_ratio
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage

FACE_PER_FIGURE = 0.12
"""Height of a detected face (brow to chin) over that of the standing person: 0.9 of a head, 7.5 heads a body."""
TORSO_PER_FIGURE = 0.288
"""Height of shoulders over hips over that of the standing person (Winter 2009, Biomechanics, figure 4.1)."""

SAME_RATIO = 1.7
"""A face may be so many times as high or as low as the figure implies: children, hats, boxes that wobble."""


@dataclass(frozen=True)
class Seen:
    """The main person on one frame: a face, the detector's box, a body; at least one of the first two."""

    face: Box | None
    person: Box | None
    body: Body | None

    @property
    def score(self) -> float:
        """The detector's score of what says how near the person is."""
        seen = self.face or self.person
        return seen.score if seen else 0.0


@dataclass(frozen=True)
class ShotExpert(Stage):
    """How near the main person is, from which side and from which height seen; empty strings where it cannot know.

    The bounds of `shot_scale` are ours, from the terms' meaning: a figure under 45 % of the frame's height is a long
    shot, a whole one a full shot, one cut at the waist or chest a medium shot, head and shoulders a close-up, less
    than a face an extreme close-up. A label is said when `agree_min` of the frames looked at agree on it.
    """

    name: ClassVar[str] = "shot"
    version: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("faces", "objects", "bodies", "horizon")
    columns: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field(
                "shot_scale", pa.float32()
            ),  # face height of the main person, share of the frame's; median
            pa.field("shot_type", pa.string()),
            pa.field(
                "shot_type_confidence", pa.float32()
            ),  # share of frames that agree, times detection score
            pa.field("shot_angle", pa.string()),
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
    front_eyes_min: float = 0.28
    """`eyes_ratio` that a head seen from the front has at least ..."""
    side_eyes_max: float = 0.21
    """... and up to which it is seen from the side, whatever its nose says."""
    turned_body_min: float = 0.40
    """|turn_ratio| of the shoulders from which a body is seen from the front (+) or from behind (-) ..."""
    side_body_max: float = 0.15
    """... and up to which from the side."""
    point_min: float = 0.5
    """Score of shoulders and hips that are relied on."""
    cut_max: float = 0.02
    """A figure's box that comes this near to the frame's top or bottom, as a share of its height, may go on beyond."""
    upright_max: float = 0.6
    """Width of a standing figure's box over its height, in pixels: wider ones sit, lie or are several."""
    level_max_deg: float = 20.0
    """Pitch up to which it is eye level when the main person's eyes are near the horizon, as high as the camera ..."""
    eye_line_max: float = 0.25
    """... within this share of the person's stature."""
    turned_min_deg: float = 12.0
    """Pitch from which it is else a high or a low angle ..."""
    turned_max_deg: float = 40.0
    """... and beyond which the lines may be those of a floor that run to the horizon."""
    nose_min: float = 0.45
    """`nose_ratio` of a face that is seen level, at least ..."""
    nose_max: float = 0.70
    """... and at most; ..."""
    tilt_max_deg: float = 25.0
    """... it is tilted sideways by so much at most."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        people = self.main_people(clip)
        looked = len(people)
        scales = [
            (scale, one.score) for one in people if one and (scale := self.scale_of(one, clip)) is not None
        ]
        types = [(self.type_of(scale), score) for scale, score in scales]
        views = [(view, one.score) for one in people if one and (view := self.view_of(one, clip))]
        level = [("level", one.score) for one in people if one and one.face and self.is_level(one.face, clip)]
        eyes = [
            (eye_height(one.face), one.face.height / FACE_PER_FIGURE) for one in people if one and one.face
        ]
        shot_type, type_confidence = agreed(types, looked, self.agree_min)
        position, position_confidence = agreed(views, looked, self.agree_min)
        said = Angles(
            self.level_max_deg, self.turned_min_deg, self.turned_max_deg, self.agree_min, self.eye_line_max
        )
        faces = agreed(level, looked, self.agree_min)[1] or 0.0
        angle, angle_confidence = angle_of(clip.upstream["horizon"], eyes, faces, said)
        row = {
            "shot_scale": float(np.median([scale for scale, _ in scales])) if scales else None,
            "shot_type": shot_type,
            "shot_type_confidence": type_confidence,
            "shot_angle": angle,
            "shot_angle_confidence": angle_confidence,
            "shot_position": position,
            "shot_position_confidence": position_confidence,
        }
        return stored(self.columns, row)

    def main_people(self, clip: Clip) -> list[Seen | None]:
        """The main person of each frame looked at: the largest; None on a frame without people."""
        objects = object_boxes(clip.upstream["objects"])
        faces = human_faces(face_boxes(clip.upstream["faces"]), objects)
        people = [box for box in objects if box.label == "person"]
        bodies = bodies_of(clip.upstream["bodies"])
        found: list[Seen | None] = []
        for frame in clip.upstream["faces"]["face_frames"]:
            face, person = largest(faces, frame), largest(people, frame)
            if face and person and not person.holds(face.centre):
                face = None  # the face of someone behind the main person
            body = body_of(bodies, frame, face, person)
            found.append(Seen(face, person, body) if face or person else None)
        return found

    def type_of(self, scale: float) -> str:
        """The shot type of a face height, as a share of the frame's."""
        bounds = (
            (self.long_shot_max, "long_shot"),
            (self.full_shot_max, "full_shot"),
            (self.medium_shot_max, "medium_shot"),
            (self.close_up_max, "close_up"),
        )
        return next((name for most, name in bounds if scale <= most), "extreme_close_up")

    def scale_of(self, one: Seen, clip: Clip) -> float | None:
        """The face height that the whole figure implies, else the face's own, else the torso's; None: nothing tells.

        A whole figure makes a full shot whatever the size of the head; a box that no standing person with this face
        would have is that of someone whom a table or another person hides below.
        """
        figure = self.figure_scale(one.person, clip) if one.person else None
        if one.face:
            same = figure is not None and 1 / SAME_RATIO <= one.face.height / figure <= SAME_RATIO
            return figure if same else one.face.height
        if figure is not None:
            return figure
        torso = one.body.upright_torso(clip, self.point_min) if one.body else None
        return torso * FACE_PER_FIGURE / TORSO_PER_FIGURE if torso is not None else None

    def figure_scale(self, person: Box, clip: Clip) -> float | None:
        """The face height that a whole standing figure implies; None when the box is cut off or is no standing one."""
        whole = person.y0 > self.cut_max and person.y1 < 1 - self.cut_max
        width_px = (person.x1 - person.x0) * clip.width
        upright = width_px < self.upright_max * person.height * clip.height
        return person.height * FACE_PER_FIGURE if whole and upright else None

    def view_of(self, one: Seen, clip: Clip) -> str | None:
        """front_view, side_view or back_view; None where face and shoulders tell nothing, or two things."""
        told = {self.face_view(one.face, clip) if one.face else None}
        told |= {self.body_view(one.body, clip) if one.body else None}
        told.discard(None)
        return told.pop() if len(told) == 1 else None

    def face_view(self, face: Box, clip: Clip) -> str | None:
        """front_view or side_view; None for a head between them."""
        turned, eyes = abs(yaw_ratio(face, clip)), eyes_ratio(face, clip)
        if turned >= self.side_yaw_min or eyes <= self.side_eyes_max:
            return "side_view"
        return "front_view" if turned <= self.front_yaw_max and eyes >= self.front_eyes_min else None

    def body_view(self, body: Body, clip: Clip) -> str | None:
        """front_view, side_view or back_view by the order of the shoulders; None between them, or when unsure."""
        turn = body.turn_ratio(clip)
        if body.upright_torso(clip, self.point_min) is None:
            return None
        if abs(turn) <= self.side_body_max:
            return "side_view"
        if abs(turn) < self.turned_body_min:
            return None
        return "front_view" if turn > 0 else "back_view"

    def is_level(self, face: Box, clip: Clip) -> bool:
        """The face is upright, and seen from the front and neither from above nor from below."""
        return (
            self.face_view(face, clip) == "front_view"
            and tilt_deg(face, clip) <= self.tilt_max_deg
            and self.nose_min <= nose_ratio(face, clip) <= self.nose_max
        )


def agreed(votes: Sequence[tuple[str, float]], frames: int, agree_min: float) -> tuple[str, float | None]:
    """The label that enough of all frames agree on, and that share times its mean score; else empty and None."""
    if not votes:
        return "", None
    label, count = Counter(name for name, _ in votes).most_common(1)[0]
    if count < agree_min * frames:
        return "", None
    score = float(np.mean([score for name, score in votes if name == label]))
    return label, count / frames * score
