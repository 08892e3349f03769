"""That tests which share one Ray, or one browser, run in one worker: a plugin's promise that a release has broken."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("groups")
def test_a_group_is_told_to_the_scheduler(request: pytest.FixtureRequest) -> None:
    """pytest-xdist writes it behind the test's name; where it cannot, tests are spread as if there were none."""
    if not getattr(request.config.option, "loadgroup", False):
        pytest.skip("only with --dist loadgroup")
    assert request.node.nodeid.endswith("@groups")
