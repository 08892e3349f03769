"""Ray, started the careful way: with a token, on loopback, without a dashboard; or joined where it already runs."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

LOCAL = {
    "RAY_AUTH_MODE": "token",
    # Ray's own switch for keeping every socket of a single node on 127.0.0.1, whatever its name says.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Environment of a Ray that rushes starts itself."""

OBJECT_STORE_BYTES = 256 * 2**20
"""Units and counts are all that passes through it; frames never do."""


def connect(address: str | None, workers: int) -> Any:
    """The `ray` module, connected: to `address`, or to a Ray of this machine's own with `workers` CPUs."""
    if address is None:
        os.environ.update(LOCAL)
        if "RAY_AUTH_TOKEN_PATH" not in os.environ and "RAY_AUTH_TOKEN" not in os.environ:
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(_token_file())
    import ray

    if ray.is_initialized():
        return ray
    if address is not None:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    else:
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level="error",
            configure_logging=False,
        )
    return ray


def _token_file() -> Path:
    """A fresh token that only this user can read."""
    handle, name = tempfile.mkstemp(prefix="rushes-ray-token-")
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32))
    return Path(name)
