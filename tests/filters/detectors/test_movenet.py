"""MoveNet's numbers as points of the picture, and the interpreter that runs it."""

from __future__ import annotations

import numpy as np
import pytest

from filters.bodies import Bodies
from filters.detectors.litert import LiteModel
from filters.detectors.movenet import MoveNet
from pipeline.weights import default_cache, find, load_catalogue


class Fake:
    """A model that sees the same people in every picture."""

    def __init__(self, people):
        self.people, self.shown = np.array([people], np.float32), None

    def run(self, tensor):
        self.shown = tensor
        return self.people


def person(score, y=0.25, x=0.5):
    return [*[y, x, 0.9] * 17, 0.1, 0.2, 0.3, 0.4, score]


def test_points_and_corners_leave_the_padding_out():
    model = Fake([person(0.2), person(0.6), person(0.8, 0.125, 0.25)])
    image = np.full((360, 640, 3), 200, np.uint8)
    best, other = MoveNet(model, 256).detect(image, 0.3)
    assert model.shown.shape == (1, 160, 256, 3)  # 144 lines of picture and 16 of black
    assert (model.shown[0, :144] == 200).all()
    assert (model.shown[0, 144:] == 0).all()
    assert (best.score, other.score) == pytest.approx((0.8, 0.6))
    assert best.points[3] == pytest.approx([0.25, 0.125 * 160 / 144, 0.9])
    left, top, right, bottom = other.corners_px
    assert (left, right) == pytest.approx((128, 256))
    assert (top, bottom) == pytest.approx((40, 120))


def test_the_interpreter_takes_another_shape_and_says_nothing(capfd):
    model = LiteModel(find("body.movenet", load_catalogue(), default_cache()))
    wide = model.run(np.zeros((1, 64, 128, 3), np.uint8))
    tall = model.run(np.zeros((1, 128, 64, 3), np.uint8))
    assert wide.shape == tall.shape == (1, 6, 56)
    assert (model.run(np.zeros((1, 64, 128, 3), np.uint8)) == wide).all()
    assert capfd.readouterr() == ("", "")


def test_bodies_are_searched_where_faces_or_people_are(studio):
    model = Fake([person(0.6), person(0.1)])
    faces = {"faces": [{"frame": 24}]}
    objects = {"objects": [{"frame": 72, "label": "person"}, {"frame": 120, "label": "dog"}]}
    clip = studio.clip(8, upstream={"faces": faces, "objects": objects})
    batch = studio.batch([np.zeros((360, 640, 3), np.uint8)] * 8)
    row = Bodies().measure(MoveNet(model, 256), clip, batch)
    assert (row["body_frames"], row["body_count"]) == ([24, 72], 1)
    assert [body["frame"] for body in row["bodies"]] == [24, 72]
    assert row["bodies"][0]["points"][:3] == pytest.approx([0.5, 0.25 * 160 / 144, 0.9])
    nobody = studio.clip(8, upstream={"faces": {"faces": []}, "objects": {"objects": []}})
    row = Bodies().measure(MoveNet(model, 256), nobody, batch)
    assert row == {"body_count": 0, "body_frames": [], "bodies": []}
