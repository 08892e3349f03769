"""A scorer exported to ONNX: model.onnx with one input and one output, and scorer.toml beside it (scorer_page.py).

Nothing of its code is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Rgb, one_thread_cv2, shown
from filters.scorers.checkpoint import Model
from filters.scorers.scorer_page import Page, read_page
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, FrameSpec
from pipeline.weights import WeightError

Images = npt.NDArray[np.uint8]
"""(frames, height, width, 3) RGB."""
SPREAD = FrameSpec(every_s=0.125, short_side_px=256)
"""What a network for clips chooses its frames from."""
AT_ONCE_PX = 32 * 32 * 224 * 224
"""Pixels that go through a network at once, a clip at least: a bound on memory."""
AXES = {"NCTHW": (0, 4, 1, 2, 3), "NTCHW": (0, 1, 4, 2, 3), "NCHW": (0, 4, 1, 2, 3)}


@dataclass(frozen=True)
class Exported:
    """An exported network that is ready to score: a ClipScorer or a PictureScorer, as its layout says."""

    page: Page
    session: Any
    label: str
    at_once_px: int = AT_ONCE_PX

    def score_pictures(self, pictures: Sequence[Rgb]) -> list[float]:
        """One score a picture."""
        return self._scores([picture[None] for picture in pictures])

    def score_clips(self, frames: Sequence[FrameBatch | None]) -> list[float]:
        """One score a clip, its frames spread evenly over what the network takes."""
        return self._scores([shown(batch).images for batch in frames])

    def _scores(self, clips: Sequence[Images]) -> list[float]:
        step = max(1, self.at_once_px // (self.page.frames * self.page.side_px**2))
        return [
            score for start in range(0, len(clips), step) for score in self._step(clips[start : start + step])
        ]

    def _step(self, clips: Sequence[Images]) -> list[float]:
        pictures = np.stack([self._shown(clip) for clip in clips]).transpose(AXES[self.page.layout])
        if self.page.layout == "NCHW":
            pictures = pictures[:, :, 0]
        name = self.session.get_inputs()[0].name
        answer = np.asarray(self.session.run(None, {name: np.ascontiguousarray(pictures)})[0], np.float64)
        if answer.shape[:1] != (len(clips),):
            raise ValueError(f"the network gives an answer of shape {answer.shape} for {len(clips)}")
        means = answer.reshape(len(clips), -1).mean(axis=1)
        return [float(score) for score in means * self.page.scale + self.page.offset]

    def _shown(self, clip: Images) -> npt.NDArray[np.float32]:
        """(frames, side, side, 3), normalised."""
        cv2 = one_thread_cv2()
        chosen = [position * len(clip) // self.page.frames for position in range(self.page.frames)]
        size = (self.page.side_px, self.page.side_px)
        scaled = {i: cv2.resize(clip[i], size, interpolation=cv2.INTER_AREA) for i in dict.fromkeys(chosen)}
        mean, std = (np.asarray(level, np.float32) for level in (self.page.mean, self.page.std))
        levels: npt.NDArray[np.float32] = np.stack([scaled[i] for i in chosen]).astype(np.float32)
        return (levels - mean) / std


@dataclass(frozen=True)
class ExportedPictures:
    """A PictureScorer: every picture has a score."""

    network: Exported

    @property
    def label(self) -> str:
        return self.network.label

    def score(self, pictures: Sequence[Rgb]) -> list[float | None]:
        """See PictureScorer."""
        return [*self.network.score_pictures(pictures)]


@dataclass(frozen=True)
class ExportedClips:
    """A ClipScorer: every clip has a score."""

    network: Exported

    @property
    def label(self) -> str:
        return self.network.label

    def score(self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]) -> list[float | None]:
        """See ClipScorer."""
        return [*self.network.score_clips(frames)]


def exported_pictures(model: Model) -> ExportedPictures:
    """A network that scores pictures. WeightError: as `load_exported`, or its layout is one for clips."""
    network = load_exported(model)
    if network.page.layout != "NCHW":
        raise WeightError(
            f"'{model.path}' scores clips ({network.page.layout}); this stage looks at pictures, NCHW"
        )
    return ExportedPictures(network)


def exported_clips(model: Model) -> ExportedClips:
    """A network that scores clips. WeightError: as `load_exported`, or its layout is the one for pictures."""
    network = load_exported(model)
    if network.page.layout == "NCHW":
        raise WeightError(f"'{model.path}' scores pictures (NCHW); this stage looks at clips, NCTHW or NTCHW")
    return ExportedClips(network)


def load_exported(model: Model) -> Exported:
    """The scorer in a folder, tried on two black clips. WeightError: a file is missing, or is not what it should be."""
    folder = model.path
    if missing := [name for name in ("model.onnx", "scorer.toml") if not (folder / name).is_file()]:
        raise WeightError(
            f"'{folder}' wants {' and '.join(missing)}: docs/filters.md, Engines, says what is in them"
        )
    page = read_page(folder / "scorer.toml")
    network = Exported(
        page, open_session(folder / "model.onnx", model.device), model.label(f"onnx/{page.label}")
    )
    _try(network, folder)
    return network


def open_session(path: Path, device: str) -> Any:
    """An onnxruntime session of one thread on a device, "cpu" or "cuda". WeightError: it cannot be had, and why."""
    import onnxruntime

    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise WeightError('onnxruntime has no CUDA here: install onnxruntime-gpu, or set device = "cpu"')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except faults() as error:
        raise WeightError(f"'{path}' cannot be loaded: {sentence(error)}") from None
    if provider not in session.get_providers():
        raise WeightError("onnxruntime could not use the GPU: its CUDA libraries are missing")
    return session


def _try(network: Exported, folder: Path) -> None:
    """WeightError: the network does not take two at once, or gives something else than a score for each."""
    black = np.zeros((1, 16, 16, 3), np.uint8)
    caught: tuple[type[Exception], ...] = (*faults(), ValueError)
    try:
        ends = len(network.session.get_inputs()), len(network.session.get_outputs())
        if ends != (1, 1):
            raise ValueError(f"it has {ends[0]} inputs and {ends[1]} outputs, not one of each")
        network._step([black, black])
    except caught as error:
        raise WeightError(
            f"'{folder}/model.onnx' does not take what scorer.toml says, two at once: {sentence(error)}"
        ) from None


def faults() -> tuple[type[Exception], ...]:
    """What onnxruntime raises."""
    from onnxruntime.capi import onnxruntime_pybind11_state as found

    return (
        found.Fail,
        found.InvalidArgument,
        found.InvalidGraph,
        found.InvalidProtobuf,
        found.NoSuchFile,
        found.NotImplemented,
        found.RuntimeException,
    )


def sentence(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).strip().splitlines()[0][:200]
