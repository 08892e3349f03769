from __future__ import annotations

import numpy as np
import pytest

from filters.detectors.yunet import Yunet
from filters.faces import Faces


@pytest.fixture(scope="module")
def detector():
    return Faces().load()


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.6])
def test_a_drawn_face_is_found_where_it_is(studio, detector, scale):
    row = Faces().measure(detector, studio.clip(1), studio.batch([studio.face(scale=scale)]))
    assert row["face_count"] == 1
    assert row["face_height_ratio"] == pytest.approx(190 * scale / 360, rel=0.2)
    (face,) = row["faces"]
    assert (face["x0"] + face["x1"]) / 2 == pytest.approx(0.5, abs=0.03)
    assert face["score"] > 0.8
    right_eye, left_eye, nose = (face["landmarks"][i : i + 2] for i in (0, 2, 4))
    assert right_eye[0] == pytest.approx(0.5 - 26 * scale / 640, abs=0.03)
    assert left_eye[0] == pytest.approx(0.5 + 26 * scale / 640, abs=0.03)
    assert nose[1] > right_eye[1]


def test_frames_without_a_face_are_listed(studio, detector):
    empty = np.full((360, 640, 3), (90, 120, 150), np.uint8)
    images = [empty, empty, studio.face(), studio.face(), empty, empty, empty, empty]
    row = Faces().measure(detector, studio.clip(8), studio.batch(images))
    assert row["face_frames"] == [24, 72, 120, 168]
    assert {face["frame"] for face in row["faces"]} == {72}
    nothing = Faces().measure(detector, studio.clip(1), studio.batch([empty]))
    assert (nothing["face_count"], nothing["face_height_ratio"], nothing["faces"]) == (0, None, [])


def test_boxes_are_cut_at_the_frame_and_sorted_by_size(studio):
    class Fake:
        def setInputSize(self, size: tuple[int, int]) -> None:
            self.size = size

        def detect(self, image):
            width, height = self.size
            landmarks = [width / 2, height / 2] * 5
            small = [width * 0.1, height * 0.1, width * 0.1, height * 0.1, *landmarks, 0.9]
            large = [-width * 0.1, -height * 0.1, width * 0.5, height * 0.5, *landmarks, 0.8]
            return 2, np.array([small, large], np.float32)

    row = Faces().measure(Yunet(Fake(), 256), studio.clip(1), studio.batch([studio.face()]))
    first, second = row["faces"]
    assert (first["x0"], first["y0"]) == (0, 0)
    assert (first["x1"], first["y1"]) == pytest.approx((0.4, 0.4))
    assert (second["x0"], second["x1"]) == pytest.approx((0.1, 0.2))
    assert first["landmarks"] == pytest.approx([0.5] * 10)
