"""Camera paths of known motion: what the camera does at each moment, and what an observer should say of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.accuracy.camera_scene import Plane, Pose

AXES = ("pan", "tilt", "roll", "zoom", "truck", "pedestal", "dolly")
"""Right, up, clockwise, in, right, up and forward are +."""
SPEEDS = {"slow": 0.03, "medium": 0.10, "fast": 0.32}
"""Shares of the frame a second, each well inside its class."""
SPREAD = 1.3
"""Speeds are drawn up to this factor below and above them."""
CONDITIONS = ("clear", "clear", "dark", "coarse", "walker", "doubled")
"""In turn: as it is; a third of the light and noise; few bits (crf 33); someone walks through; 12 pictures a second."""
LENGTH_S = 4.0
Rates = Mapping[str, float]
Path = Callable[[float], Mapping[str, float]]
"""Seconds to how far each axis has gone, in shares of the frame (zoom and dolly: of its scale; roll: radians)."""
Walk = Callable[[float], tuple[float, float, float]]
"""Seconds to a subject's place (shares of the frame from its middle) and width (share of the frame's)."""


@dataclass(frozen=True)
class Take:
    """One clip to be rendered, and the truth about it."""

    group: str
    """single, arc, still, handheld, abrupt or complex: a row of the table."""
    kind: str
    path: Path
    phases: tuple[Mapping[str, int], ...]
    """The directions, one mapping a phase; empty mappings are phases that hold still."""
    speed: str | None = None
    handheld: bool = False
    abrupt: bool = False
    deep: bool = True
    """In a scene with depth; else before a flat wall."""
    subject: Walk | None = None
    blur: bool = False
    """With the blur of a shutter that is open for half of each frame."""
    length_s: float = LENGTH_S
    condition: str = "clear"

    @property
    def moves(self) -> tuple[Mapping[str, int], ...]:
        return tuple(phase for phase in self.phases if phase)


def pose(gone: Mapping[str, float], focal: float) -> Pose:
    """The pose after so much of each axis, for a lens of this focal length over the picture's width."""
    tall = 9 / 16
    return Pose(
        yaw=math.atan(gone.get("pan", 0.0) / focal),
        pitch=math.atan(gone.get("tilt", 0.0) * tall / focal),
        roll=gone.get("roll", 0.0),
        right=gone.get("truck", 0.0) / focal,
        up=gone.get("pedestal", 0.0) * tall / focal,
        forward=gone.get("dolly", 0.0),
        zoom=math.exp(gone.get("zoom", 0.0)),
    )


def steady(rates: Rates, length_s: float = LENGTH_S) -> Path:
    """Constant speeds, the middle of the path at the start pose."""
    return lambda t: {axis: rate * (t - length_s / 2) for axis, rate in rates.items()}


def eased(rates: Rates, start_s: float, end_s: float, ramp_s: float) -> Path:
    """Still until `start_s`, then these speeds until `end_s`, with ramps of `ramp_s` at both ends."""

    def gone(t: float) -> Mapping[str, float]:
        way = _ramped(t - start_s, ramp_s) - _ramped(t - end_s, ramp_s)
        return {axis: rate * way for axis, rate in rates.items()}

    return gone


def _ramped(t: float, ramp_s: float) -> float:
    """The way of a speed that rises from 0 to 1 around t = 0 along half a cosine."""
    if t <= -ramp_s / 2:
        return 0.0
    if t >= ramp_s / 2:
        return t
    x = t / ramp_s + 0.5
    return ramp_s * (x / 2 - math.sin(math.pi * x) / (2 * math.pi))


def both(*paths: Path) -> Path:
    """All of these at once."""

    def gone(t: float) -> Mapping[str, float]:
        total: dict[str, float] = {}
        for path in paths:
            for axis, way in path(t).items():
                total[axis] = total.get(axis, 0.0) + way
        return total

    return gone


def hand(rms: float, dice: np.random.Generator) -> Path:
    """A hand's shake: pan and tilt speeds of this rms (shares of the frame a second), a little roll and sway.

    Speed falls with the root of frequency from 0.6 to 7 Hz, as hands' tremor over slow sway does.
    """
    rates = np.geomspace(0.6, 7.0, 14)
    weights = rates**-0.5 * dice.uniform(0.6, 1.4, (4, 14))
    weights *= math.sqrt(2) / np.sqrt((weights**2).sum(axis=1, keepdims=True))
    starts = dice.uniform(0, 2 * np.pi, (4, 14))
    scale = np.array([rms, rms * 1.3, rms * 0.5, rms * 0.3])

    def gone(t: float) -> Mapping[str, float]:
        ways = (weights * np.sin(2 * np.pi * rates * t + starts) / (2 * np.pi * rates)).sum(axis=1) * scale
        return dict(zip(("pan", "tilt", "roll", "truck"), ways.tolist(), strict=True))

    return gone


def _less(path: Path, at_s: float) -> Path:
    """What takes a path back to the start pose at this moment, for ever."""
    gone = {axis: -way for axis, way in path(at_s).items()}
    return lambda t: gone


def jolt(at_s: float, size: float, angle: float) -> Path:
    """A knock: the camera swings and comes to rest within half a second."""

    def gone(t: float) -> Mapping[str, float]:
        since = t - at_s
        way = size * math.exp(-since / 0.12) * math.sin(2 * math.pi * 4.0 * since) if since > 0 else 0.0
        return {"pan": way * math.cos(angle), "tilt": way * math.sin(angle)}

    return gone


def walk(across: float, bob: float, width: float, side: int) -> Walk:
    """A subject that goes `across` of the frame a second to one side, bobbing."""
    return lambda t: (side * across * (t - LENGTH_S / 2), 0.05 + bob * math.sin(2 * math.pi * 1.8 * t), width)


def takes(number: int, dice: np.random.Generator) -> list[Take]:
    """One round over every kind, each axis to both sides; conditions go on in turn from round to round."""
    found = [*_singles(dice), *_still(dice), *_handheld(dice), *_abrupt(dice), *_complex(dice)]
    conditions = [CONDITIONS[(i + number) % len(CONDITIONS)] for i in range(len(found))]
    return [
        replace(take, condition=_fitting(take, condition))
        for take, condition in zip(found, conditions, strict=True)
    ]


def _fitting(take: Take, condition: str) -> str:
    """A second walker proves nothing, and doubled pictures of a still camera are no others."""
    with_subject = take.subject is not None and condition == "walker"
    return "clear" if with_subject else condition


def _singles(dice: np.random.Generator) -> Iterator[Take]:
    names = list(SPEEDS)
    for axis in AXES:
        for side in (1, -1):
            speed = names[int(dice.integers(3))]
            yield single(axis, side, speed, dice)
    for side in (1, -1):
        speed = names[int(dice.integers(2))]
        rate = side * SPEEDS[speed] * 1.5
        # Around a place nearer than most of the picture, so that what is behind it moves too.
        arc = both(steady({"truck": rate}), steady({"pan": -rate / 0.65}))
        yield Take("arc", "arc", arc, ({"truck": side, "pan": -side},))


def _spread(dice: np.random.Generator) -> float:
    return float(SPREAD ** dice.uniform(-1, 1))


def single(axis: str, side: int, speed: str, dice: np.random.Generator) -> Take:
    """Steady motion on one axis."""
    rate = side * SPEEDS[speed] * _spread(dice)
    length_s = 3.0 if axis == "dolly" and speed == "fast" else LENGTH_S
    path = steady({axis: rate}, length_s)
    return Take("single", axis, path, ({axis: side},), speed, blur=speed == "fast", length_s=length_s)


def _still(dice: np.random.Generator) -> Iterator[Take]:
    still = steady({})
    yield Take("still", "static", still, ({},))
    yield Take("still", "static", still, ({},), deep=False)
    for width in (0.2, 0.35):
        across = float(dice.uniform(0.08, 0.25))
        side = 1 if dice.random() < 0.5 else -1
        yield Take("still", "static, subject", still, ({},), subject=walk(across, 0.02, width, side))
    yield Take(
        *("still", "static, subject fills", still, ({},)),
        subject=walk(0.03, 0.01, 0.75, 1 if dice.random() < 0.5 else -1),
    )
    side = 1 if dice.random() < 0.5 else -1
    yield Take(
        *("single", "pan, subject kept", steady({"pan": side * 0.10}), ({"pan": side},), "medium"),
        subject=walk(0.01, 0.015, 0.22, side),
    )


def _handheld(dice: np.random.Generator) -> Iterator[Take]:
    for rms in (0.03, 0.06, 0.12):
        yield Take("handheld", "handheld", hand(rms, dice), ({},), handheld=True)
    side = 1 if dice.random() < 0.5 else -1
    for axis in ("pan", "dolly"):
        path = both(hand(0.05, dice), steady({axis: side * 0.10}))
        yield Take("handheld", f"handheld {axis}", path, ({axis: side},), handheld=True)


def _abrupt(dice: np.random.Generator) -> Iterator[Take]:
    side = 1 if dice.random() < 0.5 else -1
    at = float(dice.uniform(1.2, 2.4))
    way = float(dice.uniform(0.5, 1.1))
    last_s = float(dice.uniform(0.25, 0.45))
    whip = eased({"pan": side * way / last_s}, at, at + last_s, last_s * 0.8)
    yield Take("abrupt", "whip", whip, ({}, {"pan": side}, {}), abrupt=True, blur=True)
    size, angle = float(dice.uniform(0.04, 0.09)), float(dice.uniform(0, 6.28))
    yield Take("abrupt", "jolt", jolt(at, size, angle), ({},), abrupt=True, blur=True)
    start = eased({"pan": side * 0.35}, at, 9.0, 0.08)
    yield Take("abrupt", "sudden start", start, ({}, {"pan": side}), abrupt=True, blur=True)
    axis = ("tilt", "pan")[int(dice.integers(2))]
    there, back = eased({axis: 0.3}, -9.0, at, 0.08), eased({axis: -0.3}, at, 9.0, 0.08)
    yield Take(
        "abrupt",
        "sudden turn",
        both(there, _less(there, at), back),
        ({axis: 1}, {axis: -1}),
        abrupt=True,
        blur=True,
    )


def _complex(dice: np.random.Generator) -> Iterator[Take]:
    def sign() -> int:
        return 1 if dice.random() < 0.5 else -1

    for first, second in (
        ("pan", "tilt"),
        ("pan", "zoom"),
        ("tilt", "zoom"),
        ("truck", "pedestal"),
        ("truck", "dolly"),
    ):
        one, two = sign(), sign()
        rates = {first: one * 0.10 * _spread(dice), second: two * 0.08 * _spread(dice)}
        yield Take("complex", f"{first} + {second}", steady(rates), ({first: one, second: two},), "medium")
    middle = LENGTH_S / 2
    for first, second in (
        ("pan", ""),
        ("", "tilt"),
        ("pan", "tilt"),
        ("zoom", "pan"),
        ("dolly", "pan"),
        ("pan", "pan"),
    ):
        one = sign()
        two = -one if first == second else sign()
        before = eased({first: one * 0.12}, -9.0, middle, 0.5) if first else steady({})
        after = eased({second: two * 0.12}, middle, 9.0, 0.5) if second else steady({})
        phases = ({first: one} if first else {}, {second: two} if second else {})
        kind = f"{first or 'still'}, then {second or 'still'}"
        yield Take("complex", kind, both(before, _less(before, 0.0), after), phases, "medium")


def subject_plane(piece: Plane, walked: tuple[float, float, float], focal: float) -> Plane:
    """A cut-out at a subject's place, at half of the median depth."""
    x, y, width = walked
    depth = 0.5
    across = width * depth / focal
    height, side = piece.texture.shape
    unit = across / side
    middle_x, middle_y = x * depth / focal, y * depth / focal * 9 / 16
    place = np.array(
        [[unit, 0, middle_x - unit * side / 2], [0, unit, middle_y - unit * height / 2], [0, 0, depth]]
    )
    return Plane(piece.texture, piece.alpha, place)
