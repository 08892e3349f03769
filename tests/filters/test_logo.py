from __future__ import annotations

import pytest

from filters.logo import Logo

CLEAN = {f"border_{side}_ratio": 0.0 for side in ("left", "right", "top", "bottom")}
NO_BAND = {"subtitle_ratio": 0.0, "subtitle_top_ratio": None, "subtitle_bottom_ratio": None}


def box(x0, y0, x1, y1, score=0.97):
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "score": score}


def measure(studio, boxes, tracks=(), border=CLEAN, subtitle=NO_BAND):
    upstream = {
        "overlay": {"overlay_boxes": boxes},
        "text": {"text_tracks": list(tracks)},
        "border": border,
        "subtitle": subtitle,
    }
    return Logo().measure(None, studio.clip(5, upstream=upstream), None)


def places(row):
    return [tuple(one[name] for name in ("x0", "y0", "x1", "y1")) for one in row["logo_boxes"]]


def test_marks_are_counted_and_measured(studio):
    row = measure(studio, [box(0.8, 0.05, 0.95, 0.15), box(0.1, 0.4, 0.3, 0.5)])
    assert places(row) == [(0.8, 0.05, 0.95, 0.15), (0.1, 0.4, 0.3, 0.5)]
    assert (row["logo_count"], row["logo_area_ratio"]) == (2, pytest.approx(0.035))


def test_nothing_is_said_where_overlay_cannot_tell(studio):
    names = ("logo_boxes", "logo_score", "logo_count", "logo_area_ratio")
    assert measure(studio, None) == dict.fromkeys(names)
    assert measure(studio, []) == dict(zip(names, ([], 0, 0, 0), strict=True))


def test_a_doubtful_mark_is_listed_and_not_counted(studio):
    row = measure(studio, [box(0.8, 0.05, 0.95, 0.15, 0.3), box(0.1, 0.4, 0.3, 0.5, 0.49)])
    assert (len(row["logo_boxes"]), row["logo_score"]) == (2, 0.49)
    assert (row["logo_count"], row["logo_area_ratio"]) == (0, 0)
    track = {
        "x0": 0.1,
        "y0": 0.4,
        "x1": 0.5,
        "y1": 0.5,
        "first": 0,
        "last": 96,
        "share": 1.0,
        "text": "@someone",
    }
    row = measure(studio, [box(0.1, 0.4, 0.3, 0.5, 0.3), box(0.2, 0.4, 0.4, 0.5, 0.6)], [track])
    assert (len(row["logo_boxes"]), row["logo_score"], row["logo_count"]) == (1, 0.6, 1)


def test_a_found_part_of_a_line_becomes_the_whole_line(studio):
    track = {**box(0.1, 0.9, 0.4, 0.95), "first": 0, "last": 96, "share": 1.0, "text": "@someone"}
    row = measure(studio, [box(0.2, 0.9, 0.35, 0.94)], [track, {**track, "y0": 0.2, "y1": 0.25}])
    assert places(row) == [(0.1, 0.9, 0.4, 0.95)]


def test_what_overlaps_is_one_mark(studio):
    assert measure(studio, [box(0.1, 0.1, 0.2, 0.2), box(0.15, 0.15, 0.3, 0.2)])["logo_count"] == 1


def test_large_things_bars_and_subtitles_are_none(studio):
    border = {**CLEAN, "border_bottom_ratio": 0.1}
    subtitle = {"subtitle_ratio": 1.0, "subtitle_top_ratio": 0.8, "subtitle_bottom_ratio": 0.88}
    large, in_bar, in_band = box(0, 0, 0.6, 0.6), box(0.7, 0.92, 0.9, 0.99), box(0.3, 0.81, 0.7, 0.87)
    beside = box(0.05, 0.81, 0.15, 0.87)
    assert places(measure(studio, [large, in_bar, in_band, beside], (), border, subtitle)) == [
        (0.05, 0.81, 0.15, 0.87)
    ]
    assert measure(studio, [in_bar, in_band])["logo_count"] == 2


def test_a_part_of_a_subtitle_that_stands_by_chance_is_none(studio):
    subtitle = {"subtitle_ratio": 1.0, "subtitle_top_ratio": 0.8, "subtitle_bottom_ratio": 0.88}
    track = {
        **box(0.3, 0.81, 0.7, 0.87),
        "first": 0,
        "last": 0,
        "share": 1.0,
        "text": "come back before dawn",
    }
    assert measure(studio, [box(0.32, 0.81, 0.38, 0.87)], [track], subtitle=subtitle)["logo_count"] == 0
    assert measure(studio, [box(0.32, 0.81, 0.38, 0.87)], [], subtitle=subtitle)["logo_count"] == 1
