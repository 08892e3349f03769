"""Scenes with depth, made of real pictures, and the view of a camera at any pose in them: pictures of known motion.

A scene is a few planes: a far wall and, where it is deep, a ground and cut-outs before it. Each is seen through the
homography of its plane, so that turns, travel and parallax are exact (Hartley & Zisserman 2004, 13.1). Axes: x right,
y down, z forward; lengths are in units of the depth that half of the picture is nearer than.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Gray = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
WIDTH, HEIGHT = 480, 270
NEAREST = 0.05
"""A plane this near to the camera, or behind it, is not drawn."""
WALL, GROUND = 2.5, 0.3
"""Depth of the wall, and how far the ground lies under the camera, before scaling to the median depth."""


@dataclass(frozen=True)
class Pose:
    """Where the camera is and looks: angles in radians (right, up, clockwise are +), place, and a factor of zoom."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    right: float = 0.0
    up: float = 0.0
    forward: float = 0.0
    zoom: float = 1.0


@dataclass(frozen=True, eq=False)
class Plane:
    """A picture on a plane: texture and alpha (height, width), and the matrix of its pixels to points of the world."""

    texture: Gray
    alpha: Gray | None
    """None: it covers all, mirrored at its edges for ever."""
    place: Floats
    """(3, 3): the world's (x, y, z) of a texture's pixel (s, t, 1)."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Planes from far to near, and the lens: its focal length over the picture's width."""

    planes: tuple[Plane, ...]
    focal: float

    def view(self, pose: Pose, subject: Plane | None = None) -> Gray:
        """(HEIGHT, WIDTH) luma of what the camera sees; a subject stands before all else."""
        import cv2

        seen = np.zeros((HEIGHT, WIDTH), np.uint8)
        for plane in (*self.planes, *([subject] if subject is not None else [])):
            matrix = self._matrix(plane, pose)
            if matrix is None:
                continue
            edge = cv2.BORDER_REFLECT if plane.alpha is None else cv2.BORDER_CONSTANT
            drawn = cv2.warpPerspective(
                plane.texture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=edge
            )
            if plane.alpha is None:
                seen = drawn
                continue
            alpha = cv2.warpPerspective(plane.alpha, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
            share = alpha.astype(np.float32) / 255
            seen = cv2.blendLinear(drawn, seen, share, 1 - share)
        return np.asarray(seen, np.uint8)

    def _matrix(self, plane: Plane, pose: Pose) -> Floats | None:
        """(3, 3) texture's pixels to the view's; None where the plane is behind the camera."""
        focal = self.focal * WIDTH * pose.zoom
        lens = np.array([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1.0]])
        eye = np.array([pose.right, -pose.up, pose.forward])
        points = plane.place - np.outer(eye, [0, 0, 1.0])
        inside = turn(pose) @ points
        height, width = plane.texture.shape
        middle = inside @ np.array([width / 2, height / 2, 1.0])
        return np.asarray(lens @ inside) if middle[2] > NEAREST else None


def turn(pose: Pose) -> Floats:
    """(3, 3) world's directions to the camera's."""
    cy, sy, cp, sp = np.cos(pose.yaw), np.sin(pose.yaw), np.cos(pose.pitch), np.sin(pose.pitch)
    cr, sr = np.cos(pose.roll), np.sin(pose.roll)
    yaw = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    roll = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray(roll @ pitch @ yaw, np.float64)


def upright(texture: Gray, alpha: Gray | None, x: float, y: float, depth: float, across: float) -> Plane:
    """A plane that faces the camera: its middle at (x, y, depth), `across` wide."""
    height, width = texture.shape
    unit = across / width
    place = np.array([[unit, 0, x - unit * width / 2], [0, unit, y - unit * height / 2], [0, 0, depth]])
    return Plane(texture, alpha, place)


def flat(picture: Gray, focal: float) -> Scene:
    """A wall alone: no camera path shows parallax on it."""
    return Scene((upright(picture, None, 0, 0, 1.0, 1.15 / focal),), focal)


def deep(pictures: Sequence[Gray], focal: float, dice: np.random.Generator) -> Scene:
    """A wall (the first picture), a ground (the second) and cut-outs of the others from far to near."""
    wall = upright(pictures[0], None, 0, -0.1, WALL, 1.3 * WALL / focal)
    planes = [wall, _ground(pictures[1 % len(pictures)])]
    depths = np.sort(dice.uniform(0.7, 1.9, 9))[::-1]
    slots = dice.permutation(9)
    for i, (depth, slot) in enumerate(zip(depths, slots, strict=True)):
        picture = pictures[(i + 2) % len(pictures)]
        reach = depth / focal
        x = (slot - 4 + dice.uniform(-0.3, 0.3)) * 0.32 * reach
        y = dice.uniform(-0.1, 0.12) * reach
        planes.append(cut_out(picture, x, y, float(depth), float(dice.uniform(0.25, 0.4)) * reach, dice))
    return _scaled(Scene(tuple(planes), focal))


def cut_out(
    picture: Gray, x: float, y: float, depth: float, across: float, dice: np.random.Generator
) -> Plane:
    """A soft-edged piece of a picture with a lobed outline."""
    import cv2

    side = min(picture.shape)
    left = int(dice.integers(0, picture.shape[1] - side + 1))
    top = int(dice.integers(0, picture.shape[0] - side + 1))
    piece = cv2.resize(
        picture[top : top + side, left : left + side], (256, 256), interpolation=cv2.INTER_AREA
    )
    ys, xs = np.mgrid[-1:1:256j, -1:1:256j]
    angle = np.arctan2(ys, xs)
    waves = [dice.uniform(-0.1, 0.1) * np.cos(k * angle + dice.uniform(0, 6)) for k in (2, 3, 5)]
    inside = (0.8 + sum(waves) - np.hypot(xs, ys)) * 40
    alpha = np.clip(inside * 255 + 128, 0, 255).astype(np.uint8)
    return upright(piece, alpha, x, y, depth, across)


def _ground(picture: Gray) -> Plane:
    """A floor that runs from under the camera to the wall, far to both sides."""
    import cv2

    tile = cv2.resize(picture, (640, 360), interpolation=cv2.INTER_AREA)
    row = np.concatenate([tile, tile[:, ::-1]] * 3, axis=1)
    texture = np.ascontiguousarray(np.concatenate([row[::-1], row], axis=0))
    height, width = texture.shape
    unit = 8.0 / width
    place = np.array([[unit, 0, -4.0], [0, 0, GROUND], [0, -WALL * 0.999 / height, WALL * 0.999]])
    alpha = np.full(texture.shape, 255, np.uint8)
    return Plane(texture, alpha, place)


def _scaled(scene: Scene) -> Scene:
    """The same scene in units of its median depth, as seen from the start."""
    import cv2

    depth = np.full((HEIGHT, WIDTH), WALL, np.float32)
    rays = np.linspace(0, HEIGHT - 1, HEIGHT)[:, None] - (HEIGHT - 1) / 2
    for number, plane in enumerate(scene.planes[1:]):
        matrix = scene._matrix(plane, Pose())
        if matrix is None or plane.alpha is None:
            continue
        drawn = cv2.warpPerspective(plane.alpha, matrix, (WIDTH, HEIGHT)) > 127
        ground = GROUND * scene.focal * WIDTH / np.maximum(rays, 1e-6)
        here = np.broadcast_to(ground if number == 0 else plane.place[2, 2], depth.shape)
        depth = np.where(drawn, here, depth).astype(np.float32)
    middle = 1 / float(np.median(1 / depth))
    return Scene(
        tuple(Plane(one.texture, one.alpha, one.place / middle) for one in scene.planes), scene.focal
    )


def still_of(picture: Any) -> Gray:
    """The luma of an (h, w, 3) RGB picture."""
    import cv2

    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
