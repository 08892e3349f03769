"""A cluster: joined by its address, and a job submitted to it with the repository as working directory."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs.config import dump

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "filters", "captioner", "balance", "review", "jobs", "recipes")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


@dataclass(frozen=True)
class Head:
    """A running Ray head: where it is, and the environment that has its token."""

    address: str
    dashboard: str
    environment: Mapping[str, str]


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, outside the range that Ray gives to its workers (10002 to 19999)."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    folder = tmp_path_factory.mktemp("head")
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    token.chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    gcs, dashboard, client, agent = free_ports(4)
    arguments = ["--head", "--block", "--num-cpus=2", f"--port={gcs}", f"--ray-client-server-port={client}"]
    arguments += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    # It starts the jobs; another Ray may have the default.
    arguments += [f"--dashboard-agent-listen-port={agent}"]
    arguments += ["--object-store-memory=200000000", "--disable-usage-stats"]
    # A job is told the address that the last `ray start` wrote into this folder. Sockets have short names.
    with tempfile.TemporaryDirectory(prefix="head-", dir="/tmp") as own, (folder / "log").open("w") as log:
        arguments += [f"--temp-dir={own}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            await_port(dashboard, process)
            yield Head(f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}", environment)
        finally:
            process.terminate()
            process.wait(60)


def await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the Ray head did not start")


def test_a_run_on_a_cluster_that_is_there(
    head: Head, whole: tuple[Any, Path], tmp_path: Path, digests_of: Callable[[Path], dict[str, str]]
) -> None:
    small, reference = whole
    (tmp_path / "s.toml").write_text(dump(small.config()))
    command = [sys.executable, "-m", "jobs.cli", "run", "--config", str(tmp_path / "s.toml")]
    command += ["--out", str(tmp_path / "run"), "--ray", head.address]
    done = subprocess.run(
        command, env=head.environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert digests_of(tmp_path / "run") == digests_of(reference)


def test_a_cluster_without_its_token_is_one_sentence(head: Head, small: Any, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(dump(small.config()))
    (tmp_path / "wrong").write_text("0" * 64)
    environment = {**head.environment, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "wrong")}
    command = [sys.executable, "-m", "jobs.cli", "run", "--config", str(tmp_path / "s.toml"), "--quiet"]
    command += ["--out", str(tmp_path / "run"), "--ray", head.address]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 75, done.stderr
    assert "cannot reach the Ray cluster" in done.stderr
    assert "Traceback" not in done.stderr


def submitted(head: Head, command: list[str], cwd: Path) -> tuple[str, str]:
    """How a submitted job ended, and what it said; asked for again and again, as nothing tells when to stop.

    Raises:
        AssertionError: It has not ended in four minutes.
    """

    def job(*arguments: str) -> str:
        ray = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "job",
            *arguments[:1],
            "--address",
            head.dashboard,
        ]
        done = subprocess.run(
            [*ray, *arguments[1:]],
            env=head.environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout + done.stderr

    deadline = time.monotonic() + 240
    said = job("submit", "--no-wait", "--submission-id", "whole", *command)
    # The head answers before the agent that starts jobs does.
    while "No available agent" in said and time.monotonic() < deadline:
        time.sleep(1)
        said = job("submit", "--no-wait", "--submission-id", "whole", *command)
    status = ""
    while time.monotonic() < deadline:
        answer = job("status", "whole")
        status = next((end for end in ("succeeded", "failed", "stopped") if f"'whole' {end}" in answer), "")
        if status:
            return status, said + job("logs", "whole")
        time.sleep(1)
    raise AssertionError(said + job("status", "whole") + job("logs", "whole"))


def test_a_job_with_the_repository_as_working_directory(
    head: Head, whole: tuple[Any, Path], tmp_path: Path, digests_of: Callable[[Path], dict[str, str]]
) -> None:
    """The code that runs is the uploaded one: a copy of the tree whose ingest has another version."""
    small, reference = whole
    tree = tmp_path / "tree"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    source = tree / "pipeline/ingest.py"
    source.write_text(source.read_text().replace("\nVERSION = 1\n", "\nVERSION = 99\n"))
    (tmp_path / "s.toml").write_text(dump(small.config()))
    arguments = ["--config", str(tmp_path / "s.toml"), "--out", str(tmp_path / "run"), "--workers", "2"]
    command = ["--working-dir", str(tree), "--", sys.executable, "-m", "jobs.cli", "run", *arguments]
    status, log = submitted(head, command, tmp_path)
    assert status == "succeeded", log
    found, wanted = digests_of(tmp_path / "run"), digests_of(reference)
    assert len({name.split("@")[1][:8] for name in found if name.startswith("probed@")}) == 1
    shards = {name: digest for name, digest in wanted.items() if name.startswith("shards/")}
    assert {name: found.get(name) for name in shards} == shards
    assert {name for name in found if name.startswith("probed@")}.isdisjoint(wanted)


def test_a_ray_of_our_own_listens_on_loopback_alone(ray_here: None) -> None:
    import psutil

    names, heard = set(), []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended since, and listens no more
            names.add(process.name())
            heard += [
                connection.laddr.ip
                for connection in process.net_connections(kind="inet")
                if connection.status == psutil.CONN_LISTEN
            ]
    assert {"raylet", "gcs_server"} <= names
    assert heard
    assert set(heard) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
