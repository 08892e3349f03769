"""Long runs do not grow, and a killed command leaves nothing: no process, no file, no shared memory."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.progress import Bar, Progress

Record = Callable[[str, str], None]
DECODING = "pipeline.decode_child"
CLIPS_A_VIDEO, FRAMES_A_CLIP = 100, 2


# --- memory


def resident_bytes(number: int) -> int:
    """Of a driver, its workers and their decode children; Ray's own processes apart."""
    import psutil

    total = 0
    driver = psutil.Process(number)
    for one in [driver, *driver.children(recursive=True)]:
        try:
            named = " ".join(one.cmdline())
            if one == driver or "ray::Worker" in named or DECODING in named:
                total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


@dataclass
class Meter:
    """Says, each time that a part of a step is done, how much memory is resident."""

    label: str
    done: float = 0.0

    def update(self, n: float) -> None:
        self.done += n
        print(json.dumps([self.label, self.done, resident_bytes(os.getpid())]), flush=True)

    def note(self, text: str) -> None:
        """Memory is all that matters."""


class Gauge(Progress):
    """Progress in bytes."""

    @contextmanager
    def bar(self, label: str, total: float, unit: str) -> Iterator[Bar]:
        yield Meter(label)


def soak(config: str, out: str, workers: str) -> None:
    """The process that is measured."""
    from jobs import chain
    from jobs import config as settings
    from jobs.run import Run
    from pipeline.cluster import disconnect
    from pipeline.runner import Pool
    from pipeline.store import Store

    store = Store(out)
    with store.locked():
        run = Run(store, settings.load(Path(config)), Pool(int(workers)), Gauge(quiet=True))
        for step in ("ingest", "segment", "annotate", "dedup", "select"):
            chain.do(run, step)
    disconnect()


def videos(folder: Path, make_video: Callable[..., Path], count: int) -> None:
    """Small videos of a frame a second, each of its own noise."""
    folder.mkdir()
    for number in range(count):
        still = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = still.repeat(8, axis=0).repeat(8, axis=1)
        make_video(
            folder / f"{number:04d}.mp4",
            frames=CLIPS_A_VIDEO * FRAMES_A_CLIP,
            fps=1,
            size=(64, 64),
            draw=lambda _, picture=picture: picture,
        )


@dataclass(frozen=True)
class Soaked:
    """What a long run said of its memory: (clips or frames done, bytes), by step."""

    seen: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def growth(self, label: str, warm_share: float) -> float:
        """Of the median at the end over the median after the warm part, less 1."""
        points = self.seen[label]
        most = points[-1][0]
        warm = [size for done, size in points if done >= most * warm_share]
        few = max(3, len(warm) // 10)
        return statistics.median(warm[-few:]) / statistics.median(warm[:few]) - 1


def soaked(folder: Path, recipe: Path, make_video: Callable[..., Path], clips: int, workers: int) -> Soaked:
    """Runs so many clips through the chain and looks on."""
    from jobs.config import Config, dump

    if not (folder / "many").exists():
        videos(folder / "many", make_video, -(-clips // CLIPS_A_VIDEO))
    config = Config.model_validate(
        {
            "sources": [str(folder / "many")],
            "stages": ["black", "exposure"],
            "precision": "fp32",
            "recipes": [str(recipe)],
            "segment": {"min_clip_s": 1.0, "max_clip_s": float(FRAMES_A_CLIP)},
            "shard": {"pools": ["tiny"]},
        }
    )
    settings = folder / "s.toml"
    settings.write_text(dump(config))
    command = [sys.executable, __file__, str(settings), str(folder / f"run{workers}"), str(workers)]
    here = {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | here)
    found = Soaked()
    for line in ended.stdout.splitlines():
        label, done, size = json.loads(line)
        found.seen.setdefault(label, []).append((done, size))
    assert found.seen["annotate"][-1][0] >= clips * 0.97  # a video's first and last clip may be trimmed away
    return found


@pytest.mark.slow
def test_a_thousand_clips_do_not_make_it_grow(
    small: Any, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    found = soaked(tmp_path, small.recipe, make_video, 1000, workers=0)
    assert found.growth("annotate", 0.3) < 0.05


@pytest.mark.promise
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [0, 2])
def test_ten_thousand_clips_do_not_make_it_grow(
    small: Any, tmp_path: Path, make_video: Callable[..., Path], record: Record, workers: int
) -> None:
    """Driver, workers and decode children together, from the first tenth of a step to its end."""
    found = soaked(tmp_path, small.recipe, make_video, 10_000, workers)
    growth = {label: found.growth(label, 0.1) for label in ("scan", "annotate")}
    clips = int(found.seen["annotate"][-1][0])
    said = ", ".join(f"{label} {share:+.1%}" for label, share in growth.items())
    record(f"memory growth over {clips:,} clips, {workers} workers", said)
    assert max(growth.values()) < 0.05, said


# --- what a killed command leaves


def family_of(number: int) -> list[Any]:
    import psutil

    return [*psutil.Process(number).children(recursive=True)]


def name(process: Any) -> str:
    import psutil

    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def living(family: list[Any]) -> list[str]:
    import psutil

    names = []
    for one in family:
        try:
            if one.is_running() and one.status() != psutil.STATUS_ZOMBIE:
                names.append(one.name())
        except psutil.NoSuchProcess:
            continue
    return names


def traces(family: list[Any]) -> set[Path]:
    """Passing files and folders that these processes hold open or are told of."""
    import psutil

    words: set[str] = set()
    for one in family:
        try:
            words |= {handle.path for handle in one.open_files()} | set(one.environ().values())
            words |= {word.rpartition("=")[2] for word in one.cmdline()}
        except psutil.Error:
            continue
    places = ("/dev/shm/", f"{tempfile.gettempdir()}/ray/session_", f"{tempfile.gettempdir()}/rushes-")
    return {
        path for path in map(Path, filter(str.strip, words)) if str(path).startswith(places) and path.exists()
    }


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_is_left_of_a_killed_driver(
    whole: tuple[Any, Path], tmp_path: Path, workers: int, record: Record
) -> None:
    """SIGKILL in the middle of the decode pass: every process, file and piece of shared memory goes within 10 s."""
    from jobs.config import dump

    (tmp_path / "s.toml").write_text(dump(whole[0].config()))
    out = tmp_path / "run"
    command = [sys.executable, "-m", "jobs.cli", "run", "--config", str(tmp_path / "s.toml")]
    # Without what a Ray of the tests' own has put there: its token is none of the driver's.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    driver = subprocess.Popen(
        [*command, "--out", str(out), "--workers", str(workers)], stderr=subprocess.DEVNULL, env=plain
    )
    deadline = time.monotonic() + 120
    while not (out / "videos.json").exists() or not any(
        DECODING in name(one) for one in family_of(driver.pid)
    ):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    family = family_of(driver.pid)
    ours = traces(family)
    assert len(family) >= (8 if workers else 1)
    assert len(ours) >= (2 if workers else 0), "a token and a session at least"
    driver.send_signal(signal.SIGKILL)
    began = time.monotonic()
    driver.wait()
    while (left := living(family)) and time.monotonic() - began < 30:
        time.sleep(0.02)
    took_s = time.monotonic() - began
    assert left == []
    assert took_s < 10
    while (files := {path for path in ours if path.exists()}) and time.monotonic() - began < 10:
        time.sleep(0.02)
    assert files == set()
    record(
        f"left by a killed driver, {workers} workers",
        f"nothing after {took_s:.1f} s ({len(family)} processes)",
    )


if __name__ == "__main__":
    soak(*sys.argv[1:])
