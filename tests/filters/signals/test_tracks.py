from __future__ import annotations

import numpy as np
import pytest

from filters.detectors.ocr import Line
from filters.signals.tracks import TRACK, reading, tracks

FRAME = np.zeros((100, 200, 3), np.uint8)


def read(frame, text, left, top, right, bottom, score=0.9):
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    return reading(frame, Line(corners, text, score), FRAME)


def test_the_same_words_in_the_same_place_are_one_track():
    readings = [
        read(0, "LAST NIGHT", 20, 80, 120, 90, 0.8),
        read(24, "LAST NIGHI", 22, 80, 122, 92, 0.7),
        read(48, "LAST NIGHT", 20, 81, 118, 90, 0.95),
    ]
    (track,) = tracks(readings, [0, 24, 48, 72])
    assert set(track) == {field.name for field in TRACK}
    places = [track[name] for name in ("x0", "y0", "x1", "y1")]
    assert places == pytest.approx([0.1, 0.8, 0.61, 0.92])
    assert (track["first"], track["last"], track["share"]) == (0, 48, 0.75)
    assert track["text"] == "LAST NIGHT"


def test_other_words_another_place_and_the_same_frame_are_other_tracks():
    here = (20, 80, 120, 90)
    readings = [
        read(0, "hello there", *here),
        read(24, "good bye", *here),
        read(48, "good bye", 20, 10, 120, 20),
    ]
    assert [track["text"] for track in tracks(readings, [0, 24, 48])] == [
        "hello there",
        "good bye",
        "good bye",
    ]
    twice = [read(0, "again", *here), read(0, "again", *here)]
    assert [track["share"] for track in tracks(twice, [0])] == [1, 1]


def test_a_line_that_leaves_and_comes_back_is_one_track():
    here = (20, 80, 120, 90)
    found = tracks([read(0, "news at ten", *here), read(72, "news at ten", *here)], [0, 24, 48, 72])
    assert [(track["first"], track["last"], track["share"]) for track in found] == [(0, 72, 0.5)]


def test_no_lines_are_no_tracks():
    assert tracks([], [0, 24]) == []
