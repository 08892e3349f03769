"""Ray, started the careful way: with a token, on loopback, without a dashboard; or joined where it already runs."""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
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

FOLDER = "rushes-ray-"
"""How the names of the folders begin in which a Ray of this machine's own keeps its token, sockets and logs."""
FREE_BYTES = 64 * 2**20
"""What must be free there for Ray to start: its logs and its tables of ports. Ours."""
SOCKET_BYTES = 107
"""What the name of a socket may have (unix(7): sun_path, and a zero behind it)."""
SESSION_BYTES = len("12345678/r/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")
"""What Ray's names add to that of its folder."""
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
GRACE_S = 15.0
"""For the runner to notice by itself that Ray is gone, and to leave in good order."""
OBJECT_STORE_BYTES = 256 * 2**20
"""Units and counts are all that passes through it; frames never do."""


class ClusterError(Exception):
    """Ray cannot be reached or started: one sentence with the way out."""


def connect(address: str | None, workers: int) -> Any:
    """The `ray` module, connected: to `address`, or to a Ray of this machine's own with `workers` CPUs."""
    loaded = sys.modules.get("ray")
    if loaded is not None and loaded.is_initialized():
        return loaded
    if address is None:
        os.environ.update(LOCAL)
        return _own(workers)
    import ray

    with _quietly(f"the Ray cluster at {address}", "check the address and the token"):
        ray.init(address=address, log_to_driver=False, logging_level="error")
    return ray


def _own(workers: int) -> Any:
    """The `ray` module, connected to a Ray that ends with this process."""
    folder = private_folder([os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "/tmp"], FREE_BYTES)
    started = _reaper(folder)
    given = any(name in os.environ for name in TOKENS)
    if not given:
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(_token_file(folder))
    import ray

    os.environ[reaper.MARK] = str(folder)  # so that the reaper knows what is started, as it is
    try:
        with _quietly("a Ray of this machine's own", f"look for free space in {folder.parent} and memory"):
            _init(ray, workers, folder)
    except ClusterError:
        if not given:
            del os.environ["RAY_AUTH_TOKEN_PATH"]
        _leave(started)
        raise
    finally:
        del os.environ[reaper.MARK]
    node = ray._private.worker._global_node
    numbers = [str(info.process.pid) for kind in node.all_processes.values() for info in kind]
    _tell(started, " ".join(numbers))
    threading.Thread(target=_watch, args=(ray, started, folder), daemon=True).start()
    return ray


def private_folder(places: Sequence[str], free_bytes: int) -> Path:
    """A new folder that only this user can enter, in the first place whose name leaves room for those of sockets.

    Ray opens its folder to everybody; what lies above it does not. Raises ClusterError.
    """
    place = next(
        (p for p in places if len(os.fsencode(p)) + len("/" + FOLDER) + SESSION_BYTES <= SOCKET_BYTES), "/tmp"
    )
    try:
        free = shutil.disk_usage(place).free
        if free < free_bytes:
            raise ClusterError(
                f"cannot start a Ray of this machine's own: {free >> 20} MiB are free in {place}, it needs "
                f"{free_bytes >> 20}; free some, name another place with TMPDIR, or use --workers 0"
            )
        return Path(tempfile.mkdtemp(prefix=FOLDER, dir=place))
    except OSError as error:
        raise ClusterError(
            f"cannot start a Ray of this machine's own: cannot write to {place}: {error.strerror}; mend that, name "
            "another place with TMPDIR, or use --workers 0"
        ) from error


def cpus() -> int:
    """CPUs of the Ray that this process is connected to; 1 when there is none."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return 1
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def room(gpus: float, nodes: Sequence[Mapping[str, float]] | None = None) -> int:
    """CPUs for each worker with such a share of a GPU, on any node that holds as many of them as it has GPUs for.

    `nodes` are their resources; by default those of the Ray that this process is connected to.
    """
    if nodes is None:
        nodes = [node["Resources"] for node in sys.modules["ray"].nodes() if node["Alive"]]
    fit = [node for node in nodes if node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= gpus]
    workers = [max(1, int(node.get("GPU", 0) / gpus)) if gpus else 1 for node in fit]
    return min((int(node["CPU"]) // held for node, held in zip(fit, workers, strict=True)), default=1)


def lost(ray: Any) -> str:
    """Names of the processes of a Ray of this machine's own that have died; empty when all is well."""
    node = ray._private.worker._global_node
    return ", ".join(sorted(name for name, _ in node.dead_processes())) if node is not None else ""


def _reaper(folder: Path) -> subprocess.Popen[bytes]:
    """A process that removes the folder, and what is left of the Ray in it, when this one ends, however it ends."""
    started = subprocess.Popen(
        [sys.executable, "-I", "-S", reaper.__file__, str(folder)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # what ends this process's group must leave it
    )
    atexit.register(_leave, started)
    return started


def _tell(started: subprocess.Popen[bytes], line: str) -> None:
    assert started.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it was killed
        started.stdin.write(f"{line}\n".encode())
        started.stdin.flush()


def _leave(started: subprocess.Popen[bytes]) -> None:
    """Lets the reaper do its work, and waits for it."""
    assert started.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it was killed
        started.stdin.close()
    started.wait()


def _watch(ray: Any, started: subprocess.Popen[bytes], folder: Path) -> None:
    """Ends this process when a Ray of its own has died: calls that wait for such a Ray never return."""
    while ray.is_initialized():
        time.sleep(1.0)
        if ray.is_initialized() and (gone := lost(ray)):
            time.sleep(GRACE_S)
            if ray.is_initialized():
                print(
                    f"rushes: Ray on this machine has ended ({gone}); its logs are in {folder}; run the same command "
                    "again to go on",
                    file=sys.stderr,
                )
                sys.stderr.flush()
                _tell(started, reaper.KEEP)
                _leave(started)
                os._exit(os.EX_TEMPFAIL)


def disconnect() -> None:
    """Ends a Ray that `connect` started, or leaves the cluster; nothing of it stays behind."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()


def _init(ray: Any, workers: int, folder: Path) -> None:
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
            _temp_dir=str(folder / "r"),
        )


@contextmanager
def _quietly(what: str, way_out: str) -> Iterator[None]:
    """Keeps Ray's signals and words to itself while it starts; ClusterError when it does not."""
    with _signals_kept(), _stderr_closed():
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:  # ConnectionError and TimeoutError among them
            said = str(error).strip().split("\n")[0]
            raise ClusterError(f"cannot reach {what}: {said}; {way_out}, or use --workers 0") from error


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


def _token_file(folder: Path) -> Path:
    """A fresh token that only this user can read."""
    path = folder / reaper.TOKEN
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return path
