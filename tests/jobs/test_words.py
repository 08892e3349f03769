"""Numbers, durations, sizes and reasons in words."""

from __future__ import annotations

from jobs.words import (
    EXPLAINED,
    MAX_TEXT,
    bytes_text,
    clipped,
    duration_text,
    percent,
    plural,
    timecode,
    value_text,
)
from pipeline.reasons import Reason


def test_every_reason_is_explained() -> None:
    assert set(EXPLAINED) == {reason.value for reason in Reason}


def test_numbers_in_words() -> None:
    shares = [percent(*pair) for pair in ((0, 0), (0, 9), (1, 1000), (999, 1000), (1, 3), (5, 5))]
    assert plain(shares) == ["–", "0 %", "<1 %", ">99 %", "33 %", "100 %"]
    times = [duration_text(seconds) for seconds in (0, 4.2, 59.96, 192, 3599.6, 7500, 36e6)]
    assert plain(times) == [
        "0 s",
        "4.2 s",
        "1 min 00 s",
        "3 min 12 s",
        "1 h 00 min",
        "2 h 05 min",
        "10,000 h",
    ]
    sizes = [bytes_text(size) for size in (0, 999, 1000, 999_999, 48_123_456, 7.2e15)]
    assert plain(sizes) == ["0 bytes", "999 bytes", "1.0 kB", "1.0 MB", "48.1 MB", "7,200.0 TB"]
    assert [timecode(seconds) for seconds in (0, 59.97, 3723.4)] == ["0:00.0", "1:00.0", "1:02:03.4"]


def plain(texts: list[str]) -> list[str]:
    return [text.replace("\u00a0", " ") for text in texts]


def test_scores_and_plurals() -> None:
    scores = [value_text(value) for value in (0.0, 0.08125, 12345.6, -1500.0, 2.5e12, 1e-7)]
    assert scores == ["0", "0.0813", "12,346", "-1,500", "2.5e+12", "1e-07"]
    assert [plural(number, "clip") for number in (0, 1, 1200)] == ["0 clips", "1 clip", "1,200 clips"]


def test_a_long_text_says_how_much_is_not_shown() -> None:
    assert clipped("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert clipped("x" * (MAX_TEXT + 1500)) == "x" * MAX_TEXT + " … (1,500 more characters)"
