"""Ray, started the careful way: with a token, on loopback, without a dashboard; or joined where it already runs."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import reaper

LOCAL = {
    "RAY_AUTH_MODE": "token",
    # Ray's own switch for keeping every socket of a single node on 127.0.0.1, whatever its name says.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Its workers do the work that the user waits for: no nicer to others than the command itself (Ray's default is 15).
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # What Ray has to say of workers that die stays in its own log files: the runner deals with them and says so.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
}
"""Environment of a Ray that rushes starts itself; read when `ray` is imported."""

TOKEN_PREFIX = "rushes-ray-token-"
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
GRACE_S = 15.0
"""For the runner to notice by itself that Ray is gone, and to leave in good order."""
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
    with _signals_kept(), _stderr_closed():
        try:
            _init(ray, address, workers)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            where = f"the Ray cluster at {address}" if address else "a Ray of this machine's own"
            said = str(error).strip().split("\n")[0]
            raise ClusterError(
                f"cannot reach {where}: {said}; check the address and the token, or use --workers 0"
            ) from error
    if address is None:
        threading.Thread(target=_watch, args=(ray, _reaper(ray)), daemon=True).start()
    return ray


def cpus() -> int:
    """CPUs of the Ray that this process is connected to; 1 when there is none."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return 1
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def lost(ray: Any) -> str:
    """Names of the processes of a Ray of this machine's own that have died; empty when all is well."""
    node = ray._private.worker._global_node
    return ", ".join(sorted(name for name, _ in node.dead_processes())) if node is not None else ""


def _reaper(ray: Any) -> subprocess.Popen[bytes]:
    """A process that ends what is left of this Ray should this one be killed; it hears of it when this one leaves."""
    node = ray._private.worker._global_node
    numbers = [str(info.process.pid) for kind in node.all_processes.values() for info in kind]
    token = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    ours = token if Path(token).name.startswith(TOKEN_PREFIX) else ""
    started = subprocess.Popen(
        [sys.executable, "-I", "-S", reaper.__file__, node.get_session_dir_path(), ours, *numbers],
        stdin=subprocess.PIPE,
        start_new_session=True,  # what ends this process's group must leave it
    )
    atexit.register(_leave, started)
    return started


def _leave(started: subprocess.Popen[bytes]) -> None:
    """Ends the reaper; Ray's logs stay to be read."""
    with contextlib.suppress(BrokenPipeError):  # it was killed
        started.communicate(b".")


def _watch(ray: Any, started: subprocess.Popen[bytes]) -> None:
    """Ends this process when a Ray of its own has died: calls that wait for such a Ray never return."""
    while ray.is_initialized():
        time.sleep(1.0)
        if ray.is_initialized() and (gone := lost(ray)):
            time.sleep(GRACE_S)
            if ray.is_initialized():
                print(
                    f"rushes: Ray on this machine has ended ({gone}); run the same command again to go on",
                    file=sys.stderr,
                )
                sys.stderr.flush()
                _leave(started)
                os._exit(os.EX_TEMPFAIL)


def disconnect() -> None:
    """Ends a Ray that `connect` started, or leaves the cluster; nothing of it stays behind."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


def _init(ray: Any, address: str | None, workers: int) -> None:
    if address is not None:
        ray.init(address=address, log_to_driver=False, logging_level="error")
        return
    # Without a dashboard, Ray still starts the dashboard's process to report usage, and that asks the cloud which one
    # it is (169.254.169.254 and a name server), reports or no reports. Where its port is taken it does not start.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ray.init(
            address="local",  # otherwise one that runs on this machine already would be joined
            num_cpus=workers,
            include_dashboard=False,
            dashboard_host="127.0.0.1",
            dashboard_port=taken.getsockname()[1],
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level="error",
            configure_logging=False,
        )


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Keeps what Ray's processes print as they start off this terminal."""
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        for handle in (kept, nothing):
            os.close(handle)


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
    handle, name = tempfile.mkstemp(prefix=TOKEN_PREFIX)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32))
    atexit.register(Path(name).unlink, missing_ok=True)
    return Path(name)
