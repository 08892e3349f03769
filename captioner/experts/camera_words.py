"""The English sentence about a camera's motion."""

from __future__ import annotations

from collections.abc import Sequence

from captioner.experts.camera_moves import TRAVEL, TURN, Move
from captioner.experts.camera_signals import Jerk

SLOW_MAX, MEDIUM_MAX = 0.05, 0.20
"""Shares of the frame a second: SkyReels-V2's bounds of slow, medium and fast (arXiv 2504.13074)."""
NEAR_S = 1.0
"""A sudden change this near to the border of two phases is what parts them."""

_VERBS = {
    TURN: ("pans", "tilts", "zooms"),
    TRAVEL: ("trucks", "pedestals", "dollies"),
    None: ("moves", "moves", "moves"),
}
_WAYS = (("to the left", "to the right"), ("down", "up"), ("out", "in"), ("counterclockwise", "clockwise"))
_ADVERB = {"slow": " slowly", "medium": "", "fast": " quickly"}


def speed_word(speed: float) -> str:
    """slow, medium or fast, of an absolute share of the frame a second."""
    return "slow" if speed < SLOW_MAX else "medium" if speed <= MEDIUM_MAX else "fast"


def sentence(
    moves: Sequence[Move], borders_s: Sequence[float], handheld: bool | None, jerk: Jerk | None
) -> str:
    """One sentence for the phases in order; empty when nothing is sure.

    `borders_s` are the times at which the phases but the first begin. A pan or truck that cannot be told apart "moves".
    """
    subject = "The handheld camera" if handheld else "The camera"
    changed = [jerk is not None and abs(at - jerk.time_s) <= NEAR_S for at in borders_s]
    whips = jerk is not None and jerk.whips
    if any(move.moves for move in moves):
        said = _said(moves, [False, *(near and not whips for near in changed)], handheld)
    elif handheld:
        said = "stays in place"
    elif handheld is False and all(move.still for move in moves):
        said = "holds still" if jerk else "is static"
    elif jerk:
        return f"{subject} {_sudden(jerk)}."
    else:
        return ""
    knocked = jerk is not None and (whips or not any(changed))
    return f"{subject} {said}{f', and {_sudden(jerk)}' if jerk and knocked else ''}."


def _said(moves: Sequence[Move], sudden: Sequence[bool], handheld: bool | None) -> str:
    parts = [
        f"{'abruptly ' if at_once else ''}{_phrase(move)}"
        for move, at_once in zip(moves, sudden, strict=True)
        if move.moves or (move.still and not handheld)
    ]
    return ", then ".join(parts)


def _sudden(jerk: Jerk) -> str:
    """What the camera does in a moment."""
    if not jerk.whips:
        return "jolts"
    sideways = abs(jerk.right) >= abs(jerk.up)
    way = _WAYS[0][jerk.right > 0] if sideways else _WAYS[1][jerk.up > 0]
    return f"whips {way}"


def _phrase(move: Move) -> str:
    verbs = (*_VERBS[move.kind], "rolls")
    said: list[str] = []
    last = ""
    for verb, ways, speed in zip(verbs, _WAYS, move.speeds.tolist(), strict=True):
        if speed != 0:
            again = f"{verb}{_ADVERB[speed_word(abs(speed))]}"
            said.append(ways[speed > 0] if again == last else f"{again} {ways[speed > 0]}")
            last = again
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said) or "holds still"
