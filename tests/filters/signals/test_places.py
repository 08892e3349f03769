from __future__ import annotations

import pytest

from filters.signals.places import area_ratio, bounds, covered_share, joined, overlap_ratio


def box(x0, y0, x1, y1, score=1.0):
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": score}


def test_shared_and_joint_areas():
    one, two = box(0, 0, 0.5, 0.5), box(0.25, 0, 0.75, 0.5)
    assert area_ratio(one) == 0.25
    assert overlap_ratio(one, two) == pytest.approx(1 / 3)
    assert covered_share(one, two) == pytest.approx(0.5)
    assert overlap_ratio(one, box(0.5, 0, 1, 1)) == covered_share(one, box(0.6, 0, 1, 1)) == 0


def test_boxes_without_an_area_share_none():
    point = box(0.2, 0.2, 0.2, 0.2)
    assert overlap_ratio(point, point) == covered_share(point, box(0, 0, 1, 1)) == 0


def test_boxes_that_touch_become_one_however_they_are_listed():
    chain = [box(0, 0, 0.2, 0.2), box(0.3, 0, 0.5, 0.2), box(0.1, 0.1, 0.4, 0.15), box(0.8, 0.8, 0.9, 0.9)]
    for order in ((0, 1, 2, 3), (2, 1, 0, 3), (3, 0, 1, 2)):
        found = joined([chain[i] for i in order])
        assert sorted(area_ratio(one) for one in found) == pytest.approx([0.01, 0.1])
    assert bounds([chain[0], chain[1]], chain[0]["score"]) == box(0, 0, 0.5, 0.2)
