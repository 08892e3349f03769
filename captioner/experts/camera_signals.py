"""What the camera expert reads of the flow and sway columns: speeds between samples, shake, knocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from captioner.experts.phases import Floats, jitter
from pipeline.stage import Row

Flags = npt.NDArray[np.bool_]
WINDOW_S = 0.12
"""Steps are joined to at least this long where a few lost or repeated frames would count: they make one step too short
and the next too long. A knock does not outlast two of them. Ours."""
WHIP_MIN = 0.2
"""Share of the frame that a sudden motion crosses from which it is a whip. Ours."""
LONGEST_S = 0.3
"""A longer step between two frames tells nothing of shake."""


@dataclass(frozen=True, eq=False)
class Steps:
    """The picture's motion between neighbouring samples, as the camera's: n steps."""

    start_s: Floats
    end_s: Floats
    law: Floats
    """(n, 4) right, up, in and roll, as a camera that turns and zooms would move; shares of the frame a second."""
    travel: Floats
    """(n, 3) right, up and in, as a camera that only travels would."""
    share: Floats
    """Of the texture, that follows the law."""
    travel_share: Floats
    along: Floats
    across: Floats
    still: Floats
    """Share of the rim that stays where it is."""


def steps(flow: Row) -> Steps:
    """The flow stage's steps; the camera moves against the picture."""
    times = column(flow, "flow_time_s")
    law = np.stack(
        [
            -column(flow, "flow_step_dx"),
            column(flow, "flow_step_dy"),
            column(flow, "flow_step_zoom"),
            -np.deg2rad(column(flow, "flow_step_roll_deg_s")),
        ],
        axis=1,
    )
    travel = [
        -column(flow, "flow_travel_dx"),
        column(flow, "flow_travel_dy"),
        column(flow, "flow_travel_zoom"),
    ]
    shares = [column(flow, f"flow_{name}") for name in ("step_share", "travel_share")]
    left = [column(flow, f"flow_step_{name}") for name in ("along", "across", "still")]
    return Steps(times[:-1], times[1:], law, np.stack(travel, axis=1), *shares, *left)


@dataclass(frozen=True)
class Jerk:
    """A sudden change of the picture's speed."""

    time_s: float
    change: float
    """Of speed, shares of the frame a second."""
    right: float
    """How far the camera has turned from shortly before to shortly after, in shares of the frame; `up` too."""
    up: float

    @property
    def way(self) -> float:
        return max(abs(self.right), abs(self.up))

    @property
    def whips(self) -> bool:
        """Whether the camera ends elsewhere: a whip, and no jolt or mere change of pace."""
        return self.way >= WHIP_MIN


@dataclass(frozen=True, eq=False)
class Sway:
    """The camera's speed in windows: n times of their middles, (n, 2) right and up, and whether it is trusted."""

    time_s: Floats
    length_s: Floats
    speed: Floats
    known: Flags

    def shake(self) -> float | None:
        """Noise of the speed, shares of the frame a second; None where fewer than 8 windows are known."""
        speeds = self.speed[self.known]
        return float(np.hypot(*jitter(speeds))) if len(speeds) >= 8 else None

    def jerk(self, least: float, over_usual: float, reach_s: float) -> Jerk | None:
        """The largest change of speed over two windows if it is sudden, and more than one window long."""
        if len(self.speed) < 5:
            return None
        change = np.hypot(*(self.speed[2:] - self.speed[:-2]).T)
        sure = self.known[2:] & self.known[1:-1] & self.known[:-2]
        sure &= self.time_s[2:] - self.time_s[:-2] <= 2 * LONGEST_S
        change = np.where(sure, change, 0.0)
        usual = float(np.median(change[sure])) if sure.any() else 0.0
        at = int(np.argmax(change))
        near = np.abs(self.time_s - self.time_s[at + 1]) <= reach_s
        moving = np.hypot(*(self.speed[near] - np.median(self.speed, axis=0)).T) > least / 2
        if change[at] < max(least, over_usual * usual) or moving.sum() < 2:
            return None
        way = (self.speed[near] * self.length_s[near, None]).sum(axis=0)
        return Jerk(float(self.time_s[at + 1]), float(change[at]), float(way[0]), float(way[1]))


def sway(row: Row, share_min: float, window_s: float) -> Sway:
    """The sway stage's steps, joined to windows of at least `window_s`."""
    start, length = column(row, "sway_time_s"), column(row, "sway_step_s")
    speed = np.stack([-column(row, "sway_dx"), column(row, "sway_dy")], axis=1)
    known = (column(row, "sway_share") >= share_min) & (length <= LONGEST_S)
    groups: list[list[int]] = [[]]
    for i in range(len(start)):
        groups[-1].append(i)
        if length[groups[-1]].sum() >= window_s:
            groups.append([])
    whole = groups[:-1]
    lengths = np.array([length[group].sum() for group in whole])
    return Sway(
        np.array([start[group[0]] for group in whole]) + lengths / 2,
        lengths,
        np.array(
            [(speed[group] * length[group, None]).sum(0) / length[group].sum() for group in whole]
        ).reshape(-1, 2),
        np.array([known[group].all() for group in whole], bool),
    )


def column(row: Row, name: str) -> Floats:
    """A list through float32: the same value whether it was just measured or read from Parquet."""
    return np.asarray(row[name], dtype=np.float32).astype(np.float64)
