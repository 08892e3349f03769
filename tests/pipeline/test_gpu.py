"""How busy GPUs are: the mean of what is seen, and nothing where nothing can be seen."""

from __future__ import annotations

import threading

from pipeline.gpu import GpuWatch


def test_what_is_seen_adds_up() -> None:
    shares = iter([0.5, 1.0, 0.0])
    seen = threading.Event()

    def look() -> float:
        share = next(shares, None)
        if share is None:
            seen.set()
        return share or 0.0

    with GpuWatch(look, every_s=0.001) as watch:
        assert seen.wait(5)
    figures = watch.figures()
    assert figures["gpu_busy"] == 1.5
    assert figures["gpu_looks"] >= 4


def test_without_eyes_nothing_is_claimed() -> None:
    with GpuWatch() as watch:
        pass
    assert watch.figures() == {}
