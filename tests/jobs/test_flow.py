"""An engine's figures in words: rates by the wall, shares by their own clocks, and nothing that was not told."""

from __future__ import annotations

from jobs.flow import percent, rate, said


def test_only_what_was_told_is_said() -> None:
    assert said({}, 10.0) == []
    assert said({"answers": 5.0}, 0.0) == []
    assert said({"answers": 5.0, "output_tokens": 0.0}, 10.0) == ["0.5 answers/s"]


def test_shares_are_of_their_own_clocks() -> None:
    flow = {"gpu_busy": 7.5, "gpu_looks": 10.0, "busy_s": 9.0, "idle_s": 1.0}
    assert said(flow, 100.0) == ["GPU idle 25 %", "engine idle 10 %"]
    assert said({"stage_s": 20.0, "frames_wait_s": 5.0}, 7.0) == ["waited for frames 25 %"]
    assert said({"answers": 40.0, "errors": 3.0}, 10.0) == ["4 answers/s", "3 of 40 answers were errors"]


def test_figures_have_the_digits_that_matter() -> None:
    assert [rate(value) for value in (12_345.6, 100.0, 99.94, 0.01234)] == ["12,346", "100", "99.9", "0.0123"]
    assert [percent(share) for share in (-0.1, 0.005, 1.2)] == ["0 %", "0 %", "100 %"]
