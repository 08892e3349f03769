"""How good single pictures of a clip look, without a reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from filters.base import ModelStage, Rgb, looked_at, one_thread_cv2
from filters.brisque import Brisque
from filters.scorer import PictureScorer
from pipeline.clip import Clip
from pipeline.frames import DETAIL
from pipeline.stage import FrameBatch, Row

FLAT_LEVEL = 2.0
"""Standard deviation of luma levels below which a picture has nothing to judge. Ours."""


@dataclass(frozen=True)
class ImageQuality(ModelStage):
    """Mean quality of a few frames' native-size patches, higher is better; None where none of them has contrast.

    `brisque` gives 100 less BRISQUE (Mittal et al. 2012): about 100 for a pristine photograph and 0 for a ruined one,
    not clipped, so that it may leave that range. `iqa_frame_scores` are those of the frames that have one, in order.
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
    weights = ("iqa.brisque",)

    engine: Literal["brisque"] = "brisque"
    every_s: float = 2.0
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many."""

    def load(self) -> PictureScorer:
        return BrisqueScorer(Brisque(self.weight("iqa.brisque")))

    def measure(self, state: PictureScorer, clip: Clip, frames: FrameBatch | None) -> Row:
        pictures = [image for _, image in looked_at(frames, clip, self.every_s, self.most_frames)]
        scores = [score for score in state.score(pictures) if score is not None]
        return {
            "iqa_score": float(np.mean(scores)) if scores else None,
            "iqa_frame_scores": scores,
            "iqa_engine": state.label,
        }


class BrisqueScorer:
    """BRISQUE turned over: 100 less its score."""

    label = "brisque/1"

    def __init__(self, model: Brisque) -> None:
        self._cv2 = one_thread_cv2()
        self._model = model

    def score(self, pictures: Sequence[Rgb]) -> list[float | None]:
        """See PictureScorer."""
        return [self._picture(picture) for picture in pictures]

    def _picture(self, picture: Rgb) -> float | None:
        luma = self._cv2.cvtColor(picture, self._cv2.COLOR_RGB2GRAY)
        worse = self._model.score(luma) if luma.std() >= FLAT_LEVEL else None
        return None if worse is None else 100.0 - worse
