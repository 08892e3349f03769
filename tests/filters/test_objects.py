from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from filters.detectors.coco import LABELS
from filters.detectors.yolox import Detection, Yolox
from filters.objects import Objects


def test_a_drawn_stop_sign_is_found_where_it_is(studio):
    stage = Objects()
    row = stage.measure(stage.load(), studio.clip(1), studio.batch([studio.stop_sign()]))
    assert row["object_labels"] == ["stop sign"]
    (sign,) = row["objects"]
    corners = [sign[name] for name in ("x0", "y0", "x1", "y1")]
    assert corners == pytest.approx([210 / 640, 70 / 360, 430 / 640, 290 / 360], abs=0.06)
    assert row["person_count"] == 0
    assert row["object_evidence"] == pytest.approx([sign["score"]])


def test_evidence_is_the_mean_of_the_best_scores_on_all_frames_looked_at(studio):
    stage = Objects()
    images = [studio.stop_sign(), np.full((360, 640, 3), 90, np.uint8)]
    row = stage.measure(stage.load(), studio.clip(4), studio.batch(images, every_s=2.0))
    (sign,) = row["objects"]
    assert len(row["object_frames"]) == 2
    assert row["object_evidence"] == pytest.approx([sign["score"] / 2])


@dataclass
class FakeSession:
    """Answers with one cell's box, as the network would: offsets in strides, log sizes, objectness, classes."""

    cells: dict[int, list[float]]
    seen: list[np.ndarray] = field(default_factory=list)

    @dataclass(frozen=True)
    class Input:
        name: str = "images"
        shape: tuple[int, ...] = (1, 3, 416, 416)

    def get_inputs(self):
        return [self.Input()]

    def run(self, names, feed):
        self.seen.append(feed["images"])
        raw = np.zeros((1, 3549, 85), np.float32)
        for cell, values in self.cells.items():
            raw[0, cell, : len(values)] = values
        return [raw]


def cell(x_px, y_px, width_px, height_px, stride, first, side, score, label):
    """Number and values of the cell that holds a box's centre."""
    column, row = int(x_px // stride), int(y_px // stride)
    classes = [0.0] * 80
    classes[label] = score
    offsets = [
        x_px / stride - column,
        y_px / stride - row,
        np.log(width_px / stride),
        np.log(height_px / stride),
    ]
    return first + row * side + column, [*offsets, 1.0, *classes]


def test_boxes_are_decoded_at_every_stride_and_scaled_back():
    cells = dict(
        [
            cell(100, 50, 20, 30, 8, 0, 52, 0.9, 0),
            cell(200, 120, 60, 80, 16, 2704, 26, 0.8, 16),
            cell(300, 150, 200, 100, 32, 3380, 13, 0.7, 2),
        ]
    )
    session = FakeSession(cells)
    found = Yolox(session).detect(np.zeros((720, 1280, 3), np.uint8), 0.4, 0.45)
    scale = 416 / 1280
    assert [LABELS[one.label] for one in found] == ["person", "dog", "car"]
    assert found[0].corners_px == pytest.approx([v / scale for v in (90, 35, 110, 65)], rel=1e-4)
    assert found[1].corners_px == pytest.approx([v / scale for v in (170, 80, 230, 160)], rel=1e-4)
    assert found[2].corners_px == pytest.approx([v / scale for v in (200, 100, 400, 200)], rel=1e-4)
    assert session.seen[0].shape == (1, 3, 416, 416)
    assert session.seen[0][0, 0, 300, 0] == 114  # below the scaled picture


def test_overlapping_boxes_of_one_class_are_dropped():
    cells = dict(
        [
            cell(100, 100, 60, 60, 8, 0, 52, 0.9, 0),
            cell(108, 100, 60, 60, 8, 0, 52, 0.8, 0),
            cell(116, 100, 60, 60, 8, 0, 52, 0.7, 1),
            cell(300, 100, 60, 60, 8, 0, 52, 0.3, 0),
        ]
    )
    found = Yolox(FakeSession(cells)).detect(np.zeros((416, 416, 3), np.uint8), 0.4, 0.45)
    assert [(one.label, round(one.score, 1)) for one in found] == [(0, 0.9), (1, 0.7)]


def test_people_are_counted_on_the_fullest_frame_and_labels_weighed(studio):
    @dataclass
    class Fake:
        answers: list[list[Detection]]

        def detect(self, image, score_min, overlap_max):
            return self.answers.pop(0)

    person = Detection((0, 0, 64, 180), 0, 0.9)
    dog = Detection((100, 0, 600, 300), 16, 0.8)
    frames = studio.batch([studio.stop_sign()] * 4)
    row = Objects().measure(Fake([[person, person], [dog]]), studio.clip(4), frames)
    assert row["person_count"] == 2
    assert row["object_labels"] == ["dog", "person"]
    assert row["object_frames"] == [24, 72]
