"""A camera path filmed: the frames of a take under its condition, and their file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.accuracy.camera_paths import Take, pose, subject_plane, walk
from benchmarks.accuracy.camera_scene import Floats, Gray, cut_out, deep, flat

FPS = 24
USUAL_CRF, COARSE_CRF = "23", "33"
"""x264's default, and few bits."""
NOISE, DARK_NOISE, DARK = 1.5, 3.0, 0.35
"""Luma levels of noise in the light and in the dark, and the dark's share of the light."""
SHUTTER = (-0.2, 0.0, 0.2)
"""Moments of an open shutter, in frames."""


def film(take: Take, pictures: Sequence[Gray], dice: np.random.Generator) -> list[Gray]:
    """The frames of a take in a scene of these pictures, in any order that the dice choose."""
    chosen = [pictures[i] for i in dice.permutation(len(pictures))[:5]]
    focal = float(dice.uniform(0.8, 1.6))
    scene = deep(chosen, focal, dice) if take.deep else flat(chosen[0], focal)
    piece = cut_out(chosen[-1], 0, 0, 1, 1, dice)
    walked = take.subject
    if take.condition == "walker":
        walked = walk(float(dice.uniform(0.15, 0.3)), 0.02, 0.22, int(dice.choice((-1, 1))))

    def seen(t: float) -> Floats:
        plane = subject_plane(piece, walked(t), focal) if walked else None
        return scene.view(pose(take.path(t), focal), plane).astype(np.float64)

    light, noise = (DARK, DARK_NOISE) if take.condition == "dark" else (1.0, NOISE)
    frames: list[Gray] = []
    for number in range(round(take.length_s * FPS)):
        if take.condition == "doubled" and number % 2:
            frames.append(frames[-1])
            continue
        moments = SHUTTER if take.blur else (0.0,)
        view = np.mean([seen((number + moment) / FPS) for moment in moments], axis=0) * light
        frames.append(np.clip(np.rint(view + dice.normal(0, noise, view.shape)), 0, 255).astype(np.uint8))
    return frames


def encode(frames: Sequence[Gray], condition: str, path: Path) -> None:
    """Writes luma frames as H.264."""
    import av

    crf = COARSE_CRF if condition == "coarse" else USUAL_CRF
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape, "yuv420p"
        stream.options = {
            "preset": "veryfast",
            "crf": crf,
            "threads": "1",
            "x264-params": "cpu-independent=1",
        }
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            file.mux(stream.encode(frame.reformat(format="yuv420p")))
        file.mux(stream.encode(None))
