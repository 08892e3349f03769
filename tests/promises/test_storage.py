"""A full disk, a lost permission, a lost store: one sentence with the path and the way out; then the same bytes."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.disk import Disk
from pipeline.store import SCRATCH, Files, LocalFiles, StorageError, Store

Digests = Callable[[Path], dict[str, str]]
Record = Callable[[str, str], None]
AGAIN = 75


# --- a disk that says no


@dataclass(frozen=True)
class RefusingDisk(Disk):
    """A disk that raises this error at the n-th call of one kind, and works otherwise."""

    what: str = "write"
    number: int = 0
    left: list[int] = field(default_factory=lambda: [1])

    def _call(self, what: str) -> None:
        if what == self.what:
            self.left[0] -= 1
            if self.left[0] == 0:
                raise OSError(self.number, os.strerror(self.number))

    def lock(self, handle: int) -> None:
        self._call("lock")
        super().lock(handle)

    def make(self, folder: Path) -> None:
        self._call("make")
        super().make(folder)

    def open(self, path: Path) -> int:
        self._call("open")
        return super().open(path)

    def write(self, handle: int, data: bytes) -> None:
        """Half of it is on the disk before it says no."""
        super().write(handle, data[: len(data) // 2])
        self._call("write")
        super().write(handle, data[len(data) // 2 :])

    def sync(self, handle: int) -> None:
        self._call("sync")
        super().sync(handle)

    def link(self, path: Path, name: Path) -> None:
        self._call("link")
        super().link(path, name)

    def replace(self, path: Path, name: Path) -> None:
        self._call("replace")
        super().replace(path, name)

    def sync_folder(self, folder: Path) -> None:
        self._call("sync_folder")
        super().sync_folder(folder)


@dataclass(frozen=True)
class Refusing(Store):
    """A run on such a disk."""

    disk: Disk = field(default_factory=Disk)

    @property
    def files(self) -> Files:
        return LocalFiles(Path(self.root), self.disk)


def put_both(store: Store) -> None:
    store.put("part/a", b"bytes", 1)
    store.put_text("run.toml", "text")


CALLS = ("make", "open", "write", "sync", "link", "replace", "sync_folder")
WAYS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the filesystem is read-only: choose another --out",
    errno.EACCES: "no permission to write there: change it or choose another --out",
    errno.EIO: "OSError: ",
    errno.ESTALE: "OSError: ",
}


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("number", WAYS, ids=errno.errorcode.get)
def test_a_call_that_fails_is_one_sentence_and_leaves_nothing_half_written(
    tmp_path: Path, what: str, number: int
) -> None:
    store = Refusing(str(tmp_path), RefusingDisk(what, number))
    with pytest.raises(StorageError) as caught:
        put_both(store)
    said = str(caught.value)
    assert said.startswith(("cannot write part/a in run ", "cannot write run.toml in run "))
    assert WAYS[number] in said
    assert said.endswith("then run the same command again")
    for path, whole in ((tmp_path / "part/a", b"bytes"), (tmp_path / "run.toml", b"text")):
        assert not path.exists() or path.read_bytes() == whole
    assert list(tmp_path.glob(".tmp-files/*")) == []
    put_both(store)
    assert (tmp_path / "part/a").read_bytes() == b"bytes"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK], ids=errno.errorcode.get)
def test_a_filesystem_without_links_serves_too(tmp_path: Path, number: int) -> None:
    store = Refusing(str(tmp_path), RefusingDisk("link", number))
    store.put("part", b"bytes", 1)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["part"]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS], ids=errno.errorcode.get)
def test_without_locks_nobody_sweeps_what_another_driver_writes(tmp_path: Path, number: int) -> None:
    """Where there are locks, the one who holds the run clears it."""
    left = tmp_path / SCRATCH / ".tmp-of-another"
    left.parent.mkdir()
    left.write_bytes(b"half")
    with Refusing(str(tmp_path), RefusingDisk("lock", number)).locked():
        assert left.read_bytes() == b"half"
    with Store(str(tmp_path)).locked():
        assert not left.exists()


def test_a_lock_that_fails_is_one_sentence(tmp_path: Path) -> None:
    store = Refusing(str(tmp_path), RefusingDisk("lock", errno.EIO))
    with pytest.raises(StorageError, match=r"^cannot write \.lock in run .*: OSError: "), store.locked():
        pass


# --- the whole command


@dataclass(frozen=True)
class Command:
    """`rushes run` over the small media, as a process of its own."""

    out: str
    settings: Path
    workers: int = 0

    def start(self, **options: Any) -> subprocess.Popen[str]:
        args = [sys.executable, "-m", "jobs.cli", "run", "--config", str(self.settings)]
        args += ["--out", self.out, "--workers", str(self.workers)]
        return subprocess.Popen(args, stderr=subprocess.PIPE, text=True, **options)

    def stopped(self, process: subprocess.Popen[str], timeout_s: float = 120) -> str:
        """The sentence with which it stopped: the last line, no traceback, the status that says 'again'."""
        said = process.communicate(timeout=timeout_s)[1]
        assert process.returncode == AGAIN, said
        assert "Traceback" not in said
        sentence = said.strip().splitlines()[-1]
        assert sentence.startswith("rushes: cannot write ") or sentence.startswith("rushes: cannot read "), (
            said
        )
        assert self.out in sentence
        return sentence

    def finish(self, **options: Any) -> None:
        process = self.start(**options)
        said = process.communicate(timeout=300)[1]
        assert process.returncode == 0, said


@pytest.fixture
def settings(whole: tuple[Any, Path], tmp_path: Path) -> Path:
    from jobs.config import dump

    path = tmp_path / "s.toml"
    path.write_text(dump(whole[0].config()))
    return path


def untorn(out: Path, wanted: dict[str, str], digests_of: Digests) -> None:
    """Every visible file of a stopped run is one of the finished run, whole."""
    other = [path for path, digest in digests_of(out).items() if wanted.get(path) != digest]
    assert not other, [(out / path).read_bytes()[:2000] for path in other]


@pytest.mark.slow
def test_a_file_size_limit_in_the_middle_of_a_run(
    whole: tuple[Any, Path], tmp_path: Path, settings: Path, digests_of: Digests, record: Record
) -> None:
    """EFBIG at the first large file."""
    wanted = digests_of(whole[1])
    sizes = sorted(path.stat().st_size for path in whole[1].rglob("*.parquet"))

    def bound() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[-3], resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    command = Command(str(tmp_path / "run"), settings)
    sentence = command.stopped(command.start(preexec_fn=bound))
    assert "the file size limit was reached: raise it" in sentence
    untorn(tmp_path / "run", wanted, digests_of)
    command.finish()
    assert digests_of(tmp_path / "run") == wanted
    record("file size limit", "stopped with status 75; done again, 0 different")


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A small filesystem in memory at the folder; gives what mounts it again with other options."""

    def mount(options: str) -> None:
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this user may not mount: {done.stderr.strip()}")

    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    folder.mkdir()
    mount(f"size={size}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "workers",
    [
        pytest.param(0, marks=pytest.mark.slow),
        pytest.param(2, marks=[pytest.mark.promise, pytest.mark.xdist_group("ray")]),
    ],
)
def test_a_full_disk_in_the_middle_of_a_run(
    whole: tuple[Any, Path], tmp_path: Path, settings: Path, digests_of: Digests, record: Record, workers: int
) -> None:
    """It fills at several moments; each time there is a little more room, until there is enough."""
    wanted = digests_of(whole[1])
    need = sum(path.stat().st_size for path in whole[1].rglob("*") if path.is_file())
    stops = 0
    with mounted(tmp_path / "disk", f"{need // 4}") as mount:
        out = tmp_path / "disk/run"
        command = Command(str(out), settings, workers)
        for share in (0.5, 0.8):
            sentence = command.stopped(command.start())
            assert "the disk is full: free some space" in sentence
            untorn(out, wanted, digests_of)
            stops += 1
            mount(f"remount,size={int(need * share)}")
        mount(f"remount,size={need * 4}")
        command.finish()
        assert digests_of(out) == wanted
    record(f"full disk, {workers} workers", f"{stops} stops with status 75; done again, 0 different")


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """A folder that nobody may write to, root included: permissions alone would not bind root."""
    if shutil.which("chattr") is None:
        pytest.skip("there is no chattr command")
    done = subprocess.run(["chattr", "+i", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this user or filesystem has no immutable folders: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(folder)], check=True)


@pytest.mark.slow
def test_a_permission_that_is_lost_in_the_middle_of_a_run(
    whole: tuple[Any, Path], tmp_path: Path, settings: Path, digests_of: Digests, record: Record
) -> None:
    wanted = digests_of(whole[1])
    out = tmp_path / "run"
    command = Command(str(out), settings)
    process = command.start()
    await_file(out, "videos.json", process)
    with unwritable(out / SCRATCH):
        sentence = command.stopped(process)
        assert "no permission to write there: change it or choose another --out" in sentence
        untorn(out, wanted, digests_of)
    command.finish()
    assert digests_of(out) == wanted
    record("lost write permission", "stopped with status 75; done again, 0 different")


def await_file(out: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not any(out.glob(pattern)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


# --- a store at the other end of a line


@dataclass
class Line:
    """A line to a server on loopback that can be cut: then nobody answers, or nothing comes any more."""

    port: int
    state: str = "up"
    """up, refused (connections are closed), silent (they stay open and nothing passes)."""

    def __post_init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self.number = self._door.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:  # closed
                return
            self._open.append(caller)
            if self.state == "refused":
                caller.close()
            elif self.state == "up":
                server = socket.create_connection(("127.0.0.1", self.port))
                self._open.append(server)
                for source, target in ((caller, server), (server, caller)):
                    threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                if self.state == "silent":
                    return
                target.sendall(data)
        except OSError:
            pass
        finally:
            if self.state != "silent":
                for end in (source, target):
                    end.close()

    def cut(self, state: str) -> None:
        self.state = state
        if state == "refused":
            for end in self._open:
                end.close()

    def close(self) -> None:
        self._door.close()
        self.cut("refused")


@pytest.fixture
def line() -> Iterator[Line]:
    """A line to an S3-speaking server with room for buckets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    made = Line(port)
    yield made
    made.close()
    server.kill()
    server.wait()


IMPATIENT = {
    "FSSPEC_S3": '{"config_kwargs": {"connect_timeout": 2, "read_timeout": 2}}',
    "AWS_MAX_ATTEMPTS": "2",
}
"""A client that does not wait long."""


def remote_environment(line: Line) -> dict[str, str]:
    """What a user would set."""
    return os.environ | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{line.number}",
    }


@pytest.fixture
def bucket(line: Line) -> Any:
    """An s3fs filesystem beside the line, with a bucket `runs`."""
    import s3fs

    fs = s3fs.S3FileSystem(
        key="test",
        secret="test",
        endpoint_url=f"http://127.0.0.1:{line.port}",
        client_kwargs={"region_name": "us-east-1"},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    fs.call_s3("create_bucket", Bucket="runs")
    return fs


@pytest.mark.slow
@pytest.mark.parametrize("state", ["refused", pytest.param("silent", marks=pytest.mark.promise)])
def test_a_store_that_is_lost_in_the_middle_of_a_run(
    whole: tuple[Any, Path],
    tmp_path: Path,
    settings: Path,
    digests_of: Digests,
    line: Line,
    bucket: Any,
    state: str,
    record: Record,
) -> None:
    """The server is gone, or the network is; both come back, and the same command goes on."""
    command = Command("s3://runs/one", settings)
    environment = remote_environment(line) | IMPATIENT
    process = command.start(env=environment)
    deadline = time.monotonic() + 120
    while not bucket.exists("runs/one/videos.json") and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    line.cut(state)
    sentence = command.stopped(process)
    assert len(sentence) < 400
    line.cut("up")
    again = command.start(env=environment)
    said = again.communicate(timeout=200)[1]
    assert again.returncode == 0, said
    assert "nothing to do" in said  # what was done before the line was cut
    bucket.get("runs/one", str(tmp_path / "remote"), recursive=True)
    assert digests_of(tmp_path / "remote") == digests_of(whole[1])
    record(f"lost object store ({state})", "stopped with status 75; done again, 0 different")


@pytest.mark.promise
@pytest.mark.timeout(900)
def test_a_silent_store_is_given_up_within_minutes(
    tmp_path: Path, settings: Path, line: Line, record: Record
) -> None:
    """With the client's settings as they come."""
    line.cut("silent")
    command = Command("s3://runs/one", settings)
    began = time.monotonic()
    sentence = command.stopped(command.start(env=remote_environment(line)), timeout_s=400)
    took_s = time.monotonic() - began
    assert "Timeout" in sentence
    assert took_s < 240
    record("lost object store (silent, default settings)", f"given up after {took_s:.0f} s")


@pytest.mark.slow
@pytest.mark.parametrize("state", ["refused", pytest.param("silent", marks=pytest.mark.promise)])
def test_sources_on_a_store_that_is_lost_in_the_middle_of_a_run(
    whole: tuple[Any, Path],
    tmp_path: Path,
    digests_of: Digests,
    line: Line,
    bucket: Any,
    state: str,
    record: Record,
) -> None:
    """No item is refused for it: the run stops, and goes on when the store is back."""
    from jobs.config import dump

    for path in whole[0].media.iterdir():
        bucket.put_file(str(path), f"runs/media/{path.name}")
    config = tmp_path / "s.toml"
    config.write_text(dump(whole[0].config(sources=["s3://runs/media"])))
    environment = remote_environment(line) | IMPATIENT
    outs = [tmp_path / "undisturbed", tmp_path / "run"]
    Command(str(outs[0]), config).finish(env=environment)
    command = Command(str(outs[1]), config)
    process = command.start(env=environment)
    await_file(outs[1], "videos.json", process)
    line.cut(state)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == AGAIN, said
    sentence = said.strip().splitlines()[-1]
    assert sentence.startswith("rushes: cannot fetch s3://runs/media/")
    assert "the store does not answer" in sentence
    assert "run the same command again when it does" in sentence
    line.cut("up")
    command.finish(env=environment)
    assert digests_of(outs[1]) == digests_of(outs[0])
    record(f"lost store of sources ({state})", "stopped with status 75; done again, 0 different")
