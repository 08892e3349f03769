"""The command: exit statuses, one sentence for every fault, and what each step says when it comes too early."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jobs.cli import cli
from jobs.config import dump

STEPS = ("segment", "annotate", "caption", "dedup", "select", "balance", "shard")


def rushes(*args: object) -> Result:
    """The command in this process; a fault that is not one sentence fails the test."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def toml(small: Any, tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(dump(small.config()))
    return path


@pytest.fixture
def copy(whole: tuple[Any, Path], tmp_path: Path) -> Path:
    """A run that is done, to be changed."""
    shutil.copytree(whole[1], tmp_path / "run")
    return tmp_path / "run"


def test_help_answers_at_once_and_imports_nothing_heavy() -> None:
    heavy = ("torch", "ray", "cv2", "pyarrow", "numpy", "av", "pydantic")
    code = f"import sys, jobs.cli; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
    began = os.times()
    subprocess.run([sys.executable, "-m", "jobs.cli", "--help"], capture_output=True, check=True)
    ended = os.times()
    assert ended.children_user + ended.children_system - began.children_user - began.children_system < 1.0


@pytest.mark.parametrize(
    ("args", "status", "sentence"),
    [
        (["run", "--out", "{tmp}/r"], 2, "no SOURCE given"),
        (["run", "x", "--out", "{tmp}/r", "--set", "nope=1"], 2, "unknown key 'nope'"),
        (["run", "x", "--out", "{tmp}/r", "--set", "segment.nope=1"], 2, "unknown key 'segment.nope'"),
        (
            ["run", "x", "--out", "{tmp}/r", "--set", "stage.black.nope=1"],
            2,
            "unknown key 'stage.black.nope'",
        ),
        (["run", "x", "--out", "{tmp}/r", "--set", "nonsense"], 2, "KEY=VALUE"),
        (["run", "x", "--out", "{tmp}/r", "--set", "segment.min_clip_s=9"], 2, "max_clip_s 10.0"),
        (["run", "x", "--out", "{tmp}/r", "--set", "segment.min_clip_s=soon"], 2, "min_clip_s"),
        (["run", "x", "--out", "{tmp}/r", "--set", "dedup.nope=1"], 2, "unknown key 'dedup.nope'"),
        (["run", "x", "--out", "{tmp}/r", "--set", "stages=['nope']"], 2, "unknown stage 'nope'"),
        (["run", "x", "--out", "{tmp}/r", "--set", "stages=['black']"], 2, "there is no column"),
        (["run", "x", "--out", "{tmp}/r", "--recipe", "nope"], 2, "there is no recipe 'nope'"),
        (["run", "x", "--out", "{tmp}/r", "--pool", "nope"], 2, "none of the run's recipes"),
        (["run", "x", "--out", "{tmp}/r", "--config", "{tmp}/none.toml"], 2, "none.toml"),
        (["run", "x", "--out", "{tmp}/r", "--workers", "-1"], 2, "--workers"),
        (["run", "x", "--out", "{tmp}/a-file"], 75, "that is a file and no folder"),
        (["run", "x", "--out", "{tmp}/a-file/r"], 75, "that is a file and no folder"),
        (["run", "x", "--out", "nosuch://r", "--workers", "0"], 75, "nosuch"),
        (["segment", "{tmp}/none"], 2, "is no run directory"),
        (["report", "{tmp}/none"], 2, "is no run directory"),
        (["verify", "{tmp}/none"], 2, "is no run directory"),
        (["explain", "{tmp}/none", "abc"], 2, "is no run directory"),
        (["whatif", "{tmp}/none", "--recipe", "256p"], 2, "is no run directory"),
        (["nosuch"], 2, "No such command"),
    ],
)
def test_wrong_use_is_one_sentence_and_writes_nothing(
    tmp_path: Path, args: list[str], status: int, sentence: str
) -> None:
    (tmp_path / "a-file").write_text("")
    result = rushes(*(arg.replace("{tmp}", str(tmp_path)) for arg in args))
    assert (result.exit_code, sentence in result.stderr) == (status, True), result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"]


def test_settings_that_are_no_toml(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("sources = [")
    result = rushes("run", "x", "--out", tmp_path / "r", "--config", tmp_path / "bad.toml")
    assert (result.exit_code, "is not TOML" in result.stderr) == (2, True)


def test_an_impossible_threshold(tmp_path: Path) -> None:
    (tmp_path / "never.toml").write_text("[keep]\nduration_s = { min = 9.0, max = 2.0 }\n")
    result = rushes("run", "x", "--out", tmp_path / "r", "--recipe", tmp_path / "never.toml")
    assert (result.exit_code, "so nothing can pass" in result.stderr) == (2, True)


def test_dry_run_prints_the_plan_and_writes_nothing(small: Any, toml: Path, tmp_path: Path) -> None:
    result = rushes("run", "--config", toml, "--out", tmp_path / "r", "--dry-run")
    assert result.exit_code == 0
    assert "ingest    6 items" in result.stdout
    assert "annotate  black: black_ratio, black_run_s" in result.stdout
    assert "balance   no recipe asks for it" in result.stdout
    assert "shard     tiny" in result.stdout
    assert not (tmp_path / "r").exists()


def test_each_step_says_what_to_run_first(toml: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    shutil.copyfile(toml, out / "run.toml")
    for step in STEPS:
        result = rushes(step, out, "--workers", 0)
        assert (result.exit_code, "rushes ingest" in result.stderr) == (2, True), step
    assert rushes("report", out, "--json").exit_code == 2


def closed(counts: dict[str, float]) -> bool:
    parts = counts["kept"] + counts["rejected"] + counts["failed"] + counts["pending"]
    return set(counts) == {"in", "kept", "rejected", "failed", "pending"} and abs(counts["in"] - parts) < 1e-2


@pytest.mark.slow
def test_the_steps_one_by_one(whole: tuple[Any, Path], tmp_path: Path, digests_of: Any) -> None:
    """Each command works on the run directory; the funnel is closed after each; the end is that of `rushes run`."""
    small, reference = whole
    (tmp_path / "s.toml").write_text(dump(small.config()))
    out = tmp_path / "run"
    pending = []
    wanted = {"annotate": "segment", "dedup": "annotate", "select": "dedup", "shard": "select"}
    for step in ("ingest", *STEPS):
        for later, before in wanted.items():
            if STEPS.index(later) > (STEPS.index(step) if step in STEPS else -1) and before == step:
                early = rushes(later, out, "--workers", 0)
                assert (early.exit_code, f"rushes {before}" in early.stderr) == (2, True), (step, later)
        args = ["--config", tmp_path / "s.toml", "--out", out] if step == "ingest" else [out]
        result = rushes(step, *args, "--workers", 0)
        assert result.exit_code == 0, result.stderr
        said = json.loads(rushes("report", out, "--json").stdout)
        assert set(said) == {"videos", "clips", "seconds", "pools", "shards", "failures"}
        assert all(closed(said[name]) for name in ("videos", "clips", "seconds")), step
        pending.append((said["videos"]["pending"], said["clips"]["pending"], "tiny" in said["shards"]))
    assert pending == [
        (4, 0, False),  # ingest
        (0, 5, False),  # segment: the black video's clip, too, waits for its verdict
        (0, 5, False),
        (0, 5, False),
        (0, 5, False),
        (0, 0, False),  # select
        (0, 0, False),
        (0, 0, True),
    ]
    assert digests_of(out) == digests_of(reference)
    assert set(said["shards"]["tiny"]) == {"files", "rows", "bytes", "nulls"}
    assert {frozenset(f) for f in said["failures"]} == {
        frozenset({"item", "stage", "reason", "message", "attempts"})
    }


def test_statuses_of_a_run_that_is_done(copy: Path) -> None:
    assert rushes("run", "--out", copy, "--workers", 0).exit_code == 0
    strict = rushes("report", copy)
    assert strict.exit_code == 0
    few = rushes("select", copy, "--workers", 0, "--set", "max_failed.videos=0")
    assert (few.exit_code, "1 videos failed, the run allows 0" in few.stderr) == (3, True)
    assert "notes.mp4" in few.stderr


def test_nothing_kept_is_status_3(copy: Path, tmp_path: Path) -> None:
    never = tmp_path / "tiny.toml"
    never.write_text("[keep]\nshort_side_px = { min = 99999 }\n")
    result = rushes("run", "--out", copy, "--workers", 0, "--recipe", never)
    assert result.exit_code == 3
    clips = json.loads(rushes("report", copy, "--json").stdout)["pools"]["tiny"]["in"]
    assert f"nothing was kept: tiny drops clips for tiny.short_side_px ({clips}); " in result.stderr
    funnel = json.loads(rushes("report", copy, "--json").stdout)
    assert (funnel["clips"]["kept"], funnel["shards"]["tiny"]["rows"]) == (0, 0)


def test_shots_that_are_all_too_short_are_said_with_their_setting(small: Any, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(dump(small.config()))
    long = ("--set", "segment.min_clip_s=40.0", "--set", "segment.max_clip_s=90.0")
    out = tmp_path / "run"
    video = small.media / "a.mp4"
    result = rushes("run", video, "--config", tmp_path / "s.toml", "--out", out, "--workers", 0, *long)
    assert result.exit_code == 3
    assert "nothing was kept: no shot is long enough for a clip of 40 s (segment.min_clip_s)" in result.stderr


def test_empty_shards_name_what_dropped_the_clips_and_a_pool_that_keeps_some(
    copy: Path, small: Any, tmp_path: Path
) -> None:
    never = tmp_path / "never.toml"
    never.write_text("[keep]\nshort_side_px = { min = 99999 }\n")
    recipes = ("--recipe", small.recipe, "--recipe", never)
    result = rushes("run", "--out", copy, "--workers", 0, *recipes, "--pool", "never")
    assert result.exit_code == 3
    assert "the shards are empty: never drops clips for never.short_side_px (" in result.stderr
    assert "; tiny keeps " in result.stderr
    assert "(--pool tiny)" in result.stderr


def test_a_run_that_is_at_work_may_be_looked_at_but_not_worked_on(copy: Path) -> None:
    from pipeline.store import Store

    with Store(str(copy)).locked():
        busy = rushes("run", "--out", copy, "--workers", 0)
        assert (busy.exit_code, "another process works on" in busy.stderr) == (75, True)
        assert rushes("report", copy, "--json").exit_code == 0
        assert rushes("verify", copy).exit_code == 0


def test_explain_shows_value_stage_engine_and_threshold(copy: Path) -> None:
    import pyarrow.parquet as pq

    (verdicts,) = copy.glob("verdicts/tiny@*/part-00000.parquet")
    table = pq.read_table(verdicts)
    clip = table.column("clip_id").to_pylist()[table.column("kept").to_pylist().index(False)]
    said = rushes("explain", copy, clip)
    assert said.exit_code == 0
    (line,) = (line for line in said.stdout.splitlines() if "black_ratio" in line)
    assert line.split()[:1] == ["FAILS"]
    for word in (" 1 ", "0.5", "black@"):
        assert word in line
    assert "tiny: rejected" in said.stdout
    missing = rushes("explain", copy, "0" * 20)
    assert (missing.exit_code, "has no clip" in missing.stderr) == (2, True)


def test_verify_proves_a_run_and_finds_damage(copy: Path) -> None:
    assert rushes("verify", copy, "--deep").exit_code == 0
    shard = next(copy.glob("shards/tiny/*/*.parquet"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    clips = next(copy.glob("clips@*/*.parquet"))
    clips.unlink()
    result = rushes("verify", copy)
    assert result.exit_code == 3
    assert f"{clips.relative_to(copy)} is missing" in result.stdout
    assert shard.name in result.stdout


def test_relative_sources_are_kept_as_absolute(small: Any, toml: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as place:
        place.chdir(small.media.parent)
        result = rushes("ingest", "media", "--config", toml, "--out", "run", "--workers", 0)
    assert result.exit_code == 0
    assert rushes("ingest", "--out", tmp_path / "run", "--workers", 0).exit_code == 0
    assert f'"{small.media}"' in (tmp_path / "run/run.toml").read_text()


def command(*args: object, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "jobs.cli", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_status_75(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Any
) -> None:
    small, reference = whole
    (tmp_path / "s.toml").write_text(dump(small.config()))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, -1));"
        "from jobs.cli import main; sys.argv[0] = 'rushes'; main()"
    )
    args = [
        "run",
        "--config",
        str(tmp_path / "s.toml"),
        "--out",
        str(tmp_path / "run"),
        "--workers",
        "0",
        "--quiet",
    ]
    full = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert full.returncode == 75, full.stderr
    assert full.stderr.count("\n") == 1
    assert "the file size limit was reached" in full.stderr
    assert rushes(*args).exit_code == 0
    assert digests_of(tmp_path / "run") == digests_of(reference)


def heed_ctrl_c() -> None:
    """As at a terminal: what was started in the background of a script ignores it, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def descendants(pid: int) -> set[int]:
    import psutil

    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [2, 15])
def test_a_signal_ends_the_run_at_once_and_leaves_nothing(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Any, workers: int, number: int
) -> None:
    import psutil

    small, reference = whole
    (tmp_path / "s.toml").write_text(dump(small.config()))
    args = ("run", "--config", tmp_path / "s.toml", "--out", tmp_path / "run", "--workers", workers)
    driver = command(*args, preexec_fn=heed_ctrl_c)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("videos.json")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.5)  # in the middle of the scan
    family = descendants(driver.pid)
    began = time.monotonic()
    driver.send_signal(number)
    said = driver.communicate(timeout=60)[1]
    assert driver.returncode == 75, said
    assert time.monotonic() - began < 10
    assert said.rstrip().endswith("rushes: stopped; run the same command again to go on")
    assert "Traceback" not in said
    left = [pid for pid in family if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert left == []
    small.done(tmp_path / "run")
    assert digests_of(tmp_path / "run") == digests_of(reference)


def test_a_library_that_aborts_at_the_end_does_not_change_the_status() -> None:
    code = (
        "import atexit, ctypes, sys; libc = ctypes.CDLL(None); sys.argv = ['rushes', '--version'];"
        "libc.__cxa_atexit(ctypes.cast(libc.abort, ctypes.c_void_p), None, None);"
        "atexit.register(print, 'left in good order');"
        "from jobs.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "left in good order"
