"""Detections as boxes: fields, largest, faces of animals."""

from __future__ import annotations

import numpy as np
import pytest

from captioner.experts.boxes import Box, face_boxes, human_faces, largest, object_boxes


def test_rows_become_boxes_through_float32() -> None:
    corners = {"score": 0.9, "x0": 0.1, "y0": 0.2, "x1": 0.5, "y1": 0.8}
    measured = object_boxes({"objects": [{"frame": 7, "label": "dog", **corners}]})
    stored = {name: float(np.float32(value)) for name, value in corners.items()}
    assert measured == object_boxes({"objects": [{"frame": 7, "label": "dog", **stored}]})
    assert measured[0].area == pytest.approx(0.24)
    assert measured[0].centre == pytest.approx((0.3, 0.5))
    face = face_boxes({"faces": [{"frame": 7, **corners, "landmarks": [0.2] * 10}]})[0]
    assert face.label == "face"
    assert face.landmarks == pytest.approx((0.2,) * 10)


def test_largest_is_by_area_on_that_frame() -> None:
    small = Box(1, "person", 0.9, 0.0, 0.0, 0.1, 0.1)
    large = Box(1, "person", 0.5, 0.0, 0.0, 0.5, 0.5)
    elsewhere = Box(2, "person", 0.5, 0.0, 0.0, 1.0, 1.0)
    assert largest([small, large, elsewhere], 1) == large
    assert largest([small], 2) is None


def test_a_face_on_an_animal_is_no_persons() -> None:
    face = Box(1, "face", 0.8, 0.4, 0.4, 0.6, 0.6)
    dog = Box(1, "dog", 0.9, 0.2, 0.2, 0.8, 0.8)
    owner = Box(1, "person", 0.9, 0.1, 0.1, 0.9, 0.9)
    assert human_faces([face], []) == [face]
    assert human_faces([face], [dog]) == []
    assert human_faces([face], [dog, owner]) == [face]
    assert human_faces([face], [Box(2, "dog", 0.9, 0.2, 0.2, 0.8, 0.8)]) == [face]
    assert human_faces([face], [Box(1, "car", 0.9, 0.2, 0.2, 0.8, 0.8)]) == [face]
