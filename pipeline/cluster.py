"""Ray, started the careful way: with a token, on loopback, without a dashboard; or joined where it already runs."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCAL = {
    "RAY_AUTH_MODE": "token",
    # Ray's own switch for keeping every socket of a single node on 127.0.0.1, whatever its name says.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # The raylet inherits this terminal; that a worker died is told by the runner, in one sentence.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
"""Environment of a Ray that rushes starts itself."""

TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
OBJECT_STORE_BYTES = 256 * 2**20
"""Units and counts are all that passes through it; frames never do."""


class ClusterError(Exception):
    """Ray cannot be reached or started: one sentence with the way out."""


def connect(address: str | None, workers: int) -> Any:
    """The `ray` module, connected: to `address`, or to a Ray of this machine's own with `workers` CPUs."""
    if address is None:
        os.environ.update(LOCAL)
        if not any(name in os.environ for name in TOKENS):
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(_token_file())
    import ray

    if ray.is_initialized():
        return ray
    with _signals_kept():
        try:
            _init(ray, address, workers)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            where = f"the Ray cluster at {address}" if address else "a Ray of this machine's own"
            said = str(error).strip().split("\n")[0]
            raise ClusterError(
                f"cannot reach {where}: {said}; check the address and the token, or use --workers 0"
            ) from error
    return ray


def disconnect() -> None:
    """Ends a Ray that `connect` started, or leaves the cluster; nothing of it stays behind."""
    import sys

    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


def _init(ray: Any, address: str | None, workers: int) -> None:
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


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Puts back the handler of SIGTERM, which `ray.init` replaces with one that leaves without a word."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _token_file() -> Path:
    """A fresh token that only this user can read; removed when this process ends."""
    import atexit

    handle, name = tempfile.mkstemp(prefix="rushes-ray-token-")
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32))
    atexit.register(Path(name).unlink, missing_ok=True)
    return Path(name)
