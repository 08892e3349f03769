"""Counts of labels as a table, and the pictures that they are counted on."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.accuracy.labels import experts
from benchmarks.accuracy.people import cells, facade, far, seen


def row(page: str, label: str) -> list[str]:
    (line,) = (line for line in page.splitlines() if f"| {label} " in line)
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_shares_and_precision_are_those_of_the_counts() -> None:
    counts = [
        ("emotion, near", "happy", "happy", 8),
        ("emotion, near", "happy", "", 2),
        ("emotion, near", "sad", "happy", 2),
        ("emotion, near", "smug", "happy", 5),
        ("emotion, near", "smug", "", 5),
    ]
    names = ("field", "truth", "said", "count")
    page = experts([dict(zip(names, one, strict=True)) for one in counts])
    assert row(page, "happy")[2:] == ["10", "80 %", "20 %", "0 %", "80 % (49-94)"]
    assert row(page, "sad")[2:] == ["2", "0 %", "0 %", "100 %", "–"]
    assert row(page, "none of them")[2:] == ["10", "–", "50 %", "–", "–"]


def test_a_sheet_is_cut_into_its_framed_pictures() -> None:
    sheet = np.full((1200, 1600, 3), 128, np.uint8)
    for number, (x, y) in enumerate((x, y) for y in (50, 600) for x in (60, 800)):
        cv2.rectangle(sheet, (x, y), (x + 500, y + 400), (255, 255, 255), 6)
        sheet[y + 20 : y + 380, x + 20 : x + 480] = 10 * number
    found = cells(sheet, 2)
    assert [[picture[200, 200, 0] for picture in one] for one in found] == [[0, 10], [20, 30]]
    height, width = found[0][0].shape[:2]
    assert far(found[0][0]).shape == (3 * height, 3 * width, 3)


def test_a_house_front_is_seen_from_below_and_above() -> None:
    wall = facade(np.random.default_rng(1))
    assert seen(wall, 0.0, 0.0, 1.0).shape == (360, 640, 3)
    up, down = (seen(wall, degrees, 0.0, 1.0).astype(float) for degrees in (30.0, -30.0))
    assert np.abs(up - down).mean() > 5
