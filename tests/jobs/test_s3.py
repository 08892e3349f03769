"""Sources and a run directory on an object store: a real S3-speaking server on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import chain
from jobs.config import dump
from pipeline.reasons import Reason
from pipeline.sources import Fetcher, Sources
from pipeline.store import StorageError, Store, Unreachable

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """An s3fs filesystem with a bucket of its own; the environment names the server, as a user's would."""
    import s3fs

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
            environment.setenv(name, value)
        try:
            await_answer(endpoint)
            s3fs.S3FileSystem.clear_instance_cache()
            fs = s3fs.S3FileSystem()
            fs.mkdir("media")
            yield fs
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            server.terminate()
            server.wait()


def await_answer(endpoint: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(endpoint, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture(scope="module")
def stored(s3: Any, _tiny_media: Path) -> str:
    for path in _tiny_media.iterdir():
        s3.put_file(str(path), f"media/all/{path.name}")
    rows = [{"path": "b.mp4", "title": "B"}, {"path": "none.mp4"}, {"path": "../../other/x.mp4"}]
    s3.pipe_file("media/all/list.jsonl", "\n".join(json.dumps(row) for row in rows).encode())
    return "s3://media/all"


def test_folders_patterns_files_and_manifests_on_s3(stored: str) -> None:
    def names(source: str) -> list[str]:
        return [item.path.rsplit("/", 1)[-1] for item in Sources((source,)).list()]

    everything = ["a.mp4", "b.mp4", "black.mp4", "c.png", "notes.mp4", "z-copy.mp4"]
    assert names(stored) == everything
    assert names(f"{stored}/b*.mp4") == ["b.mp4", "black.mp4"]
    assert names(f"{stored}/a.mp4") == ["a.mp4"]
    items = {item.path.rsplit("/", 1)[-1]: item for item in Sources((f"{stored}/list.jsonl",)).list()}
    assert items["b.mp4"].extra == {"title": "B"}
    assert items["b.mp4"].bytes > 1000
    refused = {name: item.refused[0] for name, item in items.items() if item.refused}
    assert refused == {"none.mp4": Reason.NOT_FOUND, "list.jsonl#3": Reason.OUTSIDE_ROOT}
    (missing,) = Sources(("s3://media/none.mp4",)).list()
    assert missing.refused is not None
    assert missing.refused[0] is Reason.NOT_FOUND


def test_a_copy_is_kept_while_it_is_needed_and_then_removed(stored: str) -> None:
    fetcher = Fetcher(limit_bytes=1)
    first = Path(fetcher.local(f"{stored}/a.mp4"))
    assert fetcher.local(f"{stored}/a.mp4") == str(first)
    second = Path(fetcher.local(f"{stored}/b.mp4"))
    assert not first.exists()
    assert second.exists()
    fetcher.close()
    assert not second.parent.exists()


@pytest.mark.slow
def test_media_on_s3_and_the_run_on_s3(
    stored: str, s3: Any, small: Any, tmp_path: Path, digests_of: Callable[[Path], dict[str, str]]
) -> None:
    """The same files as a local run of the same sources; killed in between and done again."""
    local = small.run(tmp_path / "local", sources=[stored])
    assert chain.everything(local) == 0
    remote = small.run(tmp_path / "unused", store=Store("s3://media/run"), sources=[stored])
    for step in ("ingest", "segment", "annotate"):
        chain.do(remote, step)
    again = small.run(tmp_path / "unused", store=Store("s3://media/run"), sources=[stored])
    assert chain.everything(again) == 0
    assert "scan" not in again.did
    s3.get("media/run", str(tmp_path / "remote"), recursive=True)
    assert digests_of(tmp_path / "remote") == digests_of(tmp_path / "local")
    third = small.run(tmp_path / "unused", store=Store("s3://media/run"), sources=[stored])
    assert chain.everything(third) == 0
    assert not third.did
    third.store.put_text("run.toml", dump(third.config))
    assert chain.verify("s3://media/run", deep=False) == []


def test_a_store_that_does_not_answer_is_one_sentence(s3: Any) -> None:
    import s3fs

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        environment.setenv("AWS_MAX_ATTEMPTS", "1")
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(Unreachable, match="cannot list s3://media"):
            Sources(("s3://media/all",)).list()
        with pytest.raises(Unreachable, match=r"^cannot write x in run s3://media/run: "):
            Store("s3://media/run").put("x", b"1", 1)
        with pytest.raises(Unreachable, match=r"^cannot read x in run s3://media/run: "):
            Store("s3://media/run").size("x")
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_bucket_that_is_not_there_is_one_sentence(s3: Any) -> None:
    with pytest.raises(StorageError, match="s3://nowhere/run"):
        Store("s3://nowhere/run").put("x", b"1", 1)
