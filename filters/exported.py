"""A scorer exported to ONNX: a network and a page that says what it wants to be shown. Nothing of its code is run.

MODEL/model.onnx        one input, one output; the mean of the output is the score
MODEL/scorer.toml       label = "koala-vtss"        # what the engine's column says
                        layout = "NCTHW"            # of the input: NCTHW or NTCHW for clips, NCHW for pictures
                        frames = 32                 # of a clip at once; 1 with NCHW
                        side_px = 224               # every picture is scaled to this square
                        mean = [123.7, 116.3, 103.5]
                        std = [58.4, 57.1, 57.4]    # levels of 0 to 255
                        scale = 1.0                 # score = scale x output + offset, so that higher is better
                        offset = 0.0
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from filters.base import Rgb, one_thread_cv2
from filters.checkpoint import files_of
from pipeline.weights import WeightError

Clip = npt.NDArray[np.uint8]
"""(frames, height, width, 3) RGB."""
WHAT = "put an ONNX export there as model.onnx, and scorer.toml beside it (docs/filters.md, Engines)"
AXES = {"NCTHW": (0, 4, 1, 2, 3), "NTCHW": (0, 1, 4, 2, 3), "NCHW": (0, 4, 1, 2, 3)}


class Page(BaseModel):
    """scorer.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    layout: Literal["NCTHW", "NTCHW", "NCHW"]
    frames: int = Field(ge=1, le=1024)
    side_px: int = Field(ge=8, le=4096)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 1.0
    offset: float = 0.0

    @model_validator(mode="after")
    def _one_picture(self) -> Page:
        if (self.layout == "NCHW") != (self.frames == 1):
            raise ValueError("frames is 1 with layout NCHW, and only then")
        if not all(level > 0 for level in self.std):
            raise ValueError("std must be above 0")
        return self


@dataclass(frozen=True)
class Exported:
    """An exported network that is ready to score."""

    page: Page
    session: Any

    @property
    def label(self) -> str:
        return self.page.label

    def score(self, pictures: Sequence[Rgb]) -> list[float | None]:
        """See PictureScorer: every picture has a score."""
        return [*self.score_clips([picture[None] for picture in pictures])]

    def score_clips(self, clips: Sequence[Clip]) -> list[float]:
        """One score a clip, its frames spread evenly over what the network takes; one forward pass for them all."""
        shown = np.stack([self._shown(clip) for clip in clips]).transpose(AXES[self.page.layout])
        if self.page.layout == "NCHW":
            shown = shown[:, :, 0]
        name = self.session.get_inputs()[0].name
        answer = self.session.run(None, {name: np.ascontiguousarray(shown)})[0]
        means = np.asarray(answer, np.float64).reshape(len(clips), -1).mean(axis=1)
        return [float(score) for score in means * self.page.scale + self.page.offset]

    def _shown(self, clip: Clip) -> npt.NDArray[np.float32]:
        """(frames, side, side, 3), normalised."""
        cv2 = one_thread_cv2()
        chosen = [position * len(clip) // self.page.frames for position in range(self.page.frames)]
        size = (self.page.side_px, self.page.side_px)
        scaled = {i: cv2.resize(clip[i], size, interpolation=cv2.INTER_AREA) for i in dict.fromkeys(chosen)}
        mean, std = (np.asarray(level, np.float32) for level in (self.page.mean, self.page.std))
        levels: npt.NDArray[np.float32] = np.stack([scaled[i] for i in chosen]).astype(np.float32)
        return (levels - mean) / std


def load_exported(model: Path, device: str) -> Exported:
    """The scorer in a folder. MissingWeight, WeightError: a file is missing, or is not what it should be."""
    import onnxruntime

    names = {path.name for path in files_of(model, WHAT)}
    if not {"model.onnx", "scorer.toml"} <= names:
        raise WeightError(f"'{model}' is not complete: {WHAT}")
    try:
        page = Page.model_validate(tomllib.loads((model / "scorer.toml").read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise WeightError(f"'{model}/scorer.toml': {_sentence(error)}") from None
    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise WeightError('onnxruntime has no CUDA here: install onnxruntime-gpu, or set device = "cpu"')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    faults = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        session = onnxruntime.InferenceSession(str(model / "model.onnx"), options, providers=[provider])
    except (
        faults.Fail,
        faults.InvalidProtobuf,
        faults.InvalidGraph,
        faults.NoSuchFile,
        faults.NotImplemented,
    ) as error:
        raise WeightError(f"'{model}/model.onnx' cannot be loaded: {_sentence(error)}") from None
    return Exported(page, session)


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
    return str(error).strip().splitlines()[0][:200]
