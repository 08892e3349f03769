"""Camera motion of a clip: turns and travel on seven axes, speed, shake, knocks, phases, and one English sentence."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from captioner.experts.boxes import stored
from captioner.experts.camera_moves import APPARENT, AXES, PHASE, Bounds, Move, moves
from captioner.experts.camera_signals import WINDOW_S, Flags, Jerk, Steps, Sway, column, steps, sway
from captioner.experts.camera_words import sentence, speed_word
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, Row, Stage


@dataclass(frozen=True)
class CameraExpert(Stage):
    """How the camera moves. All columns are null, and the sentence empty, where too few steps show a motion.

    Speeds are shares of the frame a second: of its width (pan, truck), height (tilt, pedestal), of its scale (zoom,
    dolly), and for roll the angle in radians, which is how far opposite edges part as a share of the frame. A turn
    moves near and far alike, travel does not: where the picture shows which, its axes are named and the others 0;
    where not, they are null and `camera_right`, `camera_up`, `camera_inward` alone say the way. Between the two bounds
    of speed and of shake nothing is claimed. Thresholds without a source are ours, chosen on rendered camera paths
    over pictures that docs/accuracy.md does not use.
    """

    name: ClassVar[str] = "camera"
    version: ClassVar[int] = 2
    requires: ClassVar[tuple[str, ...]] = ("flow", "sway")
    columns: ClassVar[pa.Schema] = pa.schema(
        [
            pa.field("camera_motion", pa.string()),  # one sentence; empty: not known
            pa.field("camera_confidence", pa.float32()),  # share of the texture that the motions explain
            pa.field("camera_static", pa.bool_()),  # neither direction nor shake nor knock
            pa.field("camera_handheld", pa.bool_()),
            pa.field("camera_shake", pa.float32()),  # noise of the speed, share of the frame a second
            pa.field("camera_abrupt", pa.bool_()),  # whip, knock, or sudden start, stop or turn
            pa.field("camera_abrupt_s", pa.float32()),  # when; null: never
            pa.field("camera_pattern", pa.string()),  # static, single, composite, sequential; null: not known
            pa.field(
                "camera_speed", pa.string()
            ),  # of the fastest axis: slow, medium, fast; null: none moves
            # in the longest moving phase: what the picture shows, then each axis as -1, 0, +1, speed, confidence
            pa.field("camera_kind", pa.string()),  # turn or travel; null: neither, or not told
            *(pa.field(f"camera_{name}", pa.int8()) for name in APPARENT[:3]),
            *(pa.field(f"camera_{axis}", pa.int8()) for axis in AXES),
            *(pa.field(f"camera_{axis}_speed", pa.float32()) for axis in AXES),
            *(pa.field(f"camera_{axis}_confidence", pa.float32()) for axis in AXES),
            pa.field("camera_phases", pa.list_(PHASE)),
        ]
    )

    still_speed: float = 0.0075
    """Share of the frame a second up to which an axis is still: what DIS reports on most tripod shots."""
    moving_speed: float = 0.015
    """Share of the frame a second from which an axis moves."""
    static_shake: float = 0.014
    """Shake, share of the frame a second, up to which the camera is not handheld ..."""
    handheld_shake: float = 0.022
    """... and from which it is ..."""
    shake_speed_ratio: float = 0.1
    """... if it is more than this share of the speed: fast motion is measured less exactly."""
    abrupt_change: float = 0.25
    """Change of speed within a sixth of a second, share of the frame a second, from which a motion is abrupt ..."""
    abrupt_over_usual: float = 5.0
    """... if it is so many times the clip's usual change: a shaking hand is no knock."""
    abrupt_reach_s: float = 0.35
    """Half of the time within which a sudden motion is over."""
    abrupt_way_min: float = 0.05
    """Share of the frame from which a sudden way leaves traces half a second later; with none it was no camera's."""
    sway_share_min: float = 0.5
    """A step of the sway of which less of the texture moves as one is left out."""
    confidence_min: float = 0.5
    """Share of the texture, over all steps, that must be explained for anything to be said."""
    steps_min: int = 3
    """Explained steps that a sentence needs: about two seconds."""
    step_share_min: float = 0.5
    """A step whose laws explain less is left out: an object may fill it."""
    phase_steps_min: int = 3
    """Steps of the shortest phase: 1.5 s on the grid of the flow stage."""
    speed_limit: float = 10.0
    """Share of the frame a second that no camera reaches: wrong timestamps or a wrong flow."""
    same_sign_min: float = 0.8
    """Share of a phase's steps that must agree on the direction of an axis for it to move."""
    errors_min: float = 2.0
    """Standard errors of the median by which an axis must be off zero for it to move."""
    axis_ratio_min: float = 0.25
    """Speed of an axis over that of the strongest, below which it does not move."""
    still_rim_min: float = 0.33
    """Share of the frame's rim that stays where it is from which the camera does too, whatever goes on inside."""
    unsure_share_min: float = 0.6
    """Share of the texture that follows a law of which the kind is not told, from which its way is said."""
    moving_rim_max: float = 0.15
    """Share of the rim that may stay where it is under a moving camera: edges that lie along the motion do. Between
    the two something before a still camera may be all that moves, and the step is left out ..."""
    whole_share_min: float = 0.85
    """... unless so much of the texture follows one motion."""
    turn_share_min: float = 0.68
    """Share of the texture that follows one turn and zoom from which it is one ..."""
    turn_along_max: float = 0.075
    """... if no more parallax than this, over the motion's length, is left."""
    travel_share_min: float = 0.6
    """Share of the texture that goes the ways of one travel from which it is one ..."""
    travel_along_min: float = 0.09
    """... if a turn would leave this much parallax ..."""
    travel_along_max: float = 0.42
    """... and no more than this, which is an object of its own, or a camera that circles one ..."""
    travel_across_ratio: float = 1.5
    """... and less than that across the motion, by this factor, or travel explains a fifth more of the texture."""
    repeat_still_min: float = 0.9
    """Share of the picture that is still from which a pair may show one frame twice ..."""
    repeat_neighbour_max: float = 0.5
    """... and below which the pairs before and after it move."""

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        flow, swayed = clip.upstream["flow"], clip.upstream["sway"]
        seen = steps(flow)
        explained = np.maximum(np.maximum(seen.share, seen.travel_share), seen.still)
        halves = (seen.still > self.moving_rim_max) & (seen.still < self.still_rim_min)
        explained = np.where(halves & (explained < self.whole_share_min), 0.0, explained)
        known = (explained >= self.step_share_min) & (np.abs(seen.law) <= self.speed_limit).all(axis=1)
        confidence = float(np.where(known, explained, 0.0).sum() / max(len(known), 1))
        if known.sum() < self.steps_min or confidence < self.confidence_min:
            return dict.fromkeys(self.columns.names) | {"camera_motion": ""}
        repeated = repeats(column(flow, "flow_still_share"), self.repeat_still_min, self.repeat_neighbour_max)
        fine = sway(swayed, self.sway_share_min, WINDOW_S if repeated.any() else 0.0)
        windows = sway(swayed, self.sway_share_min, WINDOW_S)
        jerk = self._jerk(seen, fine)
        row = self._row(_kept(seen, known), clip.duration_s, self._handheld(seen, windows), jerk)
        sure = {"camera_shake": windows.shake(), "camera_confidence": confidence}
        return stored(self.columns, row | sure)

    def _handheld(self, seen: Steps, windows: Sway) -> bool | None:
        shake = windows.shake()
        if np.median(seen.still) >= self.still_rim_min:
            return False
        if shake is None:
            return None
        usual = float(np.median(np.hypot(*windows.speed[windows.known].T)))
        if shake >= max(self.handheld_shake, self.shake_speed_ratio * usual):
            return True
        return False if shake <= max(self.static_shake, self.shake_speed_ratio * usual / 2) else None

    def _jerk(self, seen: Steps, fine: Sway) -> Jerk | None:
        """A sudden motion, if what stays where it is does not disprove it, as where a window flies over a screen."""
        jerk = fine.jerk(self.abrupt_change, self.abrupt_over_usual, self.abrupt_reach_s)
        if jerk is None or jerk.way < self.abrupt_way_min:
            return jerk
        near = (seen.end_s > jerk.time_s - self.abrupt_reach_s) & (
            seen.start_s < jerk.time_s + self.abrupt_reach_s
        )
        return None if (seen.still[near] >= self.still_rim_min).all() else jerk

    def _row(self, seen: Steps, end_s: float, handheld: bool | None, jerk: Jerk | None) -> dict[str, Any]:
        found = moves(seen, self._bounds())
        moving = [move for move in found if move.moves]
        main = max(moving, key=lambda move: move.rows, default=None)
        still = all(move.still for move in found)
        static = False if main or handheld or jerk else True if still and handheld is False else None
        borders = [float(seen.start_s[move.start]) for move in found[1:]]
        return {
            "camera_motion": sentence(found, borders, handheld, jerk),
            "camera_static": static,
            "camera_handheld": handheld,
            "camera_abrupt": jerk is not None,
            "camera_abrupt_s": jerk.time_s if jerk else None,
            "camera_pattern": _pattern(found, static),
            "camera_speed": speed_word(float(np.abs(main.speeds).max())) if main else None,
            "camera_phases": [move.row(seen.start_s, end_s) for move in found],
            **_axes(main or max(found, key=lambda move: move.rows)),
        }

    def _bounds(self) -> Bounds:
        return Bounds(**{field.name: getattr(self, field.name) for field in dataclasses.fields(Bounds)})


def _kept(seen: Steps, known: Flags) -> Steps:
    return Steps(*(getattr(seen, field.name)[known] for field in dataclasses.fields(Steps)))


def _axes(main: Move) -> dict[str, Any]:
    speeds = main.axes()
    return {
        "camera_kind": main.kind,
        **{f"camera_{name}": int(np.sign(v)) for name, v in zip(APPARENT[:3], main.speeds[:3], strict=True)},
        **{f"camera_{axis}": None if v is None else int(np.sign(v)) for axis, v in speeds.items()},
        **{f"camera_{axis}_speed": v for axis, v in speeds.items()},
        **{
            f"camera_{axis}_confidence": None if v is None else main.confidence(axis)
            for axis, v in speeds.items()
        },
    }


def _pattern(found: list[Move], static: bool | None) -> str | None:
    """One word for the phases: static, single, composite (axes at once) or sequential (one after another)."""
    if not any(move.moves for move in found):
        return "static" if static else None
    if len([move for move in found if move.moves or move.still]) > 1:
        return "sequential"
    return "composite" if max(int(np.count_nonzero(move.speeds)) for move in found) > 1 else "single"


def repeats(still_share: Any, still_min: float, neighbour_max: float) -> Flags:
    """(n,) pairs that show one frame twice: still, alone among moving ones.

    Video whose frame rate was raised by repeating frames has them.
    """
    moving = np.concatenate([[True], still_share < neighbour_max, [True]])
    lonely = moving[:-2] & moving[2:] & (len(still_share) > 2)
    return np.asarray(lonely & (still_share >= still_min))
