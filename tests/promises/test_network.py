"""Nothing calls out: no media, no manifest and no part of a run; manifests stay within their roots."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks.hostile import corpus
from benchmarks.hostile.outside import UNABLE
from pipeline.decoders.pyav import open_media
from pipeline.frames import Decoder, Limits
from pipeline.ingest import Hands, Ingest
from pipeline.reasons import MediaError
from pipeline.sources import Fetcher, Item, Sources
from pipeline.store import Store


class Canary:
    """A server on loopback that remembers what it was asked."""

    def __init__(self) -> None:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                asked.append(f"{self.command} {self.path}")
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(b"data")

            do_GET = do_HEAD = answer

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on the terminal."""

        self.asked = asked
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def canary() -> Iterator[Canary]:
    made = Canary()
    yield made
    made.server.shutdown()
    made.server.server_close()


def luring(url: str) -> list[corpus.Entry]:
    """What would fetch or read something else, if anything in a file could make a program do that."""
    return [*corpus.texts(url, "/etc/passwd"), *corpus.wrong_streams(url)]


def test_no_file_makes_a_demuxer_reach_out(canary: Canary, tmp_path: Path) -> None:
    """Here, where there is a network, and not in the decoding process, which has none."""
    entries = corpus.write(tmp_path, luring(canary.url))
    opened = []
    for entry in entries:
        try:
            with closing(open_media(str(tmp_path / entry.name), Limits())) as container:
                packets = sum(1 for _ in container.demux())
                opened.append((entry.name, packets))
        except (MediaError, OSError, ValueError):
            continue
    assert len(opened) >= 5  # they are media of other kinds, whose samples lie in the files themselves
    assert not {name for name, _ in opened} & {
        e.name for e in corpus.texts(canary.url, "") if e.ends == corpus.TEXT
    }
    assert canary.asked == []


# --- manifests


class Unasked(Decoder):
    """A decoder that no file may come to."""

    def probe(self, path: str) -> dict[str, Any]:
        raise AssertionError(f"{path!r} came to the decoder")


def listed(folder: Path, rows: Sequence[str], roots: tuple[str, ...] = ()) -> list[Item]:
    manifest = folder / "list.jsonl"
    manifest.write_text("\n".join(json.dumps({"path": row}) for row in rows))
    return Sources((str(manifest),), roots).list()


def lures(url: str, folder: Path) -> list[str]:
    """Paths that are none of a file within the folder."""
    host = url.removeprefix("http://")
    secret = folder.parent / "secret.mp4"
    secret.write_bytes(b"secret")
    (folder / "link.mp4").symlink_to(secret)
    (folder / "up").symlink_to(folder.parent)
    (folder / "process").symlink_to("/proc/self")
    return [
        f"{url}/a.mp4", f"HTTP://{host}/a.mp4", f"https://{host}/a.mp4", f"async:{url}/a.mp4", f"cache:{url}/a.mp4",
        f"concat:{url}/a.mp4|{url}/b.mp4", f"concatf:{url}/list", f"crypto:{url}/a.mp4", f"hls+{url}/a.m3u8",
        f"httpproxy:{url}/a.mp4", f"tcp://{host}", f"udp://{host}", f"rtmp://{host}/a", f"rtsp://{host}/a",
        f"ftp://{host}/a", f"sftp://{host}/a", f"gopher://{host}/a", f"tls://{host}", f"srt://{host}",
        f"tee:{url}/a", f"simplecache::{url}/a.mp4", f"filecache::{url}/a.mp4", f"zip://a.mp4::{url}/a.zip",
        f"reference://::{url}/a.json", f"github://a:b@/{url}", f"webhdfs://{host}/a", f"smb://{host}/a",
        "subfile,,start,0,end,9,,:/etc/passwd", "data:video/mp4;base64,AAAA", "pipe:0", "fd:0",
        "-", "-i", "--out=/tmp/x",
        "memory://a.mp4", "s3://bucket/a.mp4", "gs://bucket/a.mp4", "unix:/run/x", "ipfsgateway:a", "android_content:a",
        str(secret), f"file://{secret}", f"FILE://{secret}", f"local://{secret}", f"file://local://{secret}",
        f"local://file://{secret}", f"file:{secret}", "../secret.mp4", "x/../../secret.mp4", "./../secret.mp4",
        "link.mp4", "up/secret.mp4", "up", "/etc/passwd", "/proc/self/environ", "/proc/self/fd/0", "process/environ",
        "/dev/stdin", "/dev/fd/0", "/dev/zero", "~/secret.mp4", "$HOME/secret.mp4", "..\\secret.mp4", "C:\\secret.mp4",
        "\\\\host\\share\\a.mp4", "a\0.mp4", "../secret.mp4\0", "new\nline.mp4", "\n", "", " ", ".", "..", "/",
        "a" * 5000,
        "\ud800.mp4", "%2e%2e/secret.mp4", "..%2fsecret.mp4", "*.mp4", "../*.mp4", "list.jsonl/../../secret.mp4",
    ]  # fmt: skip


def test_a_manifest_stays_within_its_folder(canary: Canary, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    rows = lures(canary.url, folder)
    items = listed(folder, rows)
    assert len(items) >= len(set(rows)) - 15  # some are one path in several spellings
    hands = Hands(Unasked(), Fetcher())
    task = Ingest(Store(str(tmp_path / "run")))
    try:
        ends = [task.row(hands, item, 0) for item in items]
    finally:
        hands.close()
    assert {row["status"] for row in ends} == {"refused"}
    assert {row["reason"] for row in ends} == {
        "outside_root",
        "bad_row",
        "not_found",
        "unreadable",
        "not_a_file",
    }
    assert canary.asked == []


@pytest.mark.parametrize(
    "rest",
    [
        "data/../x.mp4", "data/%2e%2e/x.mp4", "data/.%2e/x.mp4", "data/%2E./x.mp4", "data/%252e%252e/x.mp4",
        "data/..%2fx.mp4", "data/..\\x.mp4", "data/..%5cx.mp4", "data/..;/x.mp4", "data/\t../x.mp4", "data/.\n./x.mp4",
        "database/x.mp4", "data", "x.mp4", "data@other/x.mp4", "data/a.zip::memory://x", "data/?a=/../x", "data/#/../x",
        "data/%25252525252e/x.mp4",
    ],
)  # fmt: skip
def test_a_manifest_stays_within_the_url_of_a_root(canary: Canary, tmp_path: Path, rest: str) -> None:
    (item,) = listed(tmp_path, [f"{canary.url}/{rest}"], (f"{canary.url}/data",))
    assert item.refused is not None
    assert item.refused[0] == "outside_root"
    assert canary.asked == []


def test_a_manifest_may_use_what_a_root_allows(canary: Canary, tmp_path: Path) -> None:
    """So the canary would have heard the others."""
    (item,) = listed(tmp_path, [f"{canary.url}/data/a%20b.mp4"], (f"{canary.url}/data",))
    assert (item.refused, item.bytes) == (None, 4)
    assert {line.split()[1] for line in canary.asked} == {"/data/a%20b.mp4"}


# --- whole commands, in a namespace whose only way out is a canary


def outside(command: Sequence[str]) -> dict[str, Any]:
    """What the command sent out (benchmarks.hostile.outside); skips the test where there can be no namespace."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return outside_at(port, command)


def outside_at(port: int, command: Sequence[str]) -> dict[str, Any]:
    watched = [sys.executable, "-m", "benchmarks.hostile.outside", str(port), *command]
    done = subprocess.run(watched, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    if done.returncode == UNABLE:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


RUSHES = (sys.executable, "-c", "from jobs.cli import main; main()")
REACHING = """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 4321))
door = socket.socket()
door.settimeout(0.3)
try:
    door.connect(("192.0.2.2", 80))
except TimeoutError:
    pass
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"?" * 30, ("127.0.0.53", 53))
"""


@pytest.mark.slow
def test_the_canary_hears_whatever_reaches_out() -> None:
    heard = outside([sys.executable, "-c", REACHING])
    assert {"udp 192.0.2.1:4321", "tcp 192.0.2.2:80"} <= set(heard["packets"])
    assert len(heard["requests"]) == 1


@pytest.mark.slow
def test_ingest_calls_nobody(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    port = 18_080  # the namespace is its own: every port is free
    corpus.write(media, [*corpus.good(), *luring(f"http://127.0.0.1:{port}")])
    out = str(tmp_path / "run")
    heard = outside_at(
        port, [*RUSHES, "ingest", "--out", out, "--workers", "0", str(media), str(media / "list.jsonl")]
    )
    assert heard == {"status": 3, "packets": [], "requests": []}


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_the_process_that_asks_the_cloud_does_not_start(ray_here: None) -> None:
    """Ray's dashboard asks 169.254.169.254 which cloud it is in, without a dashboard and without reports too."""
    import ray

    started = ray._private.worker._global_node.all_processes
    assert {"gcs_server", "raylet"} <= set(started)
    assert "dashboard" not in started


@pytest.mark.promise
@pytest.mark.timeout(900)
def test_a_whole_run_calls_nobody(tmp_path: Path, record: Callable[[str, str], None]) -> None:
    """Every default stage with its models, on two Ray workers, over files that would reach out if they could."""
    media = tmp_path / "media"
    media.mkdir()
    port = 18_080
    entries = corpus.write(media, [*corpus.good(), *corpus.names(), *luring(f"http://127.0.0.1:{port}")])
    settings = tmp_path / "run.toml"
    sources = json.dumps([str(media), str(media / "list.jsonl")])
    settings.write_text(
        f'sources = {sources}\nprecision = "fp32"\nsegment = {{ min_clip_s = 0.7 }}\nmax_failed = {{ videos = 1000 }}\n'
    )
    command = ["run", "--config", str(settings), "--out", str(tmp_path / "run"), "--workers", "2"]
    heard = outside_at(port, [*RUSHES, *command])
    assert heard["packets"] == []
    assert heard["requests"] == []
    assert (tmp_path / "run" / "report.html").is_file()
    assert list((tmp_path / "run").glob("annotations/*/*.parquet"))
    record(
        "nothing calls out",
        f"0 packets and 0 requests by a whole run on two Ray workers over {len(entries)} files, in a namespace whose "
        "every way out is a canary",
    )
