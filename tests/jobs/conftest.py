"""A small run for the job tests: tiny videos with texture, few stages, one pool, everything in seconds."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from jobs import chain
from jobs.account import Account
from jobs.config import Config, dump
from jobs.progress import Progress
from jobs.run import Run
from pipeline.runner import Pool
from pipeline.store import SCRATCH, Store

RECIPE = """
about = "Anything that is not black"
[keep]
duplicate_rank = { max = 0 }
[keep.video]
black_ratio = { max = 0.5 }
[shard]
resolution = "256p"
frame_counts = [1, 17]
fps = [16]
max_upscale_ratio = 1.5
"""
HERE = Pool()
NOT_COMPARED = ("timings", "report.html", ".lock", SCRATCH)


def texture(seed: int, width: int = 320, height: int = 256) -> Callable[[int], npt.NDArray[np.uint8]]:
    """Pictures of one shot: a coloured pattern of its own that moves a little from frame to frame."""
    coarse = np.random.default_rng(seed).integers(30, 226, (height // 16, width // 16 + 8, 3), dtype=np.uint8)
    whole = coarse.repeat(16, axis=0).repeat(16, axis=1)

    def draw(number: int) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(whole[:, number % 64 : number % 64 + width])

    return draw


def shots(*lengths_and_seeds: tuple[int, int]) -> Callable[[int], npt.NDArray[np.uint8]]:
    """Several shots on end: (frames, seed) each."""
    pictures = [(length, texture(seed)) for length, seed in lengths_and_seeds]

    def draw(number: int) -> npt.NDArray[np.uint8]:
        for length, picture in pictures:
            if number < length:
                return picture(number)
            number -= length
        raise IndexError(number)

    return draw


@dataclass(frozen=True)
class Small:
    """Runs over a folder of tiny media, in process unless told otherwise."""

    media: Path
    recipe: Path
    said: list[StringIO] = field(default_factory=list)

    def config(self, **changes: object) -> Config:
        plain = {
            "sources": [str(self.media)],
            "stages": ["black"],
            "precision": "fp32",
            "recipes": [str(self.recipe)],
            "segment": {"min_clip_s": 0.7, "max_clip_s": 3.0},
            "shard": {"pools": ["tiny"], "rows": 2, "preset": "ultrafast"},
            "max_failed": {"videos": 100, "clips": 100},
        }
        return Config.model_validate(plain | changes)

    def run(self, out: Path, pool: Pool = HERE, store: Store | None = None, **changes: object) -> Run:
        stream = StringIO()
        self.said.append(stream)
        found = self.config(**changes)
        chain.check(found)
        return Run(store or Store(str(out)), found, pool, Progress(stream))

    def done(self, out: Path, pool: Pool = HERE, **changes: object) -> Run:
        """The whole chain, held as the command holds it."""
        made = self.run(out, pool, **changes)
        with made.store.locked():
            made.store.put_text("run.toml", dump(made.config))
            chain.everything(made)
        return made

    def account(self, out: Path, **changes: object) -> Account:
        return chain.account_of(self.run(out, **changes))


def digests(out: Path) -> dict[str, str]:
    """The sha256 of every file of a run but timings and the report that shows them."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] not in NOT_COMPARED
    }


@pytest.fixture(scope="session")
def digests_of() -> Callable[[Path], dict[str, str]]:
    return digests


@pytest.fixture(scope="session")
def shots_of() -> Callable[..., Callable[[int], npt.NDArray[np.uint8]]]:
    return shots


@pytest.fixture(scope="session")
def _tiny_media(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """Three videos (one with a cut, one black), a picture, a copy, and a file that is no video."""
    import cv2

    folder = tmp_path_factory.mktemp("tiny") / "media"
    folder.mkdir()
    make_video(folder / "a.mp4", frames=40, fps=20, size=(320, 256), draw=texture(1), audio=True)
    make_video(folder / "b.mp4", frames=60, fps=20, size=(320, 256), draw=shots((30, 2), (30, 3)))
    make_video(
        folder / "black.mp4",
        frames=24,
        fps=20,
        size=(320, 256),
        draw=lambda number: np.zeros((256, 320, 3), np.uint8),
    )
    cv2.imwrite(str(folder / "c.png"), texture(4)(0))
    shutil.copyfile(folder / "a.mp4", folder / "z-copy.mp4")
    (folder / "notes.mp4").write_text("this is no video")
    return folder


@pytest.fixture
def small(_tiny_media: Path, tmp_path: Path) -> Small:
    """A folder of media of its own, and what runs over it."""
    media = tmp_path / "media"
    shutil.copytree(_tiny_media, media)
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    return Small(media, recipe)


@pytest.fixture(scope="session")
def whole(_tiny_media: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Small, Path]:
    """A run that was done once without any disturbance; to be read, not changed."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(RECIPE)
    made = Small(_tiny_media, folder / "tiny.toml")
    made.done(folder / "run")
    return made, folder / "run"
