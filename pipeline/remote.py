"""Filesystems by URL, whose clients give up on a store that is lost within minutes."""

from __future__ import annotations

import logging
import sys
from collections import ChainMap
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

S3 = ("s3", "s3a")
PATIENCE: Mapping[str, Any] = {"connect_timeout": 10, "read_timeout": 10, "retries": {"mode": "standard"}}
"""Of the S3 client (botocore.config.Config): seconds until a silent line is given up, and three attempts at each call
unless AWS_MAX_ATTEMPTS says otherwise. s3fs makes five of each of these: a silent store is given up within three
minutes, where the defaults would take over six. The values are ours; those of FSSPEC_S3 come before them."""


def open_url(url: str, **options: Any) -> tuple[Any, str]:
    """The fsspec filesystem of a URL and the path on it; `options` go to the filesystem.

    Raises ImportError when its client is not installed, ValueError when no client knows the URL.
    """
    import fsspec

    if url.partition("://")[0] in S3:
        # What the client's loop could tell nobody any more; the error itself is raised and becomes a sentence.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        told = [fsspec.config.conf.get(name, {}).get("config_kwargs", {}) for name in S3]
        options["config_kwargs"] = deepcopy(dict(ChainMap(*told, dict(PATIENCE))))  # botocore writes into it
    fs, path = fsspec.core.url_to_fs(url, **options)
    return fs, str(path)


def storage_faults() -> tuple[type[Exception], ...]:
    """What a filesystem raises when it fails: OSError, and of the clients of S3 and HTTP their own families."""
    return (OSError, *_loaded(("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError")))


def line_faults() -> tuple[type[Exception], ...]:
    """What the client of S3 raises, after all its attempts, when the store cannot be reached at all: no fault of the
    object that was asked for, and none that the next object would be spared."""
    return _loaded(("botocore.exceptions", "HTTPClientError"), ("botocore.exceptions", "ConnectionError"))


def _loaded(*families: tuple[str, str]) -> tuple[type[Exception], ...]:
    """Those of (module, exception) whose module has been imported: no other can have raised anything."""
    return tuple(getattr(sys.modules[module], name) for module, name in families if module in sys.modules)
