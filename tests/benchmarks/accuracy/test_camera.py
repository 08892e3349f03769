"""Rendered camera paths are what they say, the same each time, and judged as the page says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.accuracy.camera import said, shown, verdict
from benchmarks.accuracy.camera_film import FPS, film
from benchmarks.accuracy.camera_page import GROUPS, camera
from benchmarks.accuracy.camera_paths import (
    CONDITIONS,
    SPEEDS,
    Take,
    eased,
    jolt,
    pose,
    single,
    steady,
    takes,
)
from benchmarks.accuracy.camera_scene import HEIGHT, WIDTH, Pose, Scene, deep, flat


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    import cv2

    dice = np.random.default_rng(3)
    return [
        cv2.resize(
            dice.integers(20, 235, (60, 90), dtype=np.uint8), (720, 480), interpolation=cv2.INTER_CUBIC
        )
        for _ in range(5)
    ]


def middle_shift(scene: Scene, to: Pose) -> tuple[float, float]:
    """How far the middle of the wall moves, in pixels right and down."""
    import cv2

    window = cv2.createHanningWindow((WIDTH, HEIGHT), cv2.CV_32F)
    one, two = (scene.view(at).astype(np.float32) for at in (Pose(), to))
    return cv2.phaseCorrelate(one, two, window)[0]


@pytest.mark.parametrize(
    ("axis", "way"), [("pan", (-1, 0)), ("tilt", (0, 1)), ("truck", (-1, 0)), ("pedestal", (0, 1))]
)
def test_the_camera_moves_against_the_picture_by_its_share_of_the_frame(pictures, axis, way) -> None:
    shift = middle_shift(flat(pictures[0], 1.2), pose({axis: 0.05}, 1.2))
    assert shift == pytest.approx((way[0] * 0.05 * WIDTH, way[1] * 0.05 * HEIGHT), abs=0.6)


def test_a_turn_moves_near_and_far_alike_and_travel_does_not(pictures) -> None:
    scene = deep(pictures, 1.2, np.random.default_rng(1))
    depths = sorted({round(float(plane.place[2, 2]), 3) for plane in (scene.planes[0], *scene.planes[2:])})
    assert depths[0] < 0.8
    assert depths[-1] == 1  # half of the picture is wall
    near = [plane for plane in scene.planes[2:] if plane.place[2, 2] < 0.8]

    def place(plane: Any, at: Pose) -> float:
        matrix = scene._matrix(plane, at)
        assert matrix is not None
        middle = matrix @ np.array([128.0, 128.0, 1.0])
        return float(middle[0] / middle[2])

    far = scene.planes[0]
    turned, carried = pose({"pan": 0.02}, 1.2), pose({"truck": 0.02}, 1.2)
    central = [plane for plane in near if abs(place(plane, Pose()) - WIDTH / 2) < WIDTH / 5]
    assert central
    for plane in central:
        assert place(plane, turned) - place(plane, Pose()) == pytest.approx(-0.02 * WIDTH, rel=0.2)
        assert place(plane, carried) - place(plane, Pose()) < -0.025 * WIDTH
    assert place(far, carried) - place(far, Pose()) == pytest.approx(-0.02 * WIDTH, rel=0.05)


def test_paths_ease_and_knock() -> None:
    path = eased({"pan": 0.2}, 1.0, 2.0, 0.5)
    assert [path(t)["pan"] for t in (0.0, 0.75, 1.5, 3.0)] == pytest.approx([0, 0, 0.1, 0.2], abs=0.001)
    knock = jolt(1.0, 0.05, 0.0)
    assert (knock(0.9)["pan"], knock(3.0)["pan"]) == (0, pytest.approx(0, abs=1e-6))
    assert max(knock(t)["pan"] for t in np.arange(1, 1.5, 0.01)) > 0.02


def test_a_round_has_every_kind_and_is_the_same_again(pictures) -> None:
    found = takes(1, np.random.default_rng(1))
    assert {take.group for take in found} == set(GROUPS)
    assert {take.condition for take in found} == set(CONDITIONS)
    assert [take.kind for take in found] == [take.kind for take in takes(1, np.random.default_rng(1))]
    assert len({(take.kind, *take.phases[0].items()) for take in found if take.group == "single"}) == 15
    take = single("pan", 1, "slow", np.random.default_rng(2))
    short = Take(**{**vars(take), "length_s": 0.125, "condition": "doubled"})
    frames = film(short, pictures, np.random.default_rng(4))
    assert len(frames) == FPS // 8
    assert (frames[0] == frames[1]).all()
    assert (frames[1] != frames[2]).any()
    again = film(short, pictures, np.random.default_rng(4))
    assert all((one == two).all() for one, two in zip(frames, again, strict=True))


def row(*phases: dict[str, Any], **columns: Any) -> dict[str, Any]:
    blank = {"right": 0.0, "up": 0.0, "inward": 0.0, "roll": 0.0, "kind": None}
    usual = {"camera_motion": "…", "camera_static": False, "camera_handheld": False, "camera_abrupt": False}
    return usual | {"camera_phases": [blank | phase for phase in phases]} | columns


def test_verdicts() -> None:
    take = single("truck", 1, "slow", np.random.default_rng(0))
    right = row({"right": 0.03, "kind": "travel"})
    assert verdict(take, right) == "right"
    assert (shown(right), said(right)) == ([{"truck": 1}], "truck")
    assert verdict(take, row({"right": 0.03})) == "undecided"
    assert verdict(take, row({"right": 0.03, "kind": "turn"})) == "wrong"
    assert verdict(take, row({"right": -0.03})) == "wrong"
    assert verdict(take, row({"right": 0.03, "kind": "travel"}, {"roll": 0.1})) == "wrong"
    assert verdict(take, row(camera_motion="", camera_phases=None)) == "silent"

    still = Take("still", "static", steady({}), ({},))
    assert verdict(still, row(camera_static=True)) == "right"
    assert verdict(still, row(camera_static=None)) == "silent"
    assert verdict(still, row(camera_handheld=True)) == "wrong"
    knocked = Take("abrupt", "jolt", steady({}), ({},), abrupt=True)
    assert [verdict(knocked, row(camera_abrupt=flag)) for flag in (True, None, False)] == [
        "right",
        "silent",
        "wrong",
    ]
    order = Take("complex", "pan, then still", steady({}), ({"pan": 1}, {}))
    assert verdict(order, row({"right": 0.1, "kind": "turn"}, {})) == "right"


def test_the_section_counts_and_names_every_group() -> None:
    usual = {"speed": None, "condition": "clear", "speed_said": None, "handheld": False, "abrupt": False}
    rows = [
        usual | {"group": name, "kind": name, "verdict": "right", "said": "pan"}
        for name in GROUPS
        for _ in range(3)
    ]
    rows[0] |= {"verdict": "wrong", "said": "zoom", "handheld": True, "speed": "slow", "speed_said": "slow"}
    page = camera(rows)
    assert page.startswith("## camera")
    assert "67 % (21-94)" in page
    assert "handheld 8 % (1-35) of the takes without" in page
    assert "100 % (21-100) of the single motions" in page
    assert set(SPEEDS) == {"slow", "medium", "fast"}
