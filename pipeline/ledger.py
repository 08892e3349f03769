"""Closed accounting: at every step, what went in is kept, rejected, failed or pending, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """What became of some videos, clips or seconds. ValueError when the four do not add up to what went in."""

    entered: float = 0
    kept: float = 0
    rejected: float = 0
    failed: float = 0
    pending: float = 0

    def __post_init__(self) -> None:
        total = self.kept + self.rejected + self.failed + self.pending
        values = (self.entered, self.kept, self.rejected, self.failed, self.pending)
        if not all(math.isfinite(value) and value >= 0 for value in values):
            raise ValueError(f"counts are finite and not negative, these are not: {self}")
        if not math.isclose(self.entered, total, rel_tol=1e-6, abs_tol=1e-3):
            raise ValueError(f"{self.entered:g} went in, and {total:g} are accounted for: {self}")

    def to_json(self) -> dict[str, float]:
        """Whole numbers as integers, seconds to the millisecond."""
        names = {"in": self.entered, "kept": self.kept, "rejected": self.rejected}
        names |= {"failed": self.failed, "pending": self.pending}
        return {
            name: int(value) if float(value).is_integer() else round(float(value), 3)
            for name, value in names.items()
        }
