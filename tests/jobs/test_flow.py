"""An engine's figures in words: rates by the wall, shares by their own clocks, and nothing that was not told."""

from __future__ import annotations

from jobs.flow import advice, percent, rate, said


def test_only_what_was_told_is_said() -> None:
    assert said({}, 10.0) == []
    assert said({"answers": 5.0}, 0.0) == []
    assert said({"answers": 5.0, "output_tokens": 0.0}, 10.0) == ["0.5 answers/s"]


def test_shares_are_of_their_own_clocks() -> None:
    flow = {"gpu_busy": 7.5, "gpu_looks": 10.0, "busy_s": 9.0, "idle_s": 1.0}
    assert said(flow, 100.0) == ["GPU idle 25 %", "engine idle 10 %"]
    assert said({"stage_s": 20.0, "frames_wait_s": 5.0}, 7.0) == ["waited for frames 25 %"]
    assert said({"answers": 40.0, "errors": 3.0}, 10.0) == ["4 answers/s", "3 of 40 answers were errors"]


def test_advice_is_given_where_the_engine_starves() -> None:
    fed = {"answers": 5.0, "stage_s": 20.0, "frames_wait_s": 4.9}
    starved = fed | {"frames_wait_s": 5.0}
    assert advice("vlm", fed) == advice("vlm", {}) == ""
    assert advice("vlm", starved) == (
        "vlm waited for frames 25 % of its time: more CPUs (stage.vlm.decoders),"
        " or frames that the proxy holds (stage.vlm.every_s = 1.0), would feed it better"
    )
    assert advice("vlm", starved | {"busy_s": 19.5, "idle_s": 0.5}) == ""  # the engine had enough to do
    assert advice("vlm", starved | {"busy_s": 18.0, "idle_s": 2.0}) != ""


def test_figures_have_the_digits_that_matter() -> None:
    assert [rate(value) for value in (12_345.6, 100.0, 99.94, 0.01234)] == ["12,346", "100", "99.9", "0.0123"]
    assert [percent(share) for share in (-0.1, 0.005, 1.2)] == ["0 %", "0 %", "100 %"]
