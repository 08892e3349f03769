"""What stages share whose score may come from a model that the user brings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from filters.scorers.checkpoint import Model, check_device, checked_sha256, sha256_of
from pipeline.clip import Clip
from pipeline.stage import ClipError, FrameBatch, Row, Stage, checked
from pipeline.weights import MissingWeight

LEFT_OUT = ("model", "model_sha256", "device")
WANTED = {
    "laion": "a folder with openai/clip-vit-large-patch14's config.json and model.safetensors, and LAION's"
    " sac+logos+ava1-l14-linearMSE.pth as head.pth",
    "dover": "the authors' DOVER.pth (github.com/VQAssessment/DOVER, releases)",
    "fast_vqa": "the authors' FAST_VQA_B_1_4.pth (github.com/VQAssessment/FAST-VQA-and-FasterVQA, releases)",
    "pyiqa": "the metric's weights, as github.com/chaofengc/IQA-PyTorch lists them",
    "onnx": "a folder with an exported network as model.onnx, and scorer.toml (docs/filters.md, Engines)",
}
"""What each engine's `model` is."""


@dataclass(frozen=True)
class EngineStage(Stage):
    """A stage of one score whose `engine` is the embedded one, or one that needs a model.

    `columns` are the score and the engine's label, in this order; `load` gives a ClipScorer.
    """

    embedded: ClassVar[str]
    """The engine that needs no model."""
    wanted: ClassVar[Mapping[str, str]] = WANTED
    """What each engine's `model` is."""

    engine: str = ""
    model: str = field(default="", kw_only=True)
    """File or folder of the engine's model. Not a setting: a model counts by its digest."""
    model_sha256: str = field(default="", kw_only=True)
    """Its pinned digest; empty takes any, and the engine's column says which."""
    device: Literal["cpu", "cuda"] = field(default="cpu", kw_only=True)
    """Where the model runs."""

    @property
    def needs_model(self) -> bool:
        return self.engine != self.embedded

    @property
    def gpus(self) -> float:  # type: ignore[override]  # by engine and device
        return 1.0 if self.needs_model and self.device == "cuda" else 0.0

    def settings(self) -> dict[str, Any]:
        own = {name: value for name, value in super().settings().items() if name not in LEFT_OUT}
        return own | ({"model_sha256": self._digest()} if self.needs_model else {})

    def _digest(self) -> str:
        """The pin, so that what was measured can be looked at where the model is not, or that of the files."""
        return self.model_sha256.lower() or sha256_of(self._path(), self.wanted[self.engine])

    def _path(self) -> Path:
        if not self.model:
            key = f"stage.{self.name}.model"
            raise MissingWeight(f'engine = "{self.engine}" needs {key}: {self.wanted[self.engine]}')
        return Path(self.model)

    def brought(self) -> Model:
        """The model's files and their digest. MissingWeight, WrongDigest: not there, or not the pinned ones."""
        path = self._path()
        return Model(path, checked_sha256(path, self.model_sha256, self.wanted[self.engine]), self.device)

    def pinned(self) -> Self:
        """With the model's digest for its pin, so that no worker takes another file of the same name."""
        return replace(self, model_sha256=self._digest()) if self.needs_model else self

    def ready(self, here: bool) -> None:
        """Raises WeightError where `load` would: it is tried on the CPU, for the GPU may be in another machine."""
        if self.needs_model:
            if here:
                check_device(self.device)
            replace(self, device="cpu").load()

    def rows(self, state: Any, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]) -> list[Row]:
        """One row a clip, unchecked, from one call of the scorer."""
        scores = state.score(clips, frames)
        return [
            dict(zip(self.columns.names, (score, state.label), strict=True))
            for score, _ in zip(scores, clips, strict=True)
        ]

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        (row,) = self.rows(state, [clip], [frames])
        return row

    def measure_batch(
        self, state: Any, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Row | ClipError]:
        """With a model, all clips in one call of the scorer: they fill a GPU."""
        if not self.needs_model:
            return super().measure_batch(state, clips, frames)
        return [self._answer(row) for row in self.rows(state, clips, frames)]

    def _answer(self, row: Row) -> Row | ClipError:
        try:
            return checked(self.columns, row)
        except ClipError as error:
            return error
