"""How good single pictures of a clip look, without a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from filters.base import ModelStage
from filters.scorers.brisque import Brisque, BrisqueScorer
from filters.scorers.engines import EngineStage
from filters.scorers.exported import exported_pictures
from filters.scorers.pyiqa_engine import pyiqa_metric
from filters.scorers.scorer import FewPictures, PictureScorer
from pipeline.clip import Clip
from pipeline.frames import DETAIL
from pipeline.stage import FrameBatch, Row


@dataclass(frozen=True)
class ImageQuality(EngineStage, ModelStage):
    """Mean quality of a few frames' native-size patches, higher is better; `brisque` gives None without contrast.

    `brisque` gives 100 less BRISQUE (Mittal et al. 2012): about 100 for a pristine photograph and 0 for a ruined one,
    not clipped, so that it may leave that range. `pyiqa` is MUSIQ (Ke et al. 2021), 0 to 100, or TOPIQ (Chen et al.
    2024), 0 to 1, in pyiqa, which is for noncommercial use alone; `onnx` any exported network for pictures.
    `iqa_frame_scores` are those of the frames that have one, in order.
    """

    name = "image_quality"
    columns = pa.schema(
        [
            pa.field("iqa_score", pa.float64()),
            pa.field("iqa_frame_scores", pa.list_(pa.float64())),
            pa.field("iqa_engine", pa.string()),
        ]
    )
    frames = DETAIL
    embedded = "brisque"

    engine: Literal["brisque", "pyiqa", "onnx"] = "brisque"
    metric: Literal["musiq", "topiq_nr"] = "musiq"
    """Which one of pyiqa's, for engine = pyiqa."""
    every_s: float = 2.0
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many."""

    @property
    def weights(self) -> tuple[str, ...]:  # type: ignore[override]  # by engine
        return ("iqa.brisque",) if self.engine == "brisque" else ()

    def settings(self) -> dict[str, Any]:
        left_out = () if self.engine == "pyiqa" else ("metric",)
        return {name: value for name, value in super().settings().items() if name not in left_out}

    def load(self) -> PictureScorer:
        if self.engine == "brisque":
            return BrisqueScorer(Brisque(self.weight("iqa.brisque")))
        return (
            pyiqa_metric(self.brought(), self.metric)
            if self.engine == "pyiqa"
            else exported_pictures(self.brought())
        )

    def rows(
        self, state: PictureScorer, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Row]:
        each = FewPictures(state, self.every_s, self.most_frames).each(clips, frames)
        return [
            {
                "iqa_score": float(np.mean(scores)) if scores else None,
                "iqa_frame_scores": scores,
                "iqa_engine": state.label,
            }
            for scores in each
        ]
