"""How long to wait before a server is asked again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST_WAIT_S = 300.0
"""Between two tries, whatever the server asks for."""


def wait_s(key: str, attempt: int, first_s: float, asked_s: float = 0.0) -> float:
    """Seconds before the next try: twice as long each time, spread by half either way by the prompt's key alone.

    Never less than the server asks for, nor more than LONGEST_WAIT_S.
    """
    digest = hashlib.sha256(f"{key}:{attempt}".encode()).digest()
    spread = 0.5 + int.from_bytes(digest[:4], "big") / (1 << 32)
    grown = first_s * 2.0 ** (attempt - 1) * spread
    return min(LONGEST_WAIT_S, max(asked_s, 0.0) + grown if asked_s > 0 else grown)


def after_s(headers: Mapping[str, str]) -> float:
    """Seconds that `Retry-After` asks for; a date there is taken against the reply's own `Date` (RFC 9110, 10.2.3)."""
    said = headers.get("Retry-After", "").strip()
    try:
        return max(0.0, min(float(said), LONGEST_WAIT_S))
    except ValueError:
        pass
    try:
        wanted, now = parsedate_to_datetime(said), parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, min((wanted - now).total_seconds(), LONGEST_WAIT_S))
    except (TypeError, ValueError):
        return 0.0
