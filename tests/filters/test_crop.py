"""The crop from what other stages found."""

from __future__ import annotations

import pytest

from filters.crop import Crop
from pipeline.clip import Clip


def crop(border=(0.0, 0.0, 0.0, 0.0), text=(), band=(None, None), logos=(), score=0.5):
    """The crop's row; text is (frame, x0, y0, x1, y1), logos are corners, border is left, top, right, bottom.

    Every logo has the one score."""
    left, top, right, bottom = border
    names = ("x0", "y0", "x1", "y1")
    upstream = {
        "border": {
            "border_left_ratio": left,
            "border_top_ratio": top,
            "border_right_ratio": right,
            "border_bottom_ratio": bottom,
        },
        "text": {
            "text_frames": [0, 24],
            "text_boxes": [{"frame": f, **dict(zip(names, box, strict=True))} for f, *box in text],
        },
        "subtitle": {
            "subtitle_ratio": float(band[0] is not None),
            "subtitle_top_ratio": band[0],
            "subtitle_bottom_ratio": band[1],
        },
        "logo": {
            "logo_boxes": None
            if logos is None
            else [{**dict(zip(names, box, strict=True)), "score": score} for box in logos]
        },
    }
    clip = Clip("c" * 20, "s" * 20, "v" * 20, 0, 48, 0.0, 2.0, 24.0, 1280, 720, upstream)
    return Crop().measure(None, clip, None)


def corners(row):
    return [row[f"crop_{name}"] for name in ("x0", "y0", "x1", "y1")]


def test_a_clean_picture_is_kept_whole():
    row = crop()
    assert corners(row) == [0, 0, 1, 1]
    assert (row["crop_area_ratio"], row["crop_kept_ratio"], row["crop_aspect_ratio"]) == (1, 1, 1)
    assert (row["crop_text_ratio"], row["crop_away"]) == (0, [])


def test_letterbox_costs_area_and_no_aspect():
    row = crop(border=(0.0, 0.13, 0.0, 0.13))
    assert corners(row) == pytest.approx([0, 0.13, 1, 0.87])
    assert row["crop_area_ratio"] == pytest.approx(0.74)
    assert (row["crop_kept_ratio"], row["crop_aspect_ratio"]) == (1, 1)
    assert row["crop_away"] == ["border"]


def test_subtitles_and_a_logo_are_cut_away():
    row = crop(text=[(0, 0.3, 0.86, 0.7, 0.92)], band=(0.86, 0.92), logos=[(0.85, 0.02, 0.97, 0.08)])
    assert corners(row) == pytest.approx([0, 0.088, 1, 0.852])
    assert row["crop_text_ratio"] == 0
    assert row["crop_aspect_ratio"] == pytest.approx(1 / 0.764)
    assert row["crop_away"] == ["subtitle", "logo"]


def test_subtitles_inside_a_bar_cost_nothing_more():
    row = crop(border=(0.0, 0.13, 0.0, 0.13), band=(0.9, 0.95), text=[(0, 0.3, 0.9, 0.7, 0.95)])
    assert corners(row) == pytest.approx([0, 0.13, 1, 0.87])
    assert row["crop_away"] == ["border"]
    assert row["crop_text_ratio"] == 0


def test_text_within_the_picture_stays_and_is_counted_on_its_worst_frame():
    row = crop(
        border=(0.0, 0.25, 0.0, 0.25),
        text=[(0, 0.4, 0.4, 0.6, 0.6), (24, 0.4, 0.2, 0.6, 0.4), (24, 0, 0, 1, 0.1)],
    )
    assert row["crop_text_ratio"] == pytest.approx(0.04 / 0.5)


def test_a_watermark_all_over_leaves_nothing():
    row = crop(logos=[(0.0, 0.0, 1.0, 1.0)])
    assert corners(row) == [0, 0, 1, 1]
    assert (row["crop_area_ratio"], row["crop_kept_ratio"]) == (0, 0)


def test_logos_that_could_not_be_told_are_no_obstacle():
    """A still picture: nothing stays put while the rest moves, so the logo's boxes are null."""
    row = crop(logos=None)
    assert corners(row) == [0, 0, 1, 1]
    assert row["crop_told"] is False
    assert crop()["crop_told"] is True


def test_a_doubtful_logo_stays():
    corner = [(0.85, 0.05, 0.95, 0.15)]
    assert crop(logos=corner, score=0.49)["crop_away"] == []
    assert crop(logos=corner, score=0.5)["crop_away"] == ["logo"]
