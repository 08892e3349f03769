"""Copies have bounds in bytes and time; a lost line is never a fault of the item, and an answer always is."""

from __future__ import annotations

import errno
import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.clip import VIDEOS
from pipeline.download import Watch
from pipeline.faults import in_words, is_lost
from pipeline.ingest import Hands, Ingest
from pipeline.patience import Patience
from pipeline.reasons import MediaError, Reason
from pipeline.sources import Fetcher, Sources, _lost, digest_of
from pipeline.store import Store, Unreachable

SHORT = Patience(silent_s=0.3, grace_s=0.6)
MIB = 1 << 20
BOMB = gzip.compress(bytes(16 * MIB))


class Server:
    """An HTTP server on loopback that behaves as the first part of a path says."""

    def __init__(self, media: Path) -> None:
        asked: list[str] = []
        down: set[str] = set()
        ended = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                asked.append(f"{self.command} {self.path}")
                kind, name = self.path[1:].split("/", 1)
                if kind in down:
                    self.close_connection = True
                    return
                getattr(self, f"do_{kind}")(name)

            def head(self, status: int = 200, **headers: object) -> bool:
                """Sends the head; is a body wanted?"""
                self.send_response(status)
                for title, value in headers.items():
                    self.send_header(title.replace("_", "-"), str(value))
                self.end_headers()
                return self.command == "GET"

            def do_file(self, name: str) -> None:
                data = (media / name).read_bytes()
                if self.head(Content_Length=len(data)):
                    self.wfile.write(data)

            def do_endless(self, name: str) -> None:
                if self.head(Transfer_Encoding="chunked"):
                    self.pour(1 << 30)

            def do_more(self, name: str) -> None:
                """More than was said when it was listed."""
                if self.command == "HEAD":
                    self.head(Content_Length=10)
                else:
                    self.head(Transfer_Encoding="chunked")
                    self.pour(1 << 30)

            def pour(self, most: int) -> None:
                sent = 0
                while sent < most and not self.close_connection:
                    try:
                        self.wfile.write(b"%x\r\n" % MIB + b"x" * MIB + b"\r\n")
                    except OSError:
                        self.close_connection = True
                    sent += MIB

            def do_bomb(self, name: str) -> None:
                body = BOMB
                if self.head(Content_Encoding="gzip", Content_Length=len(body)):
                    self.wfile.write(body)

            def do_silent(self, name: str) -> None:
                if self.head(Content_Length=1000):
                    self.wfile.write(b"x")
                    ended.wait(20)
                    self.close_connection = True

            def do_drip(self, name: str) -> None:
                """A byte now and then, so that it is never silent."""
                if self.head(Content_Length=1000):
                    while not ended.wait(0.05):
                        try:
                            self.wfile.write(b"x")
                        except OSError:
                            break
                    self.close_connection = True

            def do_broken(self, name: str) -> None:
                if self.head(Content_Length=1000):
                    self.wfile.write(b"x")
                    self.close_connection = True

            def do_status(self, name: str) -> None:
                self.head(int(name.split(".")[0]), Content_Length=0)

            def do_later(self, name: str) -> None:
                """There when it is listed, and not when it is fetched."""
                self.head(200 if self.command == "HEAD" else int(name.split(".")[0]), Content_Length=3)
                if self.command == "GET":
                    self.wfile.write(b"xxx")

            def do_away(self, name: str) -> None:
                self.head(302, Location=elsewhere[0], Content_Length=0)

            do_GET = do_HEAD = answer

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on the terminal."""

        elsewhere = ["http://127.0.0.1:1/"]
        self.asked, self.down, self.ended, self.elsewhere = asked, down, ended, elsewhere
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "stored").mkdir()
    made = Server(tmp_path / "stored")
    yield made
    made.ended.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    made = Fetcher(max_bytes=32 * MIB, unlisted_bytes=8 * MIB, patience=SHORT)
    yield made
    made.close()


def refused(fetcher: Fetcher, url: str) -> MediaError:
    with pytest.raises(MediaError) as raised:
        fetcher.local(url)
    assert fetcher._folder is not None
    assert list(fetcher._folder.iterdir()) == []
    return raised.value


@pytest.mark.parametrize("kind", ["endless", "more"])
def test_a_body_without_an_end_is_too_large(server: Server, fetcher: Fetcher, kind: str) -> None:
    assert refused(fetcher, f"{server.url}/{kind}/a.mp4").reason is Reason.TOO_LARGE


def test_a_compressed_body_is_kept_as_it_came(server: Server, fetcher: Fetcher) -> None:
    assert os.path.getsize(fetcher.local(f"{server.url}/bomb/a.mp4")) == len(BOMB) < MIB


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["silent", "drip", "broken"])
def test_a_server_that_answers_twice_and_does_not_deliver_is_the_items_fault(
    server: Server, fetcher: Fetcher, kind: str
) -> None:
    began_s = time.monotonic()
    found = refused(fetcher, f"{server.url}/{kind}/a.mp4")
    assert found.reason is Reason.UNREADABLE
    assert found.message.endswith("its server answered twice, and fell silent or broke off")
    assert time.monotonic() - began_s < 5
    assert [line for line in server.asked if line.startswith("GET")] == [f"GET /{kind}/a.mp4"] * 2


def test_a_server_that_is_gone_at_the_second_attempt_is_lost(server: Server, fetcher: Fetcher) -> None:
    def leave() -> None:
        while not any(line.startswith("GET") for line in server.asked):
            time.sleep(0.01)
        server.down.add("silent")

    leaving = threading.Thread(target=leave)
    leaving.start()
    with pytest.raises(
        Unreachable, match=r"^cannot fetch http://.*/silent/a.mp4: the store does not answer \(.+\)"
    ):
        fetcher.local(f"{server.url}/silent/a.mp4")
    leaving.join()


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, Reason.NOT_FOUND), (410, Reason.NOT_FOUND), (403, Reason.UNREADABLE), (401, Reason.UNREADABLE)],
)
def test_an_answer_about_the_item_is_its_own_fault(server: Server, status: int, reason: Reason) -> None:
    (item,) = listed(server, f"status/{status}.mp4")
    assert item.refused is not None
    assert item.refused[0] is reason


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_an_answer_about_the_server_is_not(server: Server, status: int) -> None:
    with pytest.raises(
        Unreachable, match=rf"^cannot list .*\({status} .*run the same command again when it does$"
    ):
        listed(server, f"status/{status}.mp4")


def test_an_answer_counts_when_it_is_fetched_as_when_it_is_listed(server: Server, fetcher: Fetcher) -> None:
    for status, reason in ((404, Reason.NOT_FOUND), (403, Reason.UNREADABLE)):
        assert refused(fetcher, f"{server.url}/later/{status}.mp4").reason is reason
    with pytest.raises(Unreachable, match=r"^cannot fetch .*\(503 Service Unavailable\)"):
        fetcher.local(f"{server.url}/later/503.mp4")


def test_what_no_disk_could_hold_is_too_large(fetcher: Fetcher) -> None:
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class Boastful(MemoryFileSystem):  # type: ignore[misc]
        protocol = "boastful"

        def info(self, path: str, **options: Any) -> dict[str, Any]:
            return {"name": path, "size": 1 << 62, "type": "file"}

    fsspec.register_implementation("boastful", Boastful, clobber=True)
    found = refused(fetcher, "boastful://a/x.mp4")
    assert (found.reason, "more than the disk" in found.message) == (Reason.TOO_LARGE, True)


def test_nobody_at_the_address_is_no_missing_file() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
    with pytest.raises(Unreachable, match="cannot list"):
        Sources((f"http://127.0.0.1:{number}/a.mp4",)).list()


def listed(server: Server, name: str) -> list[Any]:
    return Sources((f"{server.url}/{name}",)).list()


def test_a_redirect_is_not_followed(server: Server, fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    other = Server(tmp_path / "else")
    server.elsewhere[0] = f"{other.url}/file/stolen.mp4?token=SECRET"
    (item,) = listed(server, "away/a.mp4")
    assert item.refused == (
        Reason.UNREADABLE,
        "its storage refused it: 302 it sends to another address, at 127.0.0.1: redirects are not followed, name that "
        "one",
    )
    assert refused(fetcher, f"{server.url}/away/a.mp4").reason is Reason.UNREADABLE
    manifest = tmp_path / "stored" / "list.jsonl"
    manifest.write_text(json.dumps({"path": f"{server.url}/away/b.mp4"}))
    for source in (str(manifest), f"{server.url}/file/list.jsonl"):
        (item,) = Sources((source,), roots=(server.url,)).list()
        assert item.refused is not None
        assert item.refused[0] is Reason.UNREADABLE
    assert other.asked == []
    other.server.shutdown()
    other.server.server_close()


def test_a_lost_server_commits_nothing_and_the_rest_is_as_if_it_had_never_been(
    server: Server, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    make_video(tmp_path / "stored" / "a.mp4", frames=4, fps=24)
    make_video(tmp_path / "stored" / "b.mp4", frames=6, fps=24)
    sources = Sources(tuple(f"{server.url}/file/{name}.mp4" for name in "ab"))
    items = sources.list()
    server.down.add("file")
    task = Ingest(Store(str(tmp_path / "run")))
    with pytest.raises(Unreachable):
        worked(task, items)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").rglob("*.parquet"))
    server.down.clear()
    other = Ingest(Store(str(tmp_path / "undisturbed")))
    for one in (task, other):
        assert [row["status"] for row in worked(one, items)] == ["used", "used"]
    files = [sorted(path.rglob("*.parquet")) for path in (tmp_path / "run", tmp_path / "undisturbed")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


def worked(task: Ingest, items: list[Any]) -> list[dict[str, Any]]:
    hands = Hands(task.open().decoder, Fetcher(patience=SHORT))
    rows: list[dict[str, Any]] = []
    try:
        for unit in task.units(items):
            list(task.run(hands, unit, {}))
            entry = task.store.entry(task.step, unit.name)
            assert entry is not None
            rows += task.store.tables(entry.outputs, VIDEOS).to_pylist()
    finally:
        hands.close()
    return rows


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTUNREACH])
def test_a_disk_that_is_gone_is_lost_and_a_file_that_is_gone_is_not(number: int) -> None:
    assert is_lost(OSError(number, "gone"))
    assert not is_lost(PermissionError(errno.EACCES, "no"))
    assert not is_lost(FileNotFoundError(errno.ENOENT, "no"))
    assert in_words(TimeoutError()) == "nothing came for too long"
    assert in_words(OSError()) == "OSError"


def test_a_local_disk_that_is_gone_stops_what_a_missing_permission_does_not() -> None:
    with pytest.raises(Unreachable, match=r"^cannot read /a: its disk does not answer \(Stale file handle\)"):
        _lost("/a", OSError(errno.ESTALE, "Stale file handle"))
    assert _lost("/a", PermissionError(errno.EACCES, "no")).reason is Reason.UNREADABLE
    assert _lost("/a", FileNotFoundError(errno.ENOENT, "no")).reason is Reason.NOT_FOUND


def test_a_copy_that_is_too_slow_ends() -> None:
    watch = Watch(100, Patience(grace_s=0.0, slowest_bytes_s=1e9))
    time.sleep(0.01)
    with pytest.raises(TimeoutError, match="1 bytes came in"):
        watch.relative_update(1)


def test_a_file_that_is_read_too_slowly_is_its_disks_fault(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(3 * MIB))
    with pytest.raises(Unreachable, match="read too slowly"):
        digest_of(str(tmp_path / "a"), Patience(grace_s=0.0, slowest_bytes_s=1e15))


# --- holes


def sparse(path: Path, size: int, written: int) -> Path:
    with path.open("wb") as file:
        file.write(b"x" * written)
        file.truncate(size)
    if path.stat().st_blocks * 512 > size // 2:
        pytest.skip("no holes on this filesystem")
    return path


def test_a_file_of_holes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = sparse(tmp_path / "a", 1 << 40, 4096)
    began_s = time.monotonic()
    with pytest.raises(MediaError) as raised:
        digest_of(str(path))
    assert raised.value.reason is Reason.TRUNCATED
    assert raised.value.message == "only 4096 of its 1099511627776 bytes were ever written"
    assert time.monotonic() - began_s < 1


def test_some_holes_are_none_of_our_business(tmp_path: Path) -> None:
    assert digest_of(str(sparse(tmp_path / "a", 64 * MIB, 4096)))[1] == 64 * MIB
