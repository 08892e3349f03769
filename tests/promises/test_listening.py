"""A Ray that rushes starts listens on loopback alone, and does nothing for whoever has no token."""

from __future__ import annotations

import http.client
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
MARK = Path("/tmp/rushes-test-somebody-was-here")
JOB = json.dumps({"entrypoint": f"touch {MARK}"})


def listening() -> Iterator[tuple[str, int, str]]:
    """Address, port and process of every socket that Ray's processes and this one listen on."""
    import psutil

    here = psutil.Process()
    for process in (here, *here.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it has ended since, and listens no more
            for connection in process.net_connections(kind="inet"):
                if connection.status == psutil.CONN_LISTEN:
                    yield connection.laddr.ip, connection.laddr.port, process.name()


def answer(port: int, method: str, path: str, body: str = "") -> int:
    """The HTTP status that a port gives to a request without a token; 0 when it speaks no HTTP."""
    caller = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        caller.request(method, path, body, {"Content-Type": "application/json"})
        return caller.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        caller.close()


def test_every_socket_is_on_loopback(ray_here: None, record: Callable[[str, str], None]) -> None:
    heard = list(listening())
    assert len(heard) >= 3
    assert [one for one in heard if one[0] not in LOOPBACK] == []
    record("loopback only", f"{len(heard)} of {len(heard)} listening sockets on loopback")


def test_nobody_without_the_token_starts_a_job(ray_here: None, record: Callable[[str, str], None]) -> None:
    """No port takes one: there is no dashboard, agents want the token, and metrics can only be read."""
    ports = sorted({port for _, port, _ in listening()})
    asked = {port: answer(port, "POST", "/api/jobs/", JOB) for port in ports}
    assert set(asked.values()) <= {0, 401, 403, 404, 405}
    assert 401 in asked.values()  # so it was HTTP, and it was heard
    assert not MARK.exists()
    record("no job without a token", f"a job posted to {len(ports)} ports: refused by all")


CONNECT = (
    "from ray._raylet import GcsClient; print(GcsClient(address={address!r}).internal_kv_keys(b'', None, 9))"
)


def test_nobody_without_the_token_talks_to_ray(ray_here: None) -> None:
    """Ray's own client, from a process of its own: without a token, with a wrong one, and with the right one."""
    import ray

    line = CONNECT.format(address=ray.get_runtime_context().gcs_address)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    given = {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH_TOKEN")}
    for changes, allowed in (
        ({"RAY_AUTH_MODE": "disabled"}, False),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}, False),
        ({"RAY_AUTH_MODE": "token", **given}, True),
    ):
        done = subprocess.run(
            [sys.executable, "-c", line], env=plain | changes, capture_output=True, text=True, check=False, timeout=60
        )  # fmt: skip
        assert (done.returncode == 0) == allowed, done.stderr
        assert ("InvalidAuthToken" in done.stderr) != allowed


def test_the_token_is_this_users_alone(ray_here: None) -> None:
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if path is None:
        pytest.skip("the environment of the tests gives a token of its own")
    status = os.stat(path)
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, os.getuid())
    assert len(Path(path).read_text()) == 64


def test_no_other_user_comes_to_its_folder(ray_here: None, record: Callable[[str, str], None]) -> None:
    """Ray opens its sockets and logs to everybody; the folder above them is closed to all others."""
    import ray

    session = Path(ray._private.worker._global_node.get_session_dir_path())
    above = session.parents[1]
    assert (stat.S_IMODE(above.stat().st_mode), above.stat().st_uid) == (0o700, os.getuid())
    inside = [path for path in session.rglob("*") if not path.is_symlink()]
    opened = [path for path in inside if path.stat().st_mode & stat.S_IWOTH]
    assert inside
    record(
        "a folder of its own",
        f"0700 above {len(inside)} files of Ray, {len(opened)} of them open to everybody",
    )
