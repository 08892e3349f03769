"""The closed lists of reasons: what a page can show, and what its page of documentation says."""

from __future__ import annotations

import re
from pathlib import Path

from review.reasons import GATES, REASONS

PAGE = Path(__file__).parents[2] / "docs" / "review.md"


def test_every_gate_has_reasons_that_fit_on_keys() -> None:
    for gate in GATES:
        assert 3 <= len(REASONS[gate]) <= 9 + 26
        assert list(REASONS[gate])[-1] == "other"
        assert all(re.fullmatch(r"[a-z_]+", reason) for reason in REASONS[gate])
        assert len(set(REASONS[gate].values())) == len(REASONS[gate])


def test_the_page_lists_them_with_their_gates() -> None:
    table = PAGE.read_text(encoding="utf-8").split("### Reasons")[1].split("##")[0]
    said = {}
    for name, _, gates in re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", table, re.MULTILINE):
        said[name] = set(GATES) if gates == "all" else set(re.findall(r"`(\w+)`", gates))
    real: dict[str, set[str]] = {}
    for gate in GATES:
        for reason in REASONS[gate]:
            real.setdefault(reason, set()).add(gate)
    assert said == real
