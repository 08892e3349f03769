"""How far a review is, counted as it goes: a verdict changes what one item adds, and nothing is counted again."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """What one item adds."""

    read: int = 0
    """Verdicts that stand, skips apart."""
    wanted: int = 0
    """Verdicts that the plan wants of it."""
    reviewers: tuple[str, ...] = ()
    """Who has said something of it, be it a skip."""
    seconds: tuple[float, ...] = ()
    """From sight to verdict, of those that count."""


@dataclass
class Tally:
    """The sums of all parts."""

    judged: int = 0
    """Items that are read."""
    settled: int = 0
    """Items that are read as often as is wanted."""
    left: int = 0
    """Verdicts that are still wanted."""
    by_reviewer: Counter[str] = field(default_factory=Counter)
    _seconds: list[float] = field(default_factory=list)
    """In order."""
    _parts: dict[str, Part] = field(default_factory=dict)

    def add(self, untouched: Iterable[tuple[str, int]]) -> None:
        """Items that nobody has seen, each with how many verdicts are wanted of it."""
        for item_id, wanted in untouched:
            self._parts[item_id] = Part(wanted=wanted)
            self.left += wanted

    def change(self, item_id: str, part: Part) -> None:
        """What this item adds from here on."""
        self._count(self._parts[item_id], -1)
        self._parts[item_id] = part
        self._count(part, 1)

    def _count(self, part: Part, sign: int) -> None:
        self.judged += sign * (part.read > 0)
        self.settled += sign * (part.read >= part.wanted)
        self.left += sign * max(0, part.wanted - part.read)
        for who in part.reviewers:
            self.by_reviewer[who] += sign
        for seconds in part.seconds:
            place = bisect.bisect_left(self._seconds, seconds)
            if sign > 0:
                self._seconds.insert(place, seconds)
            else:
                del self._seconds[place]

    @property
    def pace(self) -> float | None:
        """Median seconds from sight to verdict, None before the first."""
        if not self._seconds:
            return None
        middle = len(self._seconds) // 2
        two = self._seconds[(len(self._seconds) - 1) // 2 : middle + 1]
        return sum(two) / len(two)
