"""The benchmark of balance on few clips, and the promise that it measures on a hundred thousand."""

from __future__ import annotations

import re

import pytest

from benchmarks.balance import AXES, run


@pytest.mark.slow
def test_the_benchmark_prints_its_line() -> None:
    said = run(20_000, ("concept", "motion"))
    assert re.fullmatch(
        r"concept x motion: [\d.]+ s wall \([\d.]+ of it making the clips\), [\d.]+ s CPU, [\d,]+ MiB peak; "
        r"[\d,]+ of 20,000 kept, off by 0\.\d+ points; in turn (none is left before they are|[\d,]+)",
        said,
    )


@pytest.mark.slow
def test_a_hundred_thousand_clips_on_five_axes_are_within_a_tenth_of_a_point() -> None:
    said = run(100_000, tuple(AXES))
    found = re.search(r"([\d,]+) of 100,000 kept, off by ([\d.]+) points", said)
    assert found
    assert int(found[1].replace(",", "")) > 5_000
    assert float(found[2]) < 0.1
