"""How pleasing the pictures of a clip may look: by rules of thumb, or as a model has learned it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from filters.scorers.appeal import RulesScorer
from filters.scorers.engines import EngineStage
from filters.scorers.exported import exported_pictures
from filters.scorers.laion import laion_aesthetic
from filters.scorers.scorer import ClipScorer, FewPictures
from filters.scorers.torch_scorers import WHOLE, aesthetic_dover
from pipeline.frames import VIEW
from pipeline.stage import FrameSpec


@dataclass(frozen=True)
class Aesthetic(EngineStage):
    """Mean aesthetic score of a few frames, higher is better; `rules` gives None where all are flat.

    `rules`, 0 to 1, is a weak heuristic and no learned model: the geometric mean of four values. Colour rises from 0.5
    by M / (45 + M) / 2 of Hasler and Suesstrunk's colourfulness M (2003); contrast is c / (0.2 + c) of RMS contrast c;
    exposure 4 m (1 - m) of mean luma m; composition r / (1 + r), r being how much more saliency (spectral residual, Hou
    and Zhang 2007) lies near the crossings of the thirds than an even spread would put there.

    `laion`, 1 to 10, is LAION's improved aesthetic predictor (2022) on CLIP; `onnx` any exported network for pictures;
    `dover` the aesthetic branch of DOVER (Wu et al. 2023) on 32 frames of the whole clip, about 0 to 0.16.
    """

    name = "aesthetic"
    columns = pa.schema(
        [pa.field("aesthetic_score", pa.float64()), pa.field("aesthetic_engine", pa.string())]
    )
    embedded = "rules"

    engine: Literal["rules", "laion", "dover", "onnx"] = "rules"
    every_s: float = 2.0
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many; `dover` heeds neither."""

    @property
    def frames(self) -> FrameSpec:  # type: ignore[override]  # by engine
        return WHOLE if self.engine == "dover" else VIEW

    def load(self) -> ClipScorer:
        if self.engine == "dover":
            return aesthetic_dover(self.brought())
        if self.engine == "rules":
            return FewPictures(RulesScorer(), self.every_s, self.most_frames)
        learned = laion_aesthetic if self.engine == "laion" else exported_pictures
        return FewPictures(learned(self.brought()), self.every_s, self.most_frames)
