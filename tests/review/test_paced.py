"""An answer that takes long is worked out at intervals, a short one whenever it is asked for."""

from __future__ import annotations

from review.paced import REST, SHORT_S, Paced


class Slow:
    """An answer that takes `took_s` of its own clock, and counts how often it was worked out."""

    def __init__(self, took_s: float) -> None:
        self.now = 0.0
        self.took_s = took_s
        self.times = 0

    def clock(self) -> float:
        return self.now

    def __call__(self) -> int:
        self.now += self.took_s
        self.times += 1
        return self.times


def test_a_short_answer_is_always_new() -> None:
    slow = Slow(SHORT_S / 2)
    paced = Paced(slow, slow.clock)
    assert [paced() for _ in range(3)] == [1, 2, 3]


def test_a_long_one_rests_in_proportion() -> None:
    slow = Slow(2.0)
    paced = Paced(slow, slow.clock)
    assert [paced() for _ in range(3)] == [1, 1, 1]
    slow.now += REST * 2.0 - 0.5
    assert paced() == 1
    slow.now += 0.5
    assert [paced(), paced()] == [2, 2]
