from __future__ import annotations

import pytest

from filters.signals.lettering import Surround, fullest_half, is_followed, lies, row_width, same_row


def line(x0, y0, x1, y1, frame=0):
    return {"frame": frame, "x0": x0, "y0": y0, "x1": x1, "y1": y1}


@pytest.mark.parametrize(
    ("steps", "place"),
    [
        ([(0.9, 0.1)], "over"),  # it stands, the picture moves
        ([(0.2, 0.9)], "over"),  # it goes, the picture stands
        ([(0.1, 0.1)], "within"),  # a sign that moves with the scene
        ([(0.9, 0.9)], "untold"),  # all stands
        ([(0.5, 0.7), (0.95, 0.7)], "over"),  # the words change in one step of two
        ([(0.7, 0.8), (0.95, 0.95)], "untold"),  # a little, and so does the ground
        ([(None, 0.1)], "untold"),  # no edges: the words are not there
        ([], "untold"),
    ],
)
def test_where_a_line_lies(steps, place):
    assert lies([Surround(*step) for step in steps], 0.5, 0.3, 0.3) == place


def test_the_clip_speaks_for_a_ground_without_edges():
    bar = [Surround(0.95, None)]
    assert [lies(bar, moving, 0.3, 0.3) for moving in (0.9, 0.05)] == ["over", "untold"]


def test_rows():
    one = line(0.1, 0.8, 0.4, 0.86)
    assert same_row(one, line(0.5, 0.81, 0.9, 0.86))
    assert not same_row(one, line(0.1, 0.87, 0.4, 0.93))
    assert row_width(
        one, [one, line(0.5, 0.8, 0.9, 0.86), line(0.5, 0.8, 0.9, 0.86, frame=9)]
    ) == pytest.approx(0.7)


def test_other_words_before_or_after_follow_and_on_the_same_frame_do_not():
    one = line(0.3, 0.8, 0.7, 0.86, frame=24)
    track = {**line(0.35, 0.8, 0.65, 0.86), "first": 72, "last": 96}
    assert is_followed(one, [track])
    assert not is_followed(one, [{**track, "first": 0}])
    assert not is_followed(one, [{**track, "x0": 0.75, "x1": 0.9}])


def test_the_half_that_shows_lines_more_often():
    low, high = line(0.3, 0.8, 0.7, 0.86), line(0.3, 0.1, 0.7, 0.16)
    assert fullest_half([low, high]) == [low]
    assert fullest_half([low, high, {**high, "frame": 9}]) == [high, {**high, "frame": 9}]
    assert fullest_half([]) == []
