"""Credentials in URLs: found, so that they are refused before they reach a table, and blotted out of messages."""

from __future__ import annotations

import re
from urllib.parse import unquote

_INNOCENT = re.compile(
    r"keyframes?|keywords?|keyboards?|keynotes?|keystones?|keypoints?|(?:mon|don|tur|hoc|joc|whis)key|hockey"
    r"|tokeni[sz](?:ers?|ed|ation|e)|secretar(?:y|ies|iat)|design|signal|signage|sigma|assign|author(?!i[sz])|bypass|compass|passages?|passengers?"
)
"""Ordinary words that hold one of the words below."""
_SECRET = re.compile(
    r"key|token|secret|sig|auth|pass|pwd|jwt|hmac|bearer|credential|hdn(?:ts|ea|tl)|^code$", re.ASCII
)
"""What names of parameters hold that carry a right to read: of S3, Google, Azure, Akamai and OAuth (`code`), and what
services call theirs. Ours."""
_NAMED_USER = ("abfs", "abfss", "wasb", "wasbs", "hdfs", "sftp", "ssh")
"""Schemes whose URLs name a container or a user before the @, and no key: one there has a colon before it."""
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.]*\]|[^:@]*)(?::\d+)?")
"""A host and its port, an IPv6 address in brackets included: the one place for a colon behind `://`."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*$", re.IGNORECASE)
_USER = re.compile(
    r"([a-z][a-z0-9+.-]+):(//?)([^/?#\s:@]*:(?!\d+[/?#])\S{0,2048}@|[^/?#\s]{0,2048}@)", re.IGNORECASE
)
"""The scheme, the slashes (pathlib leaves one of them) and the user of each URL in a text."""
_PIECE = re.compile(r"[?&;#][^\s&;#]*")
_NAME = re.compile(r"[?&;#]([^?&;#=/]+)=")
"""A piece of a query or a fragment ends at white space, & ; or #; a ? within it may begin a URL of its own."""
NESTED = 4
"""URLs that are written within each other, escaped as often; what goes deeper counts as hiding something."""

WAY_OUT = "carries credentials: leave them out, and give them by the environment or the client's own files"
"""The end of the sentence that refuses such a URL."""


def carries_credentials(url: str, nested: int = NESTED) -> bool:
    """Does a URL hold a user, a password, a key or a signature? Never true of a local path."""
    before, *parts = url.split("://")  # fsspec chains URLs: simplecache::s3://...
    for part in parts:
        host = re.split(r"[/?#]", part, maxsplit=1)[0]
        if _HOST.fullmatch(_without_name(_scheme(before), host)) is None:
            return True
        whole = re.sub(r"\s", "_", part)
        if any(_blotted(piece, nested) != piece for piece in _PIECE.findall(whole)):
            return True
        before = part
    return False


def redacted(text: str) -> str:
    """The text with every user, password and signature in its URLs replaced by ***.

    A URL ends at white space: what stands behind it is left as it is, so that a refusal must not repeat the URL at all.
    """
    return _PIECE.sub(lambda found: _blotted(found[0], NESTED), _USER.sub(_user, text))


def _scheme(before: str) -> str:
    found = _SCHEME.search(before)
    return found[0].lower() if found else ""


def _without_name(scheme: str, host: str) -> str:
    """The host alone, where what stands before it is the name of a container or a user."""
    name, at, rest = host.partition("@")
    return rest if at and scheme in _NAMED_USER and ":" not in name else host


def _names_secret(name: str) -> bool:
    """Is a parameter of this name, written in any case and with any signs between, one that carries a secret?"""
    plain = re.sub(r"[^a-z0-9]", "", unquote(name).lower())
    return _SECRET.search(_INNOCENT.sub("", plain)) is not None


def _user(found: re.Match[str]) -> str:
    scheme, slashes, user = found.groups()
    named = scheme.lower() in _NAMED_USER and ":" not in user and user.count("@") == 1
    return found[0] if named else f"{scheme}:{slashes}***@"


def _blotted(piece: str, nested: int) -> str:
    """The piece, blotted out from its first secret on: a parameter's value, or an escaped URL that carries one."""
    for found in _NAME.finditer(piece):
        if _names_secret(found[1]):
            return f"{piece[: found.end()]}***"
    plain = unquote(piece) if "%" in piece else ""
    if "://" in plain and (not nested or carries_credentials(plain, nested - 1)):
        return f"{piece.partition('=')[0]}=***"
    return piece
