"""A camera's motion in steady phases: which way it goes in each, and whether it turns or travels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from captioner.experts.camera_signals import Steps
from captioner.experts.phases import Floats, jitter, phases
from pipeline.stage import Row

APPARENT = ("right", "up", "inward", "roll")
"""What the picture alone shows, whatever the cause. Positive: right, up, closer, clockwise."""
AXES = ("pan", "tilt", "roll", "zoom", "truck", "pedestal", "dolly")
"""Six degrees of freedom and the lens: the first two turn the camera up and right, the last three carry it."""
TURN, TRAVEL = "turn", "travel"
TRAVEL_STEPS_MIN, TRAVEL_STEPS_MAX, TURN_STEPS_MIN = 0.3, 0.15, 0.6
"""Shares of a phase's moving steps: with parallax, from which it is travel and up to which it may be a turn; and
without, from which it is one. Ours."""
WHOLE = 0.95
"""Share of the texture that follows a turn, from which a little more along the motion is noise, as across it. Ours."""
MORE_SHARE = 0.2
"""Of the texture, that travel must explain beyond a turn where noise hides which way parallax goes. Ours."""
MEDIAN_ERROR = math.sqrt(math.pi / 2)
"""Standard error of a median over that of a mean, of normal values."""
PHASE = pa.struct(
    [
        pa.field("start_s", pa.float32()),  # from the clip's start
        pa.field("end_s", pa.float32()),
        *(pa.field(name, pa.float32()) for name in APPARENT),  # signed speed, 0 where it does not move
        pa.field(
            "kind", pa.string()
        ),  # turn: pan, tilt, zoom; travel: truck, pedestal, dolly; null: not told
    ]
)


@dataclass(frozen=True)
class Bounds:
    """What tells one motion from another: see CameraExpert for each."""

    still_speed: float
    moving_speed: float
    phase_steps_min: int
    same_sign_min: float
    errors_min: float
    axis_ratio_min: float
    still_rim_min: float
    unsure_share_min: float
    turn_share_min: float
    turn_along_max: float
    travel_share_min: float
    travel_along_min: float
    travel_along_max: float
    travel_across_ratio: float


@dataclass(frozen=True)
class Move:
    """One phase: rows [start, end) of the known steps, and (4,) speeds on APPARENT, 0 where it does not move."""

    start: int
    end: int
    speeds: Floats
    kind: str | None
    still: bool
    """Surely: a phase that neither moves nor is still is one of which nothing is said."""
    agreed: Floats
    """(4,) share of the phase's steps that show the same direction, or the same want of one."""
    explained: float
    """Mean share of the texture that the phase's kind of motion explains."""

    @property
    def rows(self) -> int:
        return self.end - self.start

    @property
    def moves(self) -> bool:
        return bool(self.speeds.any())

    def like(self, other: Move) -> bool:
        return self.still == other.still and bool((np.sign(self.speeds) == np.sign(other.speeds)).all())

    def row(self, starts_s: Floats, end_s: float) -> Row:
        """As a PHASE; the first one starts with the clip, the last one ends with it (`end_s`)."""
        named = {name: float(speed) for name, speed in zip(APPARENT, self.speeds, strict=True)}
        start = float(starts_s[self.start]) if self.start else 0.0
        end = float(starts_s[self.end]) if self.end < len(starts_s) else end_s
        return {"start_s": start, "end_s": end, **named, "kind": self.kind}

    def axes(self) -> dict[str, float | None]:
        """The speed on each of AXES; None where the picture moves and turn and travel cannot be told apart."""
        right, up, inward, roll = (float(speed) for speed in self.speeds)
        pairs = zip(
            (("pan", "truck"), ("tilt", "pedestal"), ("zoom", "dolly")), (right, up, inward), strict=True
        )
        found: dict[str, float | None] = {"roll": roll}
        for (turned, carried), speed in pairs:
            unsure = speed != 0 and self.kind is None
            found[turned] = None if unsure else speed if self.kind != TRAVEL else 0.0
            found[carried] = None if unsure else speed if self.kind == TRAVEL else 0.0
        return found

    def confidence(self, axis: str) -> float:
        """How sure the sign on one of AXES is: the share of the texture that goes so, times that of the steps."""
        column = {"roll": 3, "pan": 0, "truck": 0, "tilt": 1, "pedestal": 1, "zoom": 2, "dolly": 2}[axis]
        return float(self.explained * self.agreed[column])


def moves(steps: Steps, bounds: Bounds) -> list[Move]:
    """The phases in order, neighbours with the same directions joined."""
    still = steps.still >= bounds.still_rim_min
    law = np.where(still[:, None], 0.0, steps.law)
    found: list[Move] = []
    for start, end in phases(law, bounds.still_speed, bounds.phase_steps_min):
        move = _move(steps, law, start, end, bounds)
        if found and found[-1].like(move):
            move = _move(steps, law, found.pop().start, end, bounds)
        found.append(move)
    return found


def _move(steps: Steps, law: Floats, start: int, end: int, bounds: Bounds) -> Move:
    """The phase's median speeds; 0 where it does not surely move that way.

    It moves when the median is fast enough, beyond `errors_min` of its standard errors, shared in direction by
    `same_sign_min` of the steps, and no less than `axis_ratio_min` of the strongest.
    """
    rows = law[start:end]
    kind = _kind(steps, start, end, bounds)
    if kind == TRAVEL:  # parallax looks like roll and growth to the law of a turn, and not to that of travel
        carried = np.pad(steps.travel[start:end], ((0, 0), (0, 1)))
        rows = np.where(rows.any(axis=1, keepdims=True), carried, 0.0)
    middle = np.median(rows, axis=0)
    size = np.abs(middle)
    error = MEDIAN_ERROR * jitter(rows) / math.sqrt(len(rows))
    same_sign = (np.sign(rows) == np.sign(middle)).mean(axis=0)
    sure = (size >= bounds.moving_speed) & (size > bounds.errors_min * error)
    sure &= (same_sign >= bounds.same_sign_min) & (size >= size.max() * bounds.axis_ratio_min)
    share = (steps.travel_share if kind == TRAVEL else np.maximum(steps.share, steps.still))[start:end]
    speeds = np.where(sure & (kind is not None or np.median(share) >= bounds.unsure_share_min), middle, 0.0)
    least = max(bounds.moving_speed, float(size.max()) * bounds.axis_ratio_min)
    quiet = (np.abs(rows) < least).mean(axis=0)
    return Move(
        start,
        end,
        speeds,
        kind if speeds[:3].any() else None,
        still=bool((size <= bounds.still_speed).all()),
        agreed=np.where(sure, same_sign, quiet),
        explained=float(share.mean()),
    )


def _kind(steps: Steps, start: int, end: int, bounds: Bounds) -> str | None:
    """Whether the steps that move show a turn or travel; None where they show neither, or both.

    Travel needs parallax in some steps alone: what stands before a wall may be seen for a while. A turn never has any.
    """
    here = slice(start, end)
    along, share, travelled = steps.along[here], steps.share[here], steps.travel_share[here]
    moving = steps.still[here] < bounds.still_rim_min
    turns = moving & (share >= bounds.turn_share_min) & (along <= bounds.turn_along_max)
    across = bounds.travel_across_ratio * steps.across[here]
    turns |= moving & (share >= WHOLE) & (along <= bounds.travel_along_min) & (along < across)
    travels = moving & (travelled >= bounds.travel_share_min) & (along >= bounds.travel_along_min)
    travels &= along <= bounds.travel_along_max
    more = travelled >= share + MORE_SHARE
    travels &= (along >= across) | more
    if travels.sum() >= max(2, TRAVEL_STEPS_MIN * moving.sum()):
        return TRAVEL
    few = travels.sum() <= TRAVEL_STEPS_MAX * moving.sum()
    return TURN if few and turns.any() and turns.sum() >= TURN_STEPS_MIN * moving.sum() else None
