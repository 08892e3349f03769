"""Credentials in URLs: found, so that they are refused before they reach a table, and blotted out of messages."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

_QUERY = r"""(?:x-amz|x-goog|x-ms)-(?:signature|credential|security-token|[a-z-]*token)|awsaccesskeyid|signature|sig
|(?:[a-z]+[_-])?token|auth|authorization|api[_-]?key|(?:[a-z]+[_-])?secret|password|passwd|pwd""".replace(
    "\n", ""
)
"""Names of the query parameters that carry a right to read: of S3, Google, Azure and common services."""
_SECRET = re.compile(_QUERY, re.IGNORECASE)
_PORT = re.compile(r"(?:\[[0-9a-fA-F:.]*\]|[^:@]*)(?::\d*)?")
"""A host and its port, an IPv6 address in brackets included: the one place for a colon behind `://`."""
_USER = re.compile(r"(://)(?:[^/?#\s'\"<>@]*|[^/?#\s'\"<>@:]*:[^\s'\"<>@]*)@")
_PARAMETER = re.compile(rf"([?&;](?:{_QUERY})=)[^&;\s'\"<>)]*", re.IGNORECASE)

WAY_OUT = "carries credentials: leave them out, and give them by the environment or the client's own files"
"""The end of the sentence that refuses such a URL."""


def carries_credentials(url: str) -> bool:
    """Does a URL hold a user, a password, a key or a signature? Never true of a local path."""
    for part in url.split("://")[1:]:  # fsspec chains URLs: simplecache::s3://...
        host = re.split(r"[/?#]", part, maxsplit=1)[0]
        if _PORT.fullmatch(host) is None:
            return True
        query = part.partition("?")[2].partition("#")[0]
        if any(_SECRET.fullmatch(name) for name, _ in parse_qsl(query, keep_blank_values=True)):
            return True
    return False


def redacted(text: str) -> str:
    """The text with every user, password and signature in its URLs replaced by ***."""
    return _PARAMETER.sub(r"\1***", _USER.sub(r"\1***@", text))
