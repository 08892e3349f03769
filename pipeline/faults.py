"""Whose fault an error of a disk, a line or a store is: its own, or the item's that was asked for."""

from __future__ import annotations

import errno
import sys

from pipeline.remote import line_faults

OVERLOADED = (408, 425, 429)
"""HTTP statuses that speak of the server's state and not of the item, as all from 500 on do (RFC 9110, 15.5-15.6)."""
MISSING = (404, 410)
LOST = frozenset(
    (
        errno.EIO, errno.ESTALE, errno.EBUSY, errno.ENODEV, errno.EREMOTEIO, errno.EPIPE, errno.ESHUTDOWN,
        errno.ENOTCONN, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED,
        errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    )
)  # fmt: skip
"""What the system says when a disk or a line is gone, not when a file is."""


def is_lost(error: BaseException) -> bool:
    """Is it the line, the store or the disk that failed, so that other items would fail as well? An answer about the
    item is no such fault."""
    status = status_of(error)
    if status is not None:
        return status in OVERLOADED or status >= 500
    http = sys.modules.get("aiohttp")
    families = (http.ClientConnectionError, http.ClientPayloadError) if http is not None else ()
    kinds = (ConnectionError, TimeoutError, *families, *line_faults())
    return isinstance(_root(error), kinds) or getattr(_root(error), "errno", None) in LOST


def is_missing(error: BaseException) -> bool:
    """Does it say that there is no such item?"""
    status = status_of(error)
    return isinstance(error, FileNotFoundError) if status is None else status in MISSING


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error, if a server answered with one."""
    status = getattr(_root(error), "status", None)
    return status if isinstance(status, int) else None


def in_words(error: BaseException) -> str:
    """What the fault says of itself, without the URL; its kind where it says nothing."""
    root = _root(error)
    status = status_of(error)
    if status is not None:
        return f"{status} {getattr(root, 'message', '')}".strip()
    if isinstance(root, TimeoutError) and not root.args:
        return "nothing came for too long"
    return str(root) or type(root).__name__


def _root(error: BaseException) -> BaseException:
    """The answer or fault behind an error: fsspec's HTTP client calls whatever goes wrong a file that is not there."""
    hidden = isinstance(error, FileNotFoundError) and error.__cause__ is not None
    return error.__cause__ if hidden and error.__cause__ is not None else error
