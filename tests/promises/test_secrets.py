"""What is secret stays out of everything a run writes or says: keys and tokens of the environment and of URLs."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.config import dump

ROOT = Path(__file__).parents[2]
CANARY = "c4n4ryc4n4ry"
"""In every secret of these tests and nowhere else."""
SECRETS = {
    "AWS_ACCESS_KEY_ID": f"AKIA{CANARY}1",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}2",
    "AWS_SESSION_TOKEN": f"{CANARY}3",
    "HF_TOKEN": f"hf_{CANARY}4",
    "HF_HUB_OFFLINE": "1",
    "RAY_AUTH_TOKEN": f"{CANARY}5{CANARY}",
    "PIP_INDEX_URL": f"https://user:{CANARY}6@127.0.0.1:9/simple",
    "FSSPEC_S3_SECRET": f"{CANARY}7",
    "DATABASE_PASSWORD": f"{CANARY}8",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}


def rushes(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """The command with every secret in its environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "AWS_"))}
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", *arguments],
        cwd=ROOT,
        env=environment | SECRETS | changes,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def leaks(*folders: Path, texts: Mapping[str, str] | None = None) -> list[str]:
    """Where the canary shows: in the bytes of files, in their names, in decoded Parquet cells, and in texts."""
    found = [name for name, text in (texts or {}).items() if CANARY in text]
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if CANARY in path.name:
                found.append(f"the name of {path}")
            if not path.is_file():
                continue
            data = path.read_bytes()
            if CANARY.encode() in data:
                found.append(str(path))
            elif (
                path.suffix == ".parquet" and data
            ):  # compressed: what was written shows only when it is read
                table = pq.read_table(path)
                plain = table.drop_columns([n for n in ("media", "frame") if n in table.column_names])
                if CANARY in str(plain.to_pydict()) + str(table.schema.metadata):
                    found.append(f"{path}, decoded")
    return found


def said(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {"stdout": done.stdout, "stderr": done.stderr}


def refused(done: subprocess.CompletedProcess[str], status: int, sentence: str) -> None:
    """One sentence on stderr with this status, nothing secret in it, no traceback."""
    assert done.returncode == status, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert leaks(texts=said(done)) == []


@pytest.fixture
def settings(small: Any, tmp_path: Path) -> Path:
    (tmp_path / "s.toml").write_text(dump(small.config()))
    return tmp_path / "s.toml"


def test_the_search_finds_what_leaks(tmp_path: Path) -> None:
    """Without this, a clean result would prove nothing."""
    import pyarrow as pa

    secret = SECRETS["AWS_SECRET_ACCESS_KEY"]
    (tmp_path / "run.toml").write_text(f'sources = ["s3://k:{secret}@bucket"]')
    pq.write_table(pa.table({"message": [secret * 50] * 50}), tmp_path / "part.parquet", compression="zstd")
    (tmp_path / secret).touch()
    assert len(leaks(tmp_path, texts={"stderr": secret})) == 4


@pytest.mark.slow
def test_a_run_writes_and_says_nothing_of_its_environment(
    settings: Path, tmp_path: Path, record: Callable[[str, str], None]
) -> None:
    """Every table, the ledger, run.toml, the shards and the report; with a file that fails among the sources."""
    done = rushes("run", "--config", str(settings), "--out", str(tmp_path / "run"), "--workers", "0")
    assert done.returncode == 0, done.stderr
    looked = [rushes(command, str(tmp_path / "run")) for command in ("verify", "report")]
    looked.append(rushes("report", str(tmp_path / "run"), "--json"))
    texts = {
        f"{number} {name}": text
        for number, one in enumerate([done, *looked])
        for name, text in said(one).items()
    }
    assert [one.returncode for one in looked] == [0, 0, 0]
    assert leaks(tmp_path / "run", texts=texts) == []
    files = sum(path.is_file() for path in (tmp_path / "run").rglob("*"))
    record(
        "no secrets", f"{len(SECRETS) - 3} secrets in the environment, 0 in {files} files and what was said"
    )


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_rays_own_token_is_in_no_file_and_no_command_line(settings: Path, tmp_path: Path) -> None:
    """A token of the environment and one that rushes makes; Ray's logs and the processes' arguments included."""
    probe = (
        "import os, pathlib, psutil, stat, sys\n"
        "from pipeline import cluster\n"
        "ray = cluster.connect(None, 1)\n"
        "path = os.environ.get('RAY_AUTH_TOKEN_PATH')\n"
        "token = pathlib.Path(path).read_text() if path else os.environ['RAY_AUTH_TOKEN']\n"
        "family = psutil.Process().children(recursive=True)\n"
        "lines = [' '.join(one.cmdline()) for one in family]\n"
        "logs = pathlib.Path(ray._private.worker._global_node.get_session_dir_path())\n"
        "held = [str(f) for f in logs.rglob('*') if f.is_file() and token.encode() in f.read_bytes()]\n"
        "mode = stat.S_IMODE(os.stat(path).st_mode) if path else 0o600\n"
        "print(len(family) > 2, len(token) >= 24, held, any(token in l for l in lines), oct(mode), path)\n"
        "cluster.disconnect()\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    for given in ({}, {"RAY_AUTH_TOKEN": SECRETS["RAY_AUTH_TOKEN"]}):
        done = subprocess.run(
            [sys.executable, "-c", probe], cwd=ROOT, env=environment | given,
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        *facts, path = done.stdout.split()
        assert " ".join(facts) == "True True [] False 0o600"
        assert (path == "None") == bool(given)
        assert path == "None" or not Path(path).exists()


# --- URLs

KEYED = (
    f"s3://AKIA:{CANARY}@bucket/films",
    f"s3://AKIA:{CANARY}/{CANARY}@bucket/films",
    f"https://user:{CANARY}@example.com/a.mp4",
    f"https://example.com/a.mp4?X-Amz-Signature={CANARY}",
    f"simplecache::https://user:{CANARY}@example.com/a.mp4",
    f"https://user:pa'ss\" {CANARY}@example.com/a.mp4",
    f"s3://KEY:se@{CANARY}@bucket/films",
    f"https://example.com/a.mp4?X%2DAmz-Signature={CANARY}",
    f"https://example.com/a.mp4?key={CANARY} {CANARY}",
    f"https://example.com/a.mp4#access_token={CANARY}",
)


@pytest.mark.parametrize("url", KEYED)
def test_a_url_with_a_key_in_it_is_refused_wherever_it_is_given(url: str, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from jobs.cli import cli

    (tmp_path / "s.toml").write_text(f"sources = [{json.dumps(url)}]\n")
    (tmp_path / "wrong.toml").write_text(f"sources = {json.dumps(url)}\n")
    out = ["--out", str(tmp_path / "run")]
    for arguments in (
        ["run", url, *out],
        ["ingest", url, *out],
        ["run", str(tmp_path), "--root", url, *out],
        ["run", "--config", str(tmp_path / "s.toml"), *out],
        ["run", "--config", str(tmp_path / "wrong.toml"), *out],
        ["run", str(tmp_path), "--set", f"ingest.roots=[{json.dumps(url)}]", *out],
        ["run", str(tmp_path), "--set", f"stage.text.model={url}", *out],
        ["run", str(tmp_path), "--set", url, *out],
        ["run", str(tmp_path), "--recipe", url, *out],
        ["run", str(tmp_path), f"--recipe={url}", *out],
        ["dedup", str(tmp_path), "--against", url],
        ["whatif", str(tmp_path), "--recipe", url],
        ["whatif", str(tmp_path), "--recipe", "256p", "--against", url],
        ["tune", str(tmp_path), "--recipe", "256p", "--labels", url],
        ["explain", str(tmp_path), url],
        ["weights", "list", "--into", url],
        ["weights", "list", "--catalogue", url],
        ["doctor", "--out", url],
        ["run", str(tmp_path), "--ray", url, *out],
        ["run", str(tmp_path), "--out", url],
        ["retry", url],
        ["verify", url],
        ["report", url],
        ["whatif", url, "--recipe", "256p"],
    ):
        done = CliRunner().invoke(cli, arguments)
        assert done.exit_code == 2, (arguments, done.output, done.exception)
        assert CANARY not in done.output
        assert "carries credentials" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.toml", "wrong.toml"]


@pytest.mark.parametrize("address", [f"user:{CANARY}@127.0.0.1:1", f"ray://user:{CANARY}@127.0.0.1:1"])
def test_a_key_in_the_address_of_a_cluster_is_not_repeated(address: str, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from jobs.cli import cli

    arguments = ["run", str(tmp_path), "--out", str(tmp_path / "run")]
    for more, environment in ((["--ray", address], {}), ([], {"RAY_ADDRESS": address})):
        done = CliRunner().invoke(cli, [*arguments, *more], env=environment)
        assert done.exit_code == 2
        assert CANARY not in done.output
        assert "--ray" in done.output


def test_what_is_given_in_place_of_a_value_is_not_repeated() -> None:
    from jobs.config import ConfigError, parse

    with pytest.raises(ConfigError, match=r"captioner: .* \(got a dict\)$"):
        parse({"captioner": {"api_key": CANARY}}, "s.toml")


def test_a_row_of_a_manifest_with_a_key_in_it_is_refused_unrepeated(small: Any, tmp_path: Path) -> None:
    """Its neighbours are used; where it stood is told by its number."""
    manifest = small.media / "list.jsonl"
    rows = [{"path": "a.mp4"}, *({"path": url} for url in KEYED)]
    manifest.write_text("\n".join(map(json.dumps, rows)))
    run = small.run(tmp_path / "run", sources=[str(manifest)])
    run.ingest()
    found = run.videos.select(["path", "status", "reason", "message"]).to_pylist()
    assert [row["status"] for row in found].count("used") == 1
    refusals = [row for row in found if row["status"] == "refused"]
    assert {row["reason"] for row in refusals} == {"bad_row"}
    assert {row["path"] for row in refusals} == {
        f"{manifest}#{number}" for number in range(2, 2 + len(KEYED))
    }
    assert len(refusals) == len(KEYED)
    assert all("carries credentials" in row["message"] for row in refusals)
    assert leaks(tmp_path / "run") == []


# --- what servers say


class Hostile(http.server.BaseHTTPRequestHandler):
    """An S3 and HTTP server that refuses everybody and repeats what it was sent: in bodies and in redirects."""

    def do_GET(self) -> None:
        if self.path.startswith("/redirect") and self.command == "HEAD":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            return
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", f"/signed.mp4?X-Amz-Signature={CANARY}&X-Amz-Credential={CANARY}")
            self.end_headers()
            return
        about = self.headers.get("Authorization", "") + self.headers.get("X-Amz-Security-Token", "")
        body = (
            "<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code><Message>no</Message>"
            f"<StringToSign>{about}{CANARY}</StringToSign></Error>"
        ).encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_PUT = do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def serving() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.mark.slow
def test_refused_keys_are_not_repeated(settings: Path, tmp_path: Path) -> None:
    """Sources and a run on a store that refuses the keys, and media behind a redirect to a signed URL."""
    out = str(tmp_path / "run")
    with serving() as endpoint:
        refused(
            rushes("run", "s3://bucket/films", "--out", out, AWS_ENDPOINT_URL=endpoint),
            2,
            "cannot list s3://",
        )
        at = ("run", "--config", str(settings), "--out", "s3://bucket/run")
        refused(rushes(*at, AWS_ENDPOINT_URL=endpoint), 75, "s3://bucket/run")
        done = rushes("ingest", f"{endpoint}/redirect.mp4", "--out", out, "--workers", "0")
        refused(done, 3, "redirects are not followed")
    assert leaks(tmp_path / "run") == []


def test_a_weight_that_cannot_be_fetched_says_nothing_of_the_index(tmp_path: Path) -> None:
    """pip's own words end in the sentence."""
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text(
        f'["a.b"]\nfile = "b"\nsize = 1\nsha256 = "{"0" * 64}"\nlicence = "MIT"\nrole = "x"\n'
        'places = [{ index = "no-such-project-of-ours", version = "1.0", member = "m" }]\n'
    )
    into = str(tmp_path / "into")
    done = rushes(
        "weights", "get", "a.b", "--catalogue", str(catalogue), "--into", into,
        PIP_RETRIES="0", PIP_TIMEOUT="1", PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="",
    )  # fmt: skip
    refused(done, 2, "could not be fetched")
    shutil.rmtree(into)
