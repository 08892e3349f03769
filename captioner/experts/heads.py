"""How a head is turned, from the five landmarks of its face."""

from __future__ import annotations

import numpy as np

from captioner.experts.boxes import Box
from pipeline.clip import Clip


def yaw_ratio(face: Box, clip: Clip) -> float:
    """Signed offset of the nose from between the eyes, over the eyes' distance; + is towards the right of the picture.

    About 0.55 tan(yaw): the nose tip stands 35 mm before eyes 64 mm apart (adult means). In pixels, along the eyes'
    line, so that a tilted head does not count.
    """
    points = np.reshape(face.landmarks, (5, 2)) * (clip.width, clip.height)
    eyes = points[1] - points[0]
    nose = points[2] - (points[0] + points[1]) / 2
    return float(nose @ eyes / max(float(eyes @ eyes), 1e-12))


def eyes_ratio(face: Box, clip: Clip) -> float:
    """Distance of the eyes over the face's height: about 0.35 from the front, under 0.2 in profile, where the landmarks
    of the far side are guessed and `yaw_ratio` may be that of a head turned by half as much."""
    points = np.reshape(face.landmarks, (5, 2)) * (clip.width, clip.height)
    return float(np.hypot(*(points[1] - points[0])) / max(face.height * clip.height, 1e-9))


def tilt_deg(face: Box, clip: Clip) -> float:
    """How far the eyes' line is off the level, 0 to 180 degrees."""
    points = np.reshape(face.landmarks, (5, 2)) * (clip.width, clip.height)
    across, down = points[1] - points[0]
    return float(abs(np.degrees(np.arctan2(down, across))))


def nose_ratio(face: Box, clip: Clip) -> float:
    """How far down the nose tip is from between the eyes to between the mouth's corners: 0.5 to 0.65 seen level.

    It falls as the head tips back or is seen from below, and rises the other way.
    """
    points = np.reshape(face.landmarks, (5, 2)) * (clip.width, clip.height)
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    return float((points[2] - eyes) @ down / max(float(down @ down), 1e-12))


def eye_height(face: Box) -> float:
    """Height of the eyes in the frame, 0 top and 1 bottom."""
    return (face.landmarks[1] + face.landmarks[3]) / 2
