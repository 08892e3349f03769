"""Bodies with 17 points as the shot expert reads them: how large they are, and from which side they are seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from captioner.experts.boxes import Box
from pipeline.clip import Clip
from pipeline.stage import Row

LEFT, RIGHT = 0, 1
SHOULDERS, HIPS = (5, 6), (11, 12)
"""Places among COCO's keypoints: the person's left, then the right."""
NOSE_TO_EARS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, eq=False)
class Body:
    """One body on one frame."""

    box: Box
    points: npt.NDArray[np.float64]
    """(17, 3) x, y as shares of the frame, and score."""

    def sure(self, point_min: float) -> bool:
        """Shoulders and hips are all found at least so surely."""
        return float(self.points[[*SHOULDERS, *HIPS], 2].min()) >= point_min

    def torso_px(self, clip: Clip) -> tuple[float, float]:
        """From between the shoulders to between the hips: to the right, and down, in pixels of the clip."""
        across, down, _ = self.points[[*HIPS]].mean(axis=0) - self.points[[*SHOULDERS]].mean(axis=0)
        return float(across * clip.width), float(down * clip.height)

    def turn_ratio(self, clip: Clip) -> float:
        """How far the left shoulder is to the right of the right one, over the torso's length.

        About +0.7 seen from the front, 0 from the side and -0.7 from behind.
        """
        left, right = self.points[SHOULDERS[LEFT]], self.points[SHOULDERS[RIGHT]]
        return float((left[0] - right[0]) * clip.width / max(float(np.hypot(*self.torso_px(clip))), 1e-9))

    def upright_torso(self, clip: Clip, point_min: float) -> float | None:
        """The torso's height as a share of the frame's, of someone who stands or sits upright and is seen level.

        None: points unsure, a torso that leans by more than 27 degrees, or one that is short for the body's box
        (who bends or crouches has under a fifth of it; who stands, three tenths; who sits, more).
        """
        across, down = self.torso_px(clip)
        height = down / clip.height
        upright = self.sure(point_min) and abs(across) < 0.5 * down and height > 0.22 * self.box.height
        return height if upright else None

    def head(self) -> tuple[float, float]:
        """The middle of nose, eyes and ears, as shares of the frame."""
        x, y, _ = self.points[[*NOSE_TO_EARS]].mean(axis=0).tolist()
        return x, y


def bodies_of(row: Row) -> list[Body]:
    """The bodies stage's row."""
    found = []
    for one in row["bodies"]:
        numbers = [one[name] for name in ("score", "x0", "y0", "x1", "y1")]
        score, x0, y0, x1, y1 = np.asarray(numbers, np.float32).tolist()
        points = np.asarray(one["points"], np.float32).astype(np.float64).reshape(17, 3)
        found.append(Body(Box(one["frame"], "person", score, x0, y0, x1, y1), points))
    return found


def body_of(bodies: Sequence[Body], frame: int, face: Box | None, person: Box | None) -> Body | None:
    """The body of the main person on a frame: the one whose head is on the face, else that lies on the person's box."""
    here = [body for body in bodies if body.box.frame == frame]
    if face:
        near = [body for body in here if _off(body, face) <= 0.5]
        return min(near, key=lambda body: _off(body, face), default=None)
    on = [body for body in here if person and person.overlap(body.box) >= 0.4]
    return max(on, key=lambda body: person.overlap(body.box) if person else 0.0, default=None)


def _off(body: Body, face: Box) -> float:
    """From a body's head to a face, in heights and widths of the face."""
    x, y = body.head()
    across = (x - face.centre[0]) / max(face.x1 - face.x0, 1e-9)
    return float(np.hypot(across, (y - face.centre[1]) / max(face.height, 1e-9)))
