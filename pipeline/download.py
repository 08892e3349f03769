"""Copies of what a filesystem holds, bounded in bytes and time."""

from __future__ import annotations

import time
from typing import Any

from fsspec.callbacks import Callback

from pipeline.patience import Patience
from pipeline.reasons import MediaError, Reason

HTTP = ("http", "https")


class Watch(Callback):  # type: ignore[misc]
    """Hears of every block of a copy and ends it (MediaError: too_large, TimeoutError) when it passes its bounds."""

    def __init__(self, most_bytes: int, patience: Patience) -> None:
        super().__init__()
        self._most_bytes, self._patience = most_bytes, patience
        self._began_s = time.monotonic()
        self._done = 0
        self.answered = False
        """Has the server begun to answer for this item?"""

    def set_size(self, size: int | None) -> None:
        self.answered = True

    def relative_update(self, inc: int = 1) -> None:
        self._done += inc
        if self._done > self._most_bytes:
            raise MediaError(Reason.TOO_LARGE, f"more came than the {self._most_bytes} bytes it may have")
        if self._patience.spent(self._done, time.monotonic() - self._began_s):
            raise TimeoutError(f"{self._done} bytes came in {time.monotonic() - self._began_s:.0f} s")


def http_options(patience: Patience) -> dict[str, Any]:
    """Of fsspec's HTTP filesystem: bytes as they are stored, from the address that was asked, or an error in time.

    A redirect could lead out of the roots of a manifest, and a compressed body is as large as its maker likes.
    """
    import aiohttp

    client = {
        "timeout": aiohttp.ClientTimeout(
            total=None, sock_connect=patience.silent_s, sock_read=patience.silent_s
        ),
        "headers": {"Accept-Encoding": "identity"},
        "auto_decompress": False,
        "raise_for_status": _only_good,
    }
    return {"allow_redirects": False, "client_kwargs": client}


async def _only_good(answer: Any) -> None:
    """Raises aiohttp.ClientResponseError for an answer that is not the item, before any of it is read."""
    import aiohttp
    import yarl

    if answer.status >= 300:
        message = answer.reason or ""
        if answer.status < 400:
            host = yarl.URL(answer.headers.get("Location", "")).host or answer.url.host
            message = f"it sends to another address, at {host}: redirects are not followed, name that one"
        raise aiohttp.ClientResponseError(
            answer.request_info, answer.history, status=answer.status, message=message
        )
