"""Accounting that does not close is an error, not a report."""

import pytest

from pipeline.ledger import Counts


def test_closed_counts_print_as_the_funnel() -> None:
    counts = Counts(entered=10, kept=5, rejected=3, failed=1, pending=1)
    assert counts.to_json() == {"in": 10, "kept": 5, "rejected": 3, "failed": 1, "pending": 1}
    assert Counts(entered=1.25, kept=1.25).to_json()["kept"] == 1.25


@pytest.mark.parametrize("lost", [1, 0.01, -1])
def test_a_lost_item_is_an_error(lost: float) -> None:
    with pytest.raises(ValueError, match="went in"):
        Counts(entered=10, kept=10 - lost)
