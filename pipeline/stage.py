"""Stage: the one abstraction. A stage adds columns beside clips and holds no threshold."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.clip import Clip
from pipeline.reasons import Reason

Row = Mapping[str, Any]
"""One value a column of the stage; a column that does not apply to this clip is None."""
BATCH = 16
"""Clips that a GPU stage is handed at once, unless it says how many it wants."""


class ClipError(Exception):
    """This clip cannot be measured. Becomes the row's `error`; never a score.

    `known` are columns that are known all the same (how the failure came about, say); the others of the row are null.
    """

    def __init__(
        self,
        message: str,
        reason: Reason = Reason.STAGE_ERROR,
        known: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__(message, reason, dict(known))
        self.message = message
        self.reason = reason
        self.known = dict(known)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class StageDied(Exception):
    """What a stage works with is gone (a server, a GPU's process): no clip is at fault, and the run stops."""


class WorkerSpent(StageDied):
    """The worker's process can do no more, but another can: it is replaced, as when it had died of an item."""


@dataclass(frozen=True)
class FrameSpec:
    """Which frames of a clip a stage looks at, and at what size.

    Frames are taken on a time grid of the whole video (every `every_s` seconds from its first frame), so that clips,
    stages and chunks share them; a clip shorter than the grid step shows its middle frame.
    """

    every_s: float
    short_side_px: int | None = None
    """Scaled so that the shorter side has this many pixels, never enlarged; None keeps the source's size."""
    patch_px: int | None = None
    """Only the central square of this side, at the source's own resolution (smaller where the frame is)."""
    fragments: int | None = None
    """With `patch_px`: so many patches a side, one from the middle of each cell of a grid over the picture, spliced to
    one square. Native detail of the whole picture at the size of a small one (Wu et al. 2022, FAST-VQA, 3.1)."""
    gray: bool = False
    """One luma channel instead of RGB."""
    pair: bool = False
    """Also the frame that follows each one: what optical flow needs."""
    most: int | None = None
    """At most so many of them, spread evenly over the clip, the first and the last included. Not for pairs."""


@dataclass(frozen=True)
class FrameBatch:
    """What one FrameSpec shows of one clip; `n` is at least 1, but 0 for a pair spec over a clip of one frame."""

    images: npt.NDArray[np.uint8]
    """(n, height, width, 3) RGB, or (n, height, width) when the spec is gray."""
    times_s: npt.NDArray[np.float64]
    """(n,) seconds from the start of the clip."""
    frames: npt.NDArray[np.int64]
    """(n,) frame indices in the video."""
    following: npt.NDArray[np.uint8] | None = None
    """For a pair spec: the next frame of each, same shape as `images`."""
    step_s: npt.NDArray[np.float64] | None = None
    """For a pair spec: (n,) seconds between the two frames of each pair."""


@dataclass(frozen=True)
class Stage(ABC):
    """Adds columns to clips. A frozen dataclass: its fields are its whole configuration."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Bumped when the same clip would get other values."""
    columns: ClassVar[pa.Schema]
    frames: ClassVar[FrameSpec | None] = None
    """What it looks at, if anything."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Names of the stages whose columns it reads through `clip.upstream`."""
    weights: ClassVar[tuple[str, ...]] = ()
    """Names in weights.toml of the models it loads."""
    gpus: ClassVar[float] = 0
    """Share of a GPU that one worker of this stage holds."""

    @property
    def window(self) -> int:
        """Clips that it is at together; 1: it gets them one by one."""
        return BATCH if self.gpus else 1

    @property
    def streams(self) -> bool:
        """Whether it has workers of its own and `measure_stream` is asked; else it shares frames with other stages."""
        return self.window > 1 or self.gpus > 0

    @property
    def decoders(self) -> int:
        """Threads that make frames for one worker of a stage that streams, each with a decoding process of its own; on
        Ray each is a CPU. 0: as many as the machine has CPUs left (pipeline.stream)."""
        return 1

    @property
    def python(self) -> str:
        """The interpreter of the environment that its workers need on Ray; empty: the one of the command."""
        return ""

    def load(self) -> Any:
        """Loads models, once per worker; handed back as `state`. Heavy imports live here.

        Raises WeightError: a model is not to be had, or not to be trusted.
        """
        return None

    def pinned(self) -> Self:
        """The stage bound to the very files that it finds here: a worker that finds others must refuse them."""
        return self

    def ready(self, here: bool) -> None:
        """Raises WeightError where `load` would have to fail: asked before a run begins. `here`: on this machine."""
        return None

    @abstractmethod
    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        """The columns of one clip. Pure: the same clip gives the same answer. Raises ClipError."""

    def measure_batch(
        self, state: Any, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Row | ClipError]:
        """One answer a clip, in order; override it to fill a GPU."""
        answers: list[Row | ClipError] = []
        for clip, batch in zip(clips, frames, strict=True):
            try:
                answers.append(checked(self.columns, self.measure(state, clip, batch)))
            except ClipError as error:
                answers.append(error)
        return answers

    def measure_stream(
        self, state: Any, clips: Iterable[tuple[Clip, FrameBatch | None]]
    ) -> Iterator[tuple[str, Row | ClipError]]:
        """The id and the answer of each clip, in any order, each as it is known; by default in full batches.

        Override it to keep an engine at work: `clips` makes the next frames while this works. It may raise StageDied.
        Any other exception: the clips taken and not answered are tried one by one to find the one at fault.
        """
        waiting = iter(clips)
        while batch := list(islice(waiting, self.window)):
            answers = self.measure_batch(state, [clip for clip, _ in batch], [shown for _, shown in batch])
            yield from zip((clip.clip_id for clip, _ in batch), answers, strict=True)

    def lacks(self, row: Row) -> ClipError | None:
        """What a row that did not fail lacks all the same, for a retry to ask for; None: nothing.

        The row stands. On a retry `clip.upstream` has, under the stage's own name, what is known of the clip.
        """
        return None

    def fallen(self, name: str, known: Row) -> Row:
        """The columns that are known where `name`, a stage that this one requires, has failed; `known` of that one."""
        return {}

    def tally(self, state: Any) -> Mapping[str, float]:
        """What its engine has done since it was loaded (docs/engines.md): `answers`, `output_tokens`, `idle_s`, ..."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The fields by name, as plain JSON values."""
        return dataclasses.asdict(self)

    def fingerprint(self, inputs: Mapping[str, str]) -> str:
        """8 hex digits over name, version, settings and `inputs` (weights' digests, upstream fingerprints)."""
        return fingerprint(self.name, self.version, self.settings(), dict(inputs))


def fingerprint(*parts: Any) -> str:
    """8 hex digits over any JSON values: equal parts, equal fingerprint."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def checked(columns: pa.Schema, row: Row) -> Row:
    """The row, once it has exactly the stage's columns and no NaN or infinity among them, in lists and structs too.

    Raises TypeError for other columns, and ClipError (NOT_FINITE) for NaN or infinity.
    """
    if set(row) != set(columns.names):
        raise TypeError(f"the stage's columns are {columns.names}, its row has {sorted(row)}")
    for name, value in row.items():
        for number in _floats(value):
            if not math.isfinite(number):
                raise ClipError(f"{name} is {number}", Reason.NOT_FINITE)
    return row


def _floats(value: Any) -> Iterator[float]:
    """The fractional numbers in a value of a row, Python's and NumPy's, however deep they lie."""
    if isinstance(value, float | np.floating):
        yield float(value)
    elif isinstance(value, np.ndarray):
        yield from value[~np.isfinite(value)].tolist() if value.dtype.kind == "f" else ()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _floats(item)
