"""The clean clips that defects are rendered on: real footage, chosen by eye, cut and decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.accuracy.defect import Pictures
from pipeline.frames import Decoder, VideoIndex
from pipeline.stage import FrameSpec

EVERY_FRAME_S = 1 / 240
"""A grid finer than the frames of any of these videos: it shows every frame."""
BLOCK_PX = 8
"""Sides are cut to a multiple of it: FFmpeg's conversion of decoded frames of other heights to RGB is not the same
twice."""
FRAMES_A_READ = 24
"""A second of film is decoded at a time, so that the decoding child stays within its memory."""
TRAITS = {
    "animation": "rendered, not filmed",
    "still": "a locked-off camera and little that moves",
    "dark": "mostly black",
    "grain": "visible noise of the camera",
}


@dataclass(frozen=True)
class Clean:
    """A span of a video in which nothing is wrong."""

    name: str
    video: str
    """Under a media folder."""
    start_s: float
    length_s: float
    height_px: int | None = None
    """Scaled to this height; None is the source's."""
    traits: tuple[str, ...] = ()
    """What it has by nature, of TRAITS."""
    again: bool = False
    """Shows the take of a clip above: the two are no strangers to each other."""


@dataclass(frozen=True, eq=False)
class Footage:
    """A clean clip's pictures; width and height are whole blocks of BLOCK_PX."""

    name: str
    pictures: Pictures
    fps: float
    traits: tuple[str, ...]


_FILM = "film.elephants/elephants_dream.mp4"
_BUNNY = "demo.bunny/big_buck_bunny_scene.mp4"
_TRAILER = "demo.trailer/big_buck_bunny_trailer.mp4"
_WOMAN = "demo.woman/woman_emotions.mp4"
_BIKES = "demo.bikes/paris_bikes.mp4"
_CITY = "demo.city/city_night.mpg"
_EARTH = "demo.earth/earth_at_night.mp4"
_PARK = "people.park/park_walk.mp4"
_DRAWN = ("animation",)

CLEAN: tuple[Clean, ...] = (
    Clean("woman sad", _WOMAN, 0.5, 4.0),
    Clean("park, a jump", _PARK, 0.2, 3.8, 480, ("still",)),
    Clean("film: at the door", _FILM, 27.0, 4.0, 720, _DRAWN),
    Clean("film: ropes in the dark", _FILM, 43.0, 4.0, 480, (*_DRAWN, "dark")),
    Clean("city at night", _CITY, 0.2, 3.8, None, ("dark",)),
    Clean("bunny wakes", _BUNNY, 0.2, 4.0, 720, _DRAWN),
    Clean("film: red hall", _FILM, 155.0, 4.0, 360, _DRAWN),
    Clean("man smiles", "people.smile/man_smiles.mp4", 0.0, 2.4, None, ("still",)),
    Clean("film: two in a room", _FILM, 363.2, 4.0, 360, _DRAWN),
    Clean("street, cyclist", _BIKES, 3.1, 2.3),
    Clean("film: machine", _FILM, 342.0, 4.0, 480, (*_DRAWN, "still")),
    Clean("the Earth turns", _EARTH, 3.0, 4.0, None, ("dark",)),
    Clean("film: a hand rises", _FILM, 353.0, 4.0, 360, _DRAWN),
    Clean("woman laughs", _WOMAN, 8.0, 4.0, again=True),
    Clean("park, a walk", _PARK, 4.0, 3.5, 480, ("still",), again=True),
    Clean("film: green room", _FILM, 385.0, 4.0, 360, _DRAWN),
    Clean("street, legs", _BIKES, 7.5, 2.1, None, ("still",)),
    Clean("bunny by the rocks", _TRAILER, 25.2, 4.0, 480, _DRAWN, again=True),
    Clean("film: talk in green", _FILM, 397.5, 4.0, 360, _DRAWN),
    Clean("film: turning away", _FILM, 415.0, 4.0, 360, _DRAWN),
    Clean("bunny by the tree", _TRAILER, 37.8, 3.3, 480, _DRAWN),
    Clean("film: vines", _FILM, 443.5, 4.0, 360, _DRAWN),
    Clean("woman, hand at her face", _WOMAN, 15.0, 4.0, again=True),
    Clean("film: fear", _FILM, 449.8, 4.0, 480, _DRAWN),
    Clean("film: through the door", _FILM, 187.0, 4.0, 360, _DRAWN),
    Clean("film: in the storm", _FILM, 478.0, 4.0, 360, _DRAWN),
    Clean("street, a fence", _BIKES, 5.5, 1.9),
)
"""In an order in which any few of them are varied."""


def find(video: str, folders: Sequence[Path]) -> Path:
    """The video in one of the media folders. FileNotFoundError says what to run."""
    for folder in folders:
        if (folder / video).is_file():
            return folder / video
    places = " or ".join(map(str, folders)) or "no folder"
    raise FileNotFoundError(f"{video} is not in {places}: `make accuracy` fetches it")


def load(clean: Clean, folders: Sequence[Path], decoder: Decoder) -> Footage:
    """Decodes a clean clip, every frame of it, upright and square. Raises FileNotFoundError, MediaError."""
    path = str(find(clean.video, folders))
    index = VideoIndex.from_row(decoder.probe(path))
    first, last = np.searchsorted(index.times_s, (clean.start_s, clean.start_s + clean.length_s))
    spec = FrameSpec(EVERY_FRAME_S, short_side_px=clean.height_px)
    spans = [
        (start, min(start + FRAMES_A_READ, int(last)))
        for start in range(int(first), int(last), FRAMES_A_READ)
    ]
    batches = [decoder.read(path, index, [span], spec)[0].images for span in spans]
    pictures = np.concatenate(batches)
    height, width = (side // BLOCK_PX * BLOCK_PX for side in pictures.shape[1:3])
    blocks = np.ascontiguousarray(pictures[:, :height, :width])
    return Footage(clean.name, blocks, float(index.fps), clean.traits)
