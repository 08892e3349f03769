"""How long anybody waits for bytes before the line or the disk is given up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How long anybody waits for bytes. The values are ours."""

    silent_s: float = 30.0
    """Without a connection, or without a byte: then the line is given up."""
    grace_s: float = 60.0
    """After this, bytes must have come at the lowest rate or faster, on average."""
    slowest_bytes_s: float = 65_536.0

    def spent(self, done: int, waited_s: float) -> bool:
        """Have too few bytes come in this time?"""
        return done < (waited_s - self.grace_s) * self.slowest_bytes_s
