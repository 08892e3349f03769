"""Camera motion of a clip, from the shared flow signal: directions, speed, shake, and one English sentence.

Four of the six degrees of freedom: pan, tilt, zoom and roll. A two-dimensional motion model cannot tell a
turn from a sideways or vertical travel, nor a zoom from a dolly: `pan` and `tilt` stand for either, and `zoom`
for any approach.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from captioner.experts.boxes import stored
from captioner.experts.phases import Floats, jitter, phases
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage

AXES = ("pan", "tilt", "zoom", "roll")
"""Positive: the camera turns right, turns up, approaches, turns clockwise."""
SLOW_MAX, MEDIUM_MAX = 0.05, 0.20
"""Shares of the frame a second: SkyReels-V2's bounds of slow, medium and fast (arXiv 2504.13074)."""
MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""Standard error of a median over that of a mean, of normal values."""

PHASE = pa.struct(
    [
        pa.field("start_s", pa.float32()),  # from the clip's start
        pa.field("end_s", pa.float32()),
        *(pa.field(axis, pa.float32()) for axis in AXES),  # signed speed, 0 where the axis is still
    ]
)


@dataclass(frozen=True)
class CameraExpert(Stage):
    """How the camera moves. All columns are null, and the sentence empty, where too few pairs show a motion.

    Speeds are shares of the frame a second: of its width (pan), height (tilt), of its scale (zoom), and for
    roll the angle in radians, which is how far opposite edges part as a share of the frame. Between `still_speed`
    and `moving_speed`, and between the two shakes, nothing is claimed: `camera_static` or `camera_handheld` is
    null and the sentence leaves it out. Thresholds without a source are ours.
    """

    name: ClassVar[str] = "camera"
    requires: ClassVar[tuple[str, ...]] = ("flow",)
    columns: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("camera_motion", pa.string()),  # one sentence; empty: not known
            pa.field("camera_confidence", pa.float32()),  # share of the picture that the model explains
            pa.field("camera_static", pa.bool_()),  # neither direction nor shake
            pa.field("camera_handheld", pa.bool_()),
            pa.field("camera_shake", pa.float32()),  # jitter of pan and tilt, share of the frame a second
            pa.field(
                "camera_speed", pa.string()
            ),  # of the fastest axis: slow, medium, fast; null: none moves
            # in the longest moving phase: direction -1, 0 or +1, and signed speed
            *(pa.field(f"camera_{axis}", pa.int8()) for axis in AXES),
            *(pa.field(f"camera_{axis}_speed", pa.float32()) for axis in AXES),
            pa.field("camera_phases", pa.list_(PHASE)),
        ]
    )

    still_speed: float = 0.0075
    """Share of the frame a second up to which an axis is still: what DIS reports on most tripod shots."""
    moving_speed: float = 0.015
    """Share of the frame a second from which an axis moves."""
    static_shake: float = 0.012
    """Jitter, share of the frame a second, up to which the camera does not shake."""
    handheld_shake: float = 0.02
    """Jitter, share of the frame a second, from which the camera is handheld."""
    inlier_share_min: float = 0.5
    """A pair whose motion model explains less of the textured picture is left out: an object may fill it."""
    confidence_min: float = 0.5
    """Share of the textured picture, over all pairs, that must be explained for anything to be said."""
    pairs_min: int = 4
    """Explained pairs that a sentence needs: about two seconds."""
    phase_pairs_min: int = 3
    """Pairs of the shortest phase: 1.5 s on the grid of the flow stage."""
    speed_limit: float = 10.0
    """Share of the frame a second that no camera reaches: wrong timestamps or a wrong flow."""
    same_sign_min: float = 0.8
    """Share of a phase's pairs that must agree on the direction of an axis for it to move."""
    errors_min: float = 2.0
    """Standard errors of the median by which an axis must be off zero for it to move."""
    axis_ratio_min: float = 0.25
    """Speed of an axis over that of the strongest, below which it does not move."""
    repeat_still_min: float = 0.9
    """Share of the picture that is still from which a pair may show one frame twice ..."""
    repeat_neighbour_max: float = 0.5
    """... and below which the pairs before and after it move."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        flow = clip.upstream["flow"]
        still = _column(flow, "flow_still_share")
        fresh = ~repeats(still, self.repeat_still_min, self.repeat_neighbour_max)
        inliers = _column(flow, "flow_inlier_share")
        speeds = camera_speeds(flow)
        known = fresh & (inliers >= self.inlier_share_min) & (np.abs(speeds) <= self.speed_limit).all(axis=1)
        confidence = float(inliers[known].sum() / max(fresh.sum(), 1))
        if known.sum() < self.pairs_min or confidence < self.confidence_min:
            return dict.fromkeys(self.columns.names) | {"camera_motion": ""}
        row = self._row(speeds[known] * fresh.mean(), [*_column(flow, "flow_time_s")[known], clip.duration_s])
        return stored(self.columns, row | {"camera_confidence": confidence})

    def _row(self, speeds: Floats, times_s: Sequence[float]) -> dict[str, Any]:
        shake = float(np.hypot(*jitter(speeds)[:2]))
        handheld = _between(shake, self.static_shake, self.handheld_shake)
        found = self._moves(speeds)
        main = max((move for move in found if move.moves), key=lambda move: move.rows, default=None)
        velocity = np.zeros(len(AXES)) if main is None else main.speeds
        still = all(move.still for move in found)
        return {
            "camera_motion": sentence(found, handheld),
            "camera_static": False if main or handheld else True if still and handheld is False else None,
            "camera_handheld": handheld,
            "camera_shake": shake,
            "camera_speed": speed_word(float(np.abs(velocity).max())) if main else None,
            **{f"camera_{axis}": int(np.sign(v)) for axis, v in zip(AXES, velocity, strict=True)},
            **{f"camera_{axis}_speed": float(v) for axis, v in zip(AXES, velocity, strict=True)},
            "camera_phases": [move.row(times_s) for move in found],
        }

    def _moves(self, speeds: Floats) -> list[Move]:
        """The phases in order, neighbours with the same directions joined."""
        moves: list[Move] = []
        for start, end in phases(speeds, self.still_speed, self.phase_pairs_min):
            move = self._move(speeds, start, end)
            if moves and moves[-1].like(move):
                move = self._move(speeds, moves.pop().start, end)
            moves.append(move)
        return moves

    def _move(self, speeds: Floats, start: int, end: int) -> Move:
        """The phase's median speeds; 0 where an axis does not surely move.

        It moves when the median is fast enough, beyond `errors_min` of its standard errors, shared in direction by
        `same_sign_min` of the pairs, and no less than `axis_ratio_min` of the strongest axis.
        """
        rows = speeds[start:end]
        middle = np.median(rows, axis=0)
        size = np.abs(middle)
        error = MEDIAN_ERROR * jitter(rows) / math.sqrt(len(rows))
        same_sign = (np.sign(rows) == np.sign(middle)).mean(axis=0) >= self.same_sign_min
        strong = size >= size.max() * self.axis_ratio_min
        sure = (size >= self.moving_speed) & (size > self.errors_min * error) & same_sign & strong
        return Move(start, end, np.where(sure, middle, 0.0), still=bool((size <= self.still_speed).all()))


@dataclass(frozen=True)
class Move:
    """One phase: rows [start, end) of the known pairs, and (4,) speeds with 0 where an axis does not move."""

    start: int
    end: int
    speeds: Floats
    still: bool
    """Surely: a phase that neither moves nor is still is one of which nothing is said."""

    @property
    def rows(self) -> int:
        return self.end - self.start

    @property
    def moves(self) -> bool:
        return bool(self.speeds.any())

    def like(self, other: Move) -> bool:
        return self.still == other.still and bool((np.sign(self.speeds) == np.sign(other.speeds)).all())

    def row(self, times_s: Sequence[float]) -> Row:
        """As a PHASE, of the pairs' times and the clip's end; the first phase starts with the clip."""
        axes = {axis: float(v) for axis, v in zip(AXES, self.speeds, strict=True)}
        start_s = float(times_s[self.start]) if self.start else 0.0
        return {"start_s": start_s, "end_s": float(times_s[self.end]), **axes}


def repeats(still_share: Floats, still_min: float, neighbour_max: float) -> npt.NDArray[np.bool_]:
    """(n,) pairs that show one frame twice: still, alone among moving ones.

    Video whose frame rate was raised by repeating frames has them; the speed of its other pairs is too high by
    the share of repeats.
    """
    moving = np.concatenate([[True], still_share < neighbour_max, [True]])
    lonely = moving[:-2] & moving[2:] & (len(still_share) > 2)
    return np.asarray(lonely & (still_share >= still_min))


def _between(value: float, low: float, high: float) -> bool | None:
    """False up to low, True from high, None between."""
    return True if value >= high else False if value <= low else None


def camera_speeds(flow: Row) -> Floats:
    """(n, 4) camera speeds on AXES, shares of the frame a second: the opposite of the picture's motion."""
    pan = -_column(flow, "flow_dx")
    tilt = _column(flow, "flow_dy")
    zoom = _column(flow, "flow_zoom")
    roll = -np.deg2rad(_column(flow, "flow_roll_deg_s"))
    return np.stack([pan, tilt, zoom, roll], axis=1)


def _column(flow: Row, name: str) -> Floats:
    """A flow list through float32: the same value whether it was just measured or read from Parquet."""
    return np.asarray(flow[name], dtype=np.float32).astype(np.float64)


def speed_word(speed: float) -> str:
    """slow, medium or fast, of an absolute share of the frame a second."""
    return "slow" if speed < SLOW_MAX else "medium" if speed <= MEDIUM_MAX else "fast"


def sentence(moves: list[Move], handheld: bool | None) -> str:
    """One English sentence for the phases in order; empty when nothing is sure."""
    subject = "The handheld camera" if handheld else "The camera"
    if any(move.moves for move in moves):
        sure = [_phrase(move.speeds) for move in moves if move.moves or (move.still and not handheld)]
        return f"{subject} {', then '.join(sure)}."
    if handheld:
        return f"{subject} stays in place."
    return f"{subject} is static." if handheld is False and all(move.still for move in moves) else ""


_WORDS = (
    ("pans", "to the left", "to the right"),
    ("tilts", "down", "up"),
    ("zooms", "out", "in"),
    ("rolls", "counterclockwise", "clockwise"),
)
_ADVERB = {"slow": " slowly", "medium": "", "fast": " quickly"}


def _phrase(speeds: Floats) -> str:
    said = [
        f"{verb}{_ADVERB[speed_word(abs(float(speed)))]} {forward if speed > 0 else back}"
        for (verb, back, forward), speed in zip(_WORDS, speeds, strict=True)
        if speed != 0
    ]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said) or "holds still"
