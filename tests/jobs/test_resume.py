"""A run that was disturbed, then done again, has the bytes of one that was not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from jobs import chain
from jobs.config import dump
from pipeline.runner import Pool
from pipeline.store import SCRATCH, TEMPORARY, Busy, Files, LocalFiles, Store

Digests = Callable[[Path], dict[str, str]]


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it, and nothing is written after it."""


@dataclass(frozen=True)
class DyingFiles(LocalFiles):
    """A disk of a process that is killed at one of its commits: before, in the middle, or after it."""

    left: list[int] = field(default_factory=list)
    moment: str = "after"

    def create(self, path: str, data: bytes) -> None:
        self._commit(path, data, super().create)

    def replace(self, path: str, data: bytes) -> None:
        self._commit(path, data, super().replace)

    def _commit(self, path: str, data: bytes, write: Callable[[str, bytes], None]) -> None:
        if path.startswith("timings/"):
            return
        self.left[0] -= 1
        if self.left[0] < 0:
            raise Killed
        if self.left[0] == 0 and self.moment != "after":
            if self.moment == "torn":
                scratch = self.root / SCRATCH
                scratch.mkdir(parents=True, exist_ok=True)
                (scratch / f"{TEMPORARY}torn").write_bytes(data[: len(data) // 2])
            raise Killed
        write(path, data)
        if self.left[0] == 0:
            raise Killed


@dataclass(frozen=True)
class DyingStore(Store):
    left: list[int] = field(default_factory=list)
    moment: str = "after"

    @property
    def files(self) -> Files:
        return DyingFiles(Path(self.root), left=self.left, moment=self.moment)


def die(small: Any, out: Path, commits: int, moment: str) -> bool:
    """Runs the chain with a disk that dies at the n-th commit; did it?"""
    run = small.run(out, store=DyingStore(str(out), [commits], moment))
    try:
        with run.store.locked():
            chain.everything(run)
    except Killed:
        return True
    return False


@pytest.mark.parametrize(
    ("commits", "moment"),
    [
        pytest.param(7, "after", marks=pytest.mark.slow),
        pytest.param(6, "torn", marks=pytest.mark.slow),
    ],
)
def test_killed_at_commits_one_after_the_other(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests, commits: int, moment: str
) -> None:
    """Each attempt dies some commits after the one before began, until nothing is left to do."""
    small, reference = whole
    out = tmp_path / "run"
    attempts = 0
    while die(small, out, commits, moment):
        attempts += 1
    assert attempts >= 28 // commits
    small.done(out)
    assert digests_of(out) == digests_of(reference)
    assert list((out / SCRATCH).iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("moment", ["after", "torn"])
def test_killed_at_every_commit(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests, moment: str
) -> None:
    """One death at each commit of the chain in turn, then the same command: always the same files."""
    small, reference = whole
    wanted = digests_of(reference)
    commit = 0
    while True:
        commit += 1
        out = tmp_path / str(commit)
        died = die(small, out, commit, moment)
        small.done(out)
        assert digests_of(out) == wanted, f"killed at commit {commit}"
        shutil.rmtree(out)
        if not died:
            break
    assert commit > 28


def test_done_again_there_is_nothing_to_do(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests
) -> None:
    small, reference = whole
    shutil.copytree(reference, tmp_path / "run")
    run = small.done(tmp_path / "run")
    assert not run.did
    assert "everything was done already; nothing changed" in small.said[-1].getvalue()
    assert digests_of(tmp_path / "run") == digests_of(reference)


CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "a stage": (
        {"stage": {"black": {"black_luma": 0.12}}},
        {"annotate", "shard tiny"},  # the verdict does not change: the stage's values are the same
    ),
    "a stage that others' values depend on": (
        {"stage": {"black": {"black_luma": 1.0}}},
        {"annotate", "verdicts/tiny", "shard tiny"},
    ),
    "segment": (
        {"segment": {"min_clip_s": 0.8, "max_clip_s": 3.0}},
        {"shots", "annotate", "shard tiny"},
    ),
    "dedup": ({"dedup": {"max_bits": 7}}, {"dedup", "verdicts/tiny"}),
    "encoding": (
        {"shard": {"pools": ["tiny"], "rows": 2, "preset": "ultrafast", "crf": 30}},
        {"shard tiny"},
    ),
    "seed": ({"seed": 5}, set()),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_setting_recomputes_what_depends_on_it(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests, what: str
) -> None:
    small, reference = whole
    changes, steps = CHANGES[what]
    shutil.copytree(reference, tmp_path / "run")
    run = small.done(tmp_path / "run", **changes)
    assert set(run.did) == steps


def test_another_threshold_touches_no_media(whole: tuple[Any, Path], tmp_path: Path) -> None:
    small, reference = whole
    shutil.copytree(reference, tmp_path / "run")
    stricter = tmp_path / "tiny.toml"
    stricter.write_text(small.recipe.read_text().replace("0.5", "0.25"))
    run = small.run(tmp_path / "run", recipes=[str(stricter)], sources=[str(tmp_path / "gone")])
    chain.do(run, "select")
    assert set(run.did) == {"verdicts/tiny"}


@pytest.mark.slow
def test_another_stage_needs_no_decode(small: Any, tmp_path: Path) -> None:
    """The proxy serves stages that are added later, though the media are gone by then."""
    small.done(tmp_path / "run")
    shutil.rmtree(small.media)
    run = small.run(tmp_path / "run", stages=["black", "exposure"])
    chain.do(run, "annotate")
    assert set(run.did) == {"annotate"}
    (stored,) = (tmp_path / "run/ledger/annotations").glob("exposure@*")
    entries = [json.loads(path.read_bytes()) for path in stored.iterdir()]
    assert sum(entry["counts"]["clips"] for entry in entries) == 5
    assert [entry["failures"] for entry in entries] == [[]] * len(entries)


@pytest.mark.slow
def test_a_deleted_proxy_is_made_again_with_the_same_results(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests
) -> None:
    small, reference = whole
    runs = []
    for name in ("with", "without"):
        shutil.copytree(reference, tmp_path / name)
        if name == "without":
            (proxies,) = (tmp_path / name).glob("proxies@*")
            shutil.rmtree(proxies)
        small.done(tmp_path / name, stages=["black", "exposure"])
        runs.append(digests_of(tmp_path / name))
    assert runs[0] == runs[1]


def kinds(reference: Path) -> list[str]:
    """One file of every kind that a run holds, caches and settings apart."""
    found = {
        path.relative_to(reference).parts[0].split("@")[0]: path.relative_to(reference)
        for path in reference.rglob("*.parquet")
    }
    return [str(path) for name, path in sorted(found.items()) if name != "proxies"]


@pytest.mark.slow
def test_deleted_files_are_made_again(whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests) -> None:
    small, reference = whole
    chosen = kinds(reference)
    assert [path.split("@")[0].split("/")[0] for path in chosen] == [
        *("annotations", "boundaries", "clips", "dedup", "dropped", "index", "probed"),
        *("shards", "shots", "signals", "verdicts", "videos"),
    ]
    out = tmp_path / "run"
    shutil.copytree(reference, out)
    for number, path in enumerate(chosen):
        if number % 2:
            (out / path).unlink()
        else:
            (out / path).write_bytes(b"torn")
    run = small.done(out)
    assert run.did
    assert digests_of(out) == digests_of(reference)


@pytest.mark.slow
def test_retry_takes_only_what_failed(small: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    small.done(out)
    before = json.loads((out / "videos.json").read_text())
    run = small.run(out)
    chain.everything(run, retry=True)
    assert dict(run.did) == {"ingest": 1}  # the one unit with the refused file
    (failure,) = small.account(out).failures
    assert (failure.item, failure.attempts) == (str(small.media / "notes.mp4"), 2)
    assert json.loads((out / "videos.json").read_text())["step"] == before["step"]


@pytest.mark.slow
def test_a_file_that_was_mended_is_taken_and_the_rest_left(
    small: Any, tmp_path: Path, make_video: Callable[..., Path], shots_of: Callable[..., Any]
) -> None:
    out = tmp_path / "run"
    small.done(out)
    clips = {path.name for path in out.glob("clips@*/*")}
    make_video(small.media / "notes.mp4", frames=30, fps=20, size=(320, 256), draw=shots_of((30, 9)))
    run = small.run(out)
    chain.everything(run, retry=True)
    account = small.account(out)
    assert account.videos().to_json() == {"in": 6, "kept": 5, "rejected": 1, "failed": 0, "pending": 0}
    assert account.failures == []
    assert clips <= {path.name for path in out.glob("clips@*/*")}


def test_two_drivers_on_one_run(whole: tuple[Any, Path], tmp_path: Path) -> None:
    small, _ = whole
    first, second = (small.run(tmp_path / "run").store for _ in range(2))
    with first.locked(), pytest.raises(Busy, match="another process works on"), second.locked():
        pass
    with second.locked():
        pass


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_as_many_workers_as_you_like(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests, ray_here: None, workers: int
) -> None:
    small, reference = whole
    small.done(tmp_path / "run", Pool(workers))
    assert digests_of(tmp_path / "run") == digests_of(reference)


class Killer:
    """Starts `rushes run` as a process of its own and kills something of it in the middle."""

    def __init__(self, small: Any, folder: Path, workers: int) -> None:
        (folder / "s.toml").write_text(dump(small.config()))
        self.out = folder / "run"
        self.args = [sys.executable, "-m", "jobs.cli", "run", "--config", str(folder / "s.toml")]
        self.args += ["--out", str(self.out), "--workers", str(workers)]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def await_files(self, pattern: str, driver: subprocess.Popen[str]) -> None:
        """Waits until the run has a file of this pattern, or the driver has ended."""
        deadline = time.monotonic() + 120
        while not any(self.out.glob(pattern)) and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)

    def victims(self, driver: subprocess.Popen[str], named: str) -> list[Any]:
        """Processes of the run whose command line has this."""
        import psutil

        found = []
        for process in psutil.Process(driver.pid).children(recursive=True):
            try:
                if named in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def finish(self) -> str:
        """The same command again, to its end; what it said."""
        ended = subprocess.run(self.args, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert "Traceback" not in ended.stderr
        return ended.stderr


def gone(family: list[Any], seconds: float) -> bool:
    """Have all these processes ended, at the latest in so many seconds?"""
    import psutil

    _, left = psutil.wait_procs(family, timeout=seconds)
    return [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


MOMENTS = (
    "run.toml",
    "probed@*/*",
    "signals@*/*",
    "clips@*/*",
    "annotations/*/*.parquet",
    "shards/*/*/*",
)
"""What a run has just written."""


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "moments"), [(0, MOMENTS), (2, MOMENTS[2::2])])
def test_the_driver_killed_at_moments_of_its_life(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests, workers: int, moments: tuple[str, ...]
) -> None:
    """On Ray at fewer moments, for it has to start anew each time."""
    import psutil

    small, reference = whole
    killer = Killer(small, tmp_path, workers)
    for pattern in moments:
        driver = killer.start()
        killer.await_files(pattern, driver)
        family = psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
        driver.kill()
        driver.communicate()
        assert gone(family, 30)
    killer.finish()
    assert digests_of(killer.out) == digests_of(reference)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "workers", "status"),
    [
        ("pipeline.decode_child", 0, 0),
        ("pipeline.decode_child", 2, 0),
        ("ray::Worker", 2, 0),
        ("raylet/raylet", 2, 75),
        ("gcs_server", 2, 75),
    ],
)
def test_a_part_of_the_run_killed(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests, victim: str, workers: int, status: int
) -> None:
    """A decoder or a worker that is killed costs nothing; when Ray itself goes, the same command goes on."""
    small, reference = whole
    killer = Killer(small, tmp_path, workers)
    driver = killer.start()
    killer.await_files("videos.json", driver)
    deadline = time.monotonic() + 60
    while not (found := killer.victims(driver, victim)) and time.monotonic() < deadline:
        time.sleep(0.05)
    found[0].kill()
    out, said = driver.communicate(timeout=60)
    assert driver.returncode == status, said
    assert "Traceback" not in said
    assert out == ""
    assert not any(line.startswith(("[", "(raylet", "*** SIG", "\x1b")) for line in said.splitlines()), said
    killer.finish()
    assert digests_of(killer.out) == digests_of(reference)
