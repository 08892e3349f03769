"""A review of two small videos: a plan, what its items show, and a server process that can be killed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.frames import Decoder
from review.desk import Said, Shown, Twin
from review.footage import Footage, Order
from review.plan import Item, Plan, Stratum

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u202e\"'`${7*7}{{7*7}}"
"""A text that would do something wherever it is taken for markup or code."""


def caption(lighting: str = "Soft light.") -> dict[str, Any]:
    """A whole caption."""
    subject = {
        "TYPES": {"type": "Human", "sub_type": "Woman"},
        "appearance": "A red coat.",
        "action": "She walks.",
        "expression": "",
        "position": "In the centre.",
        "is_main_subject": True,
    }
    rest = {
        "shot_type": "long_shot",
        "shot_angle": "",
        "shot_position": "",
        "camera_motion": "The camera is static.",
    }
    return {"subjects": [subject], **rest, "environment": "", "lighting": lighting}


@dataclass(frozen=True)
class Films:
    """Two probed videos: `rows[0]` with two shots of 30 frames at 20 fps, `rows[1]` with one of 24."""

    folder: Path
    rows: tuple[dict[str, Any], ...]


@pytest.fixture(scope="session")
def films(
    tmp_path_factory: pytest.TempPathFactory,
    make_video: Callable[..., Path],
    shots_of: Callable[..., Callable[[int], Any]],
) -> Films:
    folder = tmp_path_factory.mktemp("films")
    first, second = shots_of((30, 2), (30, 3)), shots_of((24, 4))
    paths = [
        make_video(folder / "walk.mp4", frames=60, fps=20, size=(320, 256), draw=first),
        make_video(folder / "run.mp4", frames=24, fps=20, size=(320, 256), draw=second),
    ]
    with Decoder() as decoder:
        rows = tuple(
            {"video_id": hashlib.sha256(path.read_bytes()).hexdigest()[:20], "path": str(path)}
            | decoder.probe(str(path))
            for path in paths
        )
    return Films(folder, rows)


def small_plan(count: int = 6, gate: Any = "pretrain", **changes: Any) -> Plan:
    """A plan of `count` items, all of one stratum; `changes` are fields of it."""
    items = tuple(Item(f"{number:016x}", f"clip{number}", "all", 1.0) for number in range(1, count + 1))
    plain: dict[str, Any] = {
        "gate": gate,
        "pool": "540p",
        "limit": 0.15,
        "confidence": 0.95,
        "power": 0.9,
        "expected": 0.05,
        "readers": 1,
        "seed": 0,
        "snapshot": {},
        "strata": (Stratum("all", count, count),),
        "items": items,
        "rule": "fixed",
    }
    return Plan(**(plain | changes))


def shown(films: Films, plan: Plan, words: str = "Soft light.") -> dict[str, Shown]:
    """What the items of a plan show: the first video's shots and the second video in turn."""
    walk, run = films.rows
    footage = [
        Footage(walk, 0, 30, after=45),
        Footage(walk, 30, 60, before=15),
        Footage(run, 0, 24),
    ]
    found = {}
    for number, item in enumerate(plan.items):
        mine = footage[number % 3]
        captions = (Said("engine/1", caption(words)), Said("engine/2", caption("Hard light.")))
        twin = Twin(Order(footage[(number + 1) % 3]), f"rejected by 540p: {words}") if number == 0 else None
        donor = footage[(number + 1) % 3] if item.planted is not None and item.planted.donor else None
        name = f"{words}.mp4" if words == HOSTILE else Path(mine.video["path"]).name
        order = Order(mine, item.planted, donor)
        found[item.item_id] = Shown(item.item_id, order, name, 0.0, 1.5, captions, twin)
    return found


@dataclass
class Host:
    """The process that starts servers, see serving.py."""

    process: subprocess.Popen[str]

    def start(self, folder: Path) -> tuple[int, dict[str, str]]:
        """A server of the review in this folder: its process, and a link a reviewer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(folder, file=self.process.stdin, flush=True)
        said = json.loads(self.process.stdout.readline())
        return said["process"], said["links"]


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    command = [sys.executable, "-P", str(Path(__file__).with_name("serving.py"))]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=ROOT, env=environment, **pipes) as process:
        yield Host(process)


@dataclass
class Server:
    """A review's server in a process of its own, on the same port and with the same links after every start."""

    folder: Path
    host: Host
    links: dict[str, str] = field(default_factory=dict)
    process: int | None = None

    def start(self) -> Server:
        self.process, self.links = self.host.start(self.folder)
        return self

    def kill(self) -> None:
        """As a power cut would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process, signal.SIGKILL)
                while True:  # its port is free once it is gone
                    os.kill(self.process, 0)
                    time.sleep(0.005)
            self.process = None

    def events(self) -> list[tuple[str, str, str | None]]:
        """(kind, item, verdict) of every event in the file, read by SQLite alone."""
        with sqlite3.connect(self.folder / "verdicts.sqlite") as db:
            rows = db.execute("SELECT kind, item_id, verdict FROM events ORDER BY seq").fetchall()
        db.close()
        return [(str(kind), str(item), verdict) for kind, item, verdict in rows]


@pytest.fixture
def serving(films: Films, host: Host, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """serving(count=6, words="...", reviewers=("ann",), missing=None) -> a started Server, killed in the end.

    `missing`: the number of an item whose video is gone.
    """
    started: list[Server] = []

    def start(
        count: int = 6,
        words: str = "Soft light.",
        reviewers: tuple[str, ...] = ("ann",),
        missing: int | None = None,
    ) -> Server:
        plan = small_plan(count)
        items = shown(films, plan, words)
        if missing is not None:
            name = plan.items[missing].item_id
            video = films.rows[1] | {"path": str(films.folder / "gone.mp4")}
            items[name] = replace(items[name], order=Order(Footage(video, 1, 20)))
        folder = films.folder / f"review-{tmp_path.name}-{len(started)}"  # previews beside it, for all tests
        folder.mkdir()
        (folder / "review.pickle").write_bytes(pickle.dumps((plan, items, reviewers)))
        started.append(Server(folder, host).start())
        return started[-1]

    yield start
    for server in started:
        server.kill()


@dataclass(frozen=True)
class Making:
    """The functions above, for tests that need no server."""

    plan: Callable[..., Plan]
    shown: Callable[..., dict[str, Shown]]
    caption: Callable[..., dict[str, Any]]
    hostile: str = HOSTILE


@pytest.fixture(scope="session")
def making() -> Making:
    return Making(small_plan, shown, caption)
