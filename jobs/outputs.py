"""Files that a command writes where its user says."""

from __future__ import annotations

import os
from pathlib import Path

from jobs.config import ConfigError


def put(file: Path, data: bytes) -> None:
    """Writes a file whole, or leaves what was there. ConfigError: it cannot be written."""
    scratch = file.with_name(f".tmp-{file.name}")
    try:
        scratch.write_bytes(data)
        os.replace(scratch, file)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise ConfigError(f"{file}: it cannot be written: {error.strerror or error}") from None
