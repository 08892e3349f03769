"""A run that was cut off anywhere, then done again, has the bytes of one that was not; careless stores are found out.

A crash point is a place before, between or after the calls that commits are made of. After it comes the aftermath: of
a SIGKILL, or of a power cut, which also takes what was not synced. Then somebody looks, and the same work is done
again.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipeline.disk import Disk
from pipeline.store import SCRATCH, Entry, Files, LocalFiles, Output, Store

Record = Callable[[str, str], None]
Digests = Callable[[Path], dict[str, str]]


class Killed(BaseException):
    """Stands for a SIGKILL: nothing catches it, and nothing is written after it."""


@dataclass(frozen=True)
class FaultyDisk(Disk):
    """A disk that dies before call number `last`, and remembers what was not synced by then.

    It does not sync in earnest: only a power cut could tell, and `cut` plays that.
    """

    last: int = sys.maxsize
    calls: list[str] = field(default_factory=list)
    unsynced: set[int] = field(default_factory=set)
    """Files (by inode) whose bytes are still on their way."""
    names: dict[Path, list[tuple[Path, bytes | None]]] = field(default_factory=dict)
    """By folder, in order: names that are still on their way, and what each stood for before."""

    def _call(self, what: str) -> None:
        if len(self.calls) >= self.last:
            raise Killed
        self.calls.append(what)

    def _named(self, name: Path, before: bytes | None) -> None:
        self.names.setdefault(name.parent, []).append((name, before))

    def make(self, folder: Path) -> None:
        self._call("make")
        if not folder.exists():
            super().make(folder)
            self._named(folder, None)

    def open(self, path: Path) -> int:
        self._call("open")
        return super().open(path)

    def write(self, handle: int, data: bytes) -> None:
        """In two calls, so that a death may come between."""
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            self._call("write")
            super().write(handle, piece)
            self.unsynced.add(os.fstat(handle).st_ino)

    def sync(self, handle: int) -> None:
        self._call("sync")
        self.unsynced.discard(os.fstat(handle).st_ino)

    def close(self, handle: int) -> None:
        super().close(handle)  # a process that dies closes its files too

    def link(self, path: Path, name: Path) -> None:
        self._call("link")
        super().link(path, name)
        self._named(name, None)

    def replace(self, path: Path, name: Path) -> None:
        self._call("replace")
        before = name.read_bytes() if name.exists() else None
        super().replace(path, name)
        self._named(name, before)

    def unlink(self, path: Path) -> None:
        self._call("unlink")
        super().unlink(path)

    def sync_folder(self, folder: Path) -> None:
        self._call("sync_folder")
        self.names.pop(folder, None)

    def cut(self, root: Path, dice: random.Random, lost: str) -> None:
        """What a power cut leaves: half of what was on its way, or any of it."""
        if lost in ("bytes", "any"):
            for path in [path for path in root.rglob("*") if path.is_file()]:
                status = path.stat()
                if status.st_ino in self.unsynced and (lost == "bytes" or dice.random() < 0.5):
                    os.truncate(path, status.st_size // 2)
        if lost in ("names", "any"):
            for names in self.names.values():
                kept = dice.choice([len(names), dice.randrange(len(names))]) if lost == "any" else 0
                for name, before in reversed(names[kept:]):
                    _restore(name, before)


def _restore(name: Path, before: bytes | None) -> None:
    if name.is_dir():
        shutil.rmtree(name)
    elif name.exists():
        name.unlink()
    if before is not None:
        name.write_bytes(before)


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: so many files are soon made, and syncing them costs nothing."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="rushes-test-", dir=memory)) if memory.is_dir() else tmp_path
    yield folder
    shutil.rmtree(folder)


AFTERMATHS = ("kill", "bytes", "names", "any")
"""A SIGKILL; a power cut that takes unsynced bytes, unsynced names, or some of both."""


@dataclass(frozen=True)
class Work:
    """One unit of a run that was done once: what is committed for it, in order."""

    step: str
    unit: str
    files: tuple[tuple[str, bytes, int], ...]


@dataclass(frozen=True)
class Disturbed(Store):
    """A run on a disk of the test's; `kind` writes to it."""

    disk: Disk = field(default_factory=Disk)
    kind: type[LocalFiles] = LocalFiles

    @property
    def files(self) -> Files:
        return self.kind(Path(self.root), self.disk)


def replay(store: Store, works: Sequence[Work]) -> None:
    """Does the units as every step does them: what has an entry is done."""
    for work in works:
        if store.entry(work.step, work.unit) is None:
            outputs = tuple(store.put(*file) for file in work.files)
            store.record(Entry(work.step, work.unit, outputs, {"n": len(outputs)}))


def faults(root: Path, wanted: dict[str, str], whole: bool) -> list[str]:
    """What a reader finds wrong: torn or stray files, entries that name what is not there; `whole`: what is missing."""
    found = {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    visible = {str(Path(path).relative_to(root)): data for path, data in found.items()}
    visible = {path: data for path, data in visible.items() if not path.startswith(".")}
    said = [f"{path} is stray" for path in visible if path not in wanted]
    said += [
        f"{path} is torn"
        for path, data in visible.items()
        if path in wanted and hashlib.sha256(data).hexdigest() != wanted[path]
    ]
    for path, data in visible.items():
        if path.startswith("ledger/") and f"{path} is torn" not in said:
            outputs = json.loads(data)["outputs"]
            said += [f"{path} names {o['path']}" for o in outputs if o["path"] not in visible]
    return said + ([f"{path} is missing" for path in wanted if path not in visible] if whole else [])


@dataclass(frozen=True)
class Crashes:
    """Replays of the same units that are cut off, looked at, and done again."""

    works: Sequence[Work]
    wanted: dict[str, str]
    folder: Path
    make: Callable[[Path, FaultyDisk], Store]

    def calls(self) -> list[str]:
        """What an undisturbed replay asks of the disk."""
        disk = FaultyDisk()
        root = self._fresh()
        replay(self.make(root, disk), self.works)
        shutil.rmtree(root)
        return disk.calls

    def after(self, points: Sequence[int], aftermath: str, seed: int = 0) -> list[str]:
        """What is wrong after deaths at these calls, one after the other, and after the work was done again."""
        root = self._fresh()
        said = []
        for point in points:
            disk = FaultyDisk(point)
            try:
                replay(self.make(root, disk), self.works)
            except Killed:
                if aftermath != "kill":
                    disk.cut(root, random.Random(seed), aftermath)
            said += [f"after {aftermath} at {point}: {one}" for one in faults(root, self.wanted, False)]
        replay(self.make(root, FaultyDisk()), self.works)
        said += [f"{aftermath} at {points}, done again: {one}" for one in faults(root, self.wanted, True)]
        shutil.rmtree(root)
        return said

    def _fresh(self) -> Path:
        root = self.folder / secrets.token_hex(4)
        root.mkdir()
        return root


def honest(root: Path, disk: FaultyDisk) -> Store:
    return Disturbed(str(root), disk)


def made_up(units: int) -> list[Work]:
    """Units of two steps with two files each."""
    dice = random.Random(0)
    return [
        Work(step, f"u{n}", tuple((f"{step}/u{n}-{f}.parquet", dice.randbytes(300), 1) for f in range(2)))
        for step in ("clips@1", "annotations/black@2")
        for n in range(units)
    ]


def wanted_of(works: Sequence[Work], folder: Path) -> dict[str, str]:
    """The sha256 of every file of an undisturbed replay."""
    root = folder / "undisturbed"
    replay(Disturbed(str(root), FaultyDisk()), works)
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def crashes_of(works: Sequence[Work], folder: Path, make: Callable[..., Store] = honest) -> Crashes:
    return Crashes(works, wanted_of(works, folder), folder, make)


def works_of(run: Path) -> list[Work]:
    """The units of a run that is on disk."""
    store = Store(str(run))
    entries = [Entry.from_json(path.read_bytes()) for path in sorted((run / "ledger").rglob("*.json"))]
    return [
        Work(e.step, e.unit, tuple((o.path, store.read(o.path), o.rows) for o in e.outputs)) for e in entries
    ]


# --- every crash point


def test_cut_off_at_every_call_a_store_is_whole_when_done_again(quick: Path) -> None:
    crashes = crashes_of(made_up(1), quick)
    calls = crashes.calls()
    assert len(calls) >= 50
    for point in range(len(calls) + 1):
        for aftermath in AFTERMATHS:
            assert crashes.after([point], aftermath, seed=point) == []


def test_cut_off_three_times_in_a_row(quick: Path) -> None:
    crashes = crashes_of(made_up(2), quick)
    most = len(crashes.calls())
    dice = random.Random(3)
    for seed in range(20):
        points = [dice.randrange(most) for _ in range(3)]
        assert crashes.after(points, AFTERMATHS[seed % 4], seed) == []


@pytest.mark.promise
@pytest.mark.timeout(1800)
def test_cut_off_at_every_call_of_the_commits_of_a_whole_run(
    whole: tuple[Any, Path], quick: Path, record: Record
) -> None:
    """Every file that a run commits, in every aftermath, and 150 times three deaths in a row."""
    crashes = crashes_of(works_of(whole[1]), quick)
    most = len(crashes.calls())
    wrong = [
        said
        for point in range(most + 1)
        for aftermath in AFTERMATHS
        for said in crashes.after([point], aftermath, point)
    ]
    assert wrong == []
    record("crash points", f"{(most + 1) * len(AFTERMATHS)} of {(most + 1) * len(AFTERMATHS)} equal")
    dice = random.Random(150)
    for seed in range(150):
        assert crashes.after([dice.randrange(most) for _ in range(3)], AFTERMATHS[seed % 4], seed) == [], seed
    record("three crashes in a row", "150 of 150 equal")


@dataclass(frozen=True)
class PhotographedDisk(FaultyDisk):
    """A disk that never dies: what a death before each call would leave, cut off and all, is put aside in `album`."""

    root: Path = Path()
    album: Path = Path()
    wanted: frozenset[int] | None = None
    """The calls at which that is done; None for all."""

    def _call(self, what: str) -> None:
        point = len(self.calls)
        super()._call(what)
        if self.wanted is None or point in self.wanted:
            taken = self.album / str(point)
            shutil.copytree(self.root, taken)
            dice = random.Random(point)
            self.moved(taken).cut(taken, dice, dice.choice(AFTERMATHS))

    def moved(self, taken: Path) -> FaultyDisk:
        """The same disk as it would be seen at another place."""
        pairs = ((path, taken / path.relative_to(self.root)) for path in self.root.rglob("*"))
        unsynced = {to.stat().st_ino for path, to in pairs if path.stat().st_ino in self.unsynced}
        names = {
            taken / folder.relative_to(self.root): [
                (taken / n.relative_to(self.root), before) for n, before in late
            ]
            for folder, late in self.names.items()
        }
        return FaultyDisk(unsynced=unsynced, names=names)


def photographed(small: Any, folder: Path, wanted: frozenset[int] | None = None) -> list[Path]:
    """Runs the whole chain once; what a death at each call would leave, in order."""
    from jobs import chain

    out, album = folder / "photographed", folder / "album"
    album.mkdir()
    disk = PhotographedDisk(root=out, album=album, wanted=wanted)
    run = small.run(out, store=Disturbed(str(out), disk))
    with run.store.locked():
        chain.everything(run)
    return sorted(album.iterdir(), key=lambda taken: int(taken.name))


def continued(small: Any, photos: Sequence[Path], wanted: dict[str, str], digests_of: Digests) -> int:
    """Goes on from each of these and compares; how many different ones there were, what is swept first apart."""
    seen = set()
    for photo in photos:
        state = (tuple(digests_of(photo).items()), any(photo.glob(f"{SCRATCH}/*")))
        if state not in seen:
            small.done(photo)
            assert digests_of(photo) == wanted, photo.name
            assert list((photo / SCRATCH).iterdir()) == []
            seen.add(state)
        shutil.rmtree(photo)
    return len(seen)


@pytest.mark.promise
@pytest.mark.timeout(3600)
def test_the_chain_cut_off_at_every_call_it_makes(
    brief: tuple[Any, Path], quick: Path, digests_of: Digests, record: Record
) -> None:
    """The chain itself, not its commits alone: it is continued from what a death at each call would leave."""
    small, reference = brief
    photos = photographed(small, quick)
    assert len(photos) > 150
    different = continued(small, photos, digests_of(reference), digests_of)
    assert different > 40
    record(
        "crash points of the whole chain",
        f"{len(photos)} of {len(photos)} equal, from {different} different states of the disk",
    )


@pytest.mark.slow
def test_the_chain_cut_off_at_some_of_the_calls_it_makes(
    brief: tuple[Any, Path], quick: Path, digests_of: Digests
) -> None:
    small, reference = brief
    chosen = frozenset(random.Random(8).sample(range(200), 6))
    photos = photographed(small, quick, chosen)
    assert len(photos) == len(chosen)
    assert continued(small, photos, digests_of(reference), digests_of) >= 4


# --- stores that do it wrong are found out by the same checks


@dataclass(frozen=True)
class InPlace(LocalFiles):
    """Opens the final name and writes."""

    def create(self, path: str, data: bytes) -> None:
        final = self.root / path
        final.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(final, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            self.disk.write(handle, data)
            self.disk.sync(handle)
        finally:
            os.close(handle)

    def replace(self, path: str, data: bytes) -> None:
        self.create(path, data)


@dataclass(frozen=True)
class SkipsWhatExists(InPlace):
    """Takes a file that is there for one that is done."""

    def create(self, path: str, data: bytes) -> None:
        if self.size(path) is None:
            super().create(path, data)


@dataclass(frozen=True)
class RandomNames(Disturbed):
    """Never writes the same name twice, so what a crash left is never found again."""

    def put(self, path: str, data: bytes, rows: int) -> Output:
        return super().put(f"{path}-{secrets.token_hex(8)}", data, rows)


@dataclass(frozen=True)
class MarkerFirst(Disturbed):
    """Says that a unit is done, then does it."""

    late: list[tuple[str, bytes]] = field(default_factory=list)

    def put(self, path: str, data: bytes, rows: int) -> Output:
        self.late.append((path, data))
        return Output(path, hashlib.sha256(data).hexdigest(), len(data), rows)

    def record(self, entry: Entry) -> None:
        super().record(entry)
        while self.late:
            self.files.create(*self.late.pop(0))


@dataclass(frozen=True)
class Unsynced(LocalFiles):
    """Renames without having synced the bytes."""

    def _written(self, final: Path, data: bytes) -> Path:
        kept = set(self._faulty.unsynced)
        temporary = super()._written(final, data)
        self._faulty.unsynced.update(kept, {temporary.stat().st_ino})
        return temporary

    @property
    def _faulty(self) -> FaultyDisk:
        assert isinstance(self.disk, FaultyDisk)
        return self.disk


@dataclass(frozen=True)
class DeafDisk(FaultyDisk):
    """Never syncs a folder."""

    def sync_folder(self, folder: Path) -> None:
        return None


def deaf(root: Path, disk: FaultyDisk) -> Store:
    return Disturbed(str(root), DeafDisk(disk.last, disk.calls, disk.unsynced, disk.names))


MUTANTS: dict[str, tuple[Callable[[Path, FaultyDisk], Store], str]] = {
    "overwrites in place": (lambda r, d: Disturbed(str(r), d, InPlace), "is torn"),
    "skips what exists": (lambda r, d: Disturbed(str(r), d, SkipsWhatExists), "done again"),
    "random names": (lambda r, d: RandomNames(str(r), d), "is stray"),
    "marker before the data": (lambda r, d: MarkerFirst(str(r), d), "names"),
    "no fsync of the bytes": (lambda r, d: Disturbed(str(r), d, Unsynced), "is torn"),
    "no fsync of the folders": (deaf, "names"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_careless_store_is_found_out(quick: Path, mutant: str, record: Record) -> None:
    make, fault = MUTANTS[mutant]
    works = made_up(1)
    careful, careless = crashes_of(works, quick), crashes_of(works, quick, make)
    points = range(len(careless.calls()) + 1)
    luck = [(how, n) for how in (*AFTERMATHS, "any", "any") for n in range(len(points))]
    said = [one for seed, (how, n) in enumerate(luck) for one in careless.after([n], how, seed)]
    assert any(fault in one for one in said), said
    assert careful.after([len(points) // 2], "any") == []
    record(f"mutant: {mutant}", f"caught, {len(said)} faults")


def test_the_calls_of_a_commit_and_their_order(tmp_path: Path) -> None:
    disk = FaultyDisk()
    store = Disturbed(str(tmp_path), disk)
    store.put("a", b"bytes", 1)
    assert disk.calls == ["make", "open", "write", "write", "sync", "link", "unlink", "sync_folder"]
    disk.calls.clear()
    store.record(Entry("s", "u"))
    assert disk.calls == [
        *("make", "sync_folder") * 2,
        *("make", "open", "write", "write", "sync", "replace", "sync_folder"),
    ]


# --- real processes, really killed


@dataclass
class Forge:
    """A process that forks drivers of one run at once, each replaying the same units; they can be killed.

    A driver that ends with an exception leaves its words in a file.
    """

    root: Path
    script: Path
    errors: Path

    def __post_init__(self) -> None:
        command = [sys.executable, __file__, str(self.root), str(self.script), str(self.errors)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def driver(self) -> int:
        """Starts one; its number."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()


def serve(root: str, script: str, errors: str) -> None:
    """The body of a Forge."""
    works = [Work(*plain) for plain in pickle.loads(Path(script).read_bytes())]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        number = os.fork()
        if not number:
            try:
                replay(Store(root), works)
            except Exception as error:
                Path(errors).write_text(f"{type(error).__name__}: {error}")
            os._exit(0)
        print(number, flush=True)


def alive(number: int) -> bool:
    return Path(f"/proc/{number}").exists()


@dataclass
class Reader:
    """Reads files of a run at random for as long as it lives; counts reads, and those that were not whole."""

    root: Path
    wanted: dict[str, str]
    reads: int = 0
    torn: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        dice = random.Random(1)
        paths = sorted(self.wanted)
        while not self._stop.wait(0.001):
            path = dice.choice(paths)
            try:
                data = (self.root / path).read_bytes()
            except FileNotFoundError:
                continue
            self.reads += 1
            if hashlib.sha256(data).hexdigest() != self.wanted[path]:
                self.torn.append(path)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def race(works: Sequence[Work], folder: Path, kills: int, seed: int, most_s: float = 0.03) -> tuple[int, int]:
    """Two drivers at once on one run without its lock, each killed within `most_s`; kills that hit, and files read."""
    wanted = wanted_of(works, folder)
    root, script, errors = folder / "race", folder / "script", folder / "errors"
    script.write_bytes(pickle.dumps([(work.step, work.unit, work.files) for work in works]))
    root.mkdir()
    forge, reader = Forge(root, script, errors), Reader(root, wanted)
    dice = random.Random(seed)
    hits = 0
    try:
        while hits < kills:
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()
            for _ in range(3):
                drivers = [forge.driver(), forge.driver()]
                for driver in drivers:
                    time.sleep(dice.random() * most_s)
                    hits += killed(driver)
                await_end(drivers)
            await_end([forge.driver(), forge.driver()])
            with Store(str(root)).locked():
                assert faults(root, wanted, True) == [], (seed, hits)
            assert not errors.exists(), errors.read_text()
    finally:
        reader.close()
        forge.close()
    assert reader.torn == []
    return hits, reader.reads


def killed(driver: int) -> bool:
    try:
        os.kill(driver, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def await_end(drivers: Sequence[int]) -> None:
    deadline = time.monotonic() + 60
    while any(map(alive, drivers)):
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.slow
def test_two_drivers_killed_while_they_race(quick: Path) -> None:
    hits, reads = race(made_up(3), quick, kills=6, seed=1)
    assert hits >= 6
    assert reads > 20


@pytest.mark.promise
@pytest.mark.timeout(1200)
def test_two_drivers_killed_hundreds_of_times_while_they_race(
    whole: tuple[Any, Path], quick: Path, record: Record
) -> None:
    seed = secrets.randbelow(1 << 30)
    print("seed", seed)
    hits, reads = race(works_of(whole[1]), quick, kills=240, seed=seed)
    assert reads >= 1000
    record("two racing drivers", f"{hits} SIGKILLs, 0 different (seed {seed})")
    record("readers during kills", f"0 torn of {reads} reads")


@pytest.fixture
def pair(whole: tuple[Any, Path], tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Two commands started at once on one run."""
    from jobs.config import dump

    (tmp_path / "s.toml").write_text(dump(whole[0].config()))
    command = [sys.executable, "-m", "jobs.cli", "run", "--config", str(tmp_path / "s.toml")]
    command += ["--out", str(tmp_path / "run"), "--workers", "0"]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    yield started
    for one in started:
        one.kill()
        one.communicate()


@pytest.mark.slow
def test_two_commands_on_one_run(
    whole: tuple[Any, Path], tmp_path: Path, pair: list[subprocess.Popen[str]], digests_of: Digests
) -> None:
    """One does the work; the other says why it does not, or comes when all is done."""
    said = [one.communicate(timeout=120)[1] for one in pair]
    assert sorted(one.returncode for one in pair) in ([0, 75], [0, 0]), said
    for one, words in zip(pair, said, strict=True):
        assert "Traceback" not in words
        assert one.returncode == 0 or "another process works on" in words
    assert digests_of(tmp_path / "run") == digests_of(whole[1])


if __name__ == "__main__":
    serve(*sys.argv[1:])
