"""How the tests' own workers behave: groups stay together, and none keeps the others off a processor."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.xdist_group("groups")
def test_a_group_is_told_to_the_scheduler(request: pytest.FixtureRequest) -> None:
    """pytest-xdist writes it behind the test's name; where it cannot, tests are spread as if there were none."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("only with --dist loadgroup")
    assert request.node.nodeid.endswith("@groups")


def test_making_a_film_leaves_the_thread_as_it_was(make_video: Callable[..., Path], tmp_path: Path) -> None:
    """An encoder for AV1 makes its caller a real-time thread where it may."""
    make_video(tmp_path / "a.mp4", codec="av1", frames=4)
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
