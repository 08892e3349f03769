"""On-screen text: how much of the picture it covers, where, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from filters.base import ModelStage, Rgb, looked_at
from filters.detectors.ocr import Line, OcrEngine, RapidEngine, Wanted, load_paddle, models_sha256
from filters.signals.tracks import COLUMNS, reading, told
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row


@dataclass(frozen=True)
class Text(ModelStage):
    """Lines that were detected and read on a few frames; a box whose content cannot be read is no text.

    `text_area_ratio` is the largest share of a frame that its lines cover, `text_area_mean_ratio` the mean over the
    frames of `text_frames`, `text_box_count` the most lines on one frame; `text` is a JSON list of the different lines,
    `text_tracks` the lines over time, those that say the same in the same place as one.
    """

    name = "text"
    version = 3
    columns = pa.schema(
        {
            "text_area_ratio": pa.float64(),
            "text_area_mean_ratio": pa.float64(),
            **COLUMNS,
            "text_engine": pa.string(),
        }
    )
    frames = VIEW
    weights = ("ocr.det", "ocr.rec")

    engine: Literal["rapidocr", "paddle"] = "rapidocr"
    paddle_models: str = ""
    """Folder with PaddleOCR's exported models in `det` and `rec`, for engine = paddle."""
    every_s: float = 4.0
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many: reading is the dearest of the filters."""
    most_lines: int = 8
    """Largest lines of a frame that are read; a screen full of text is one long before its last line."""
    side_px: int = 512
    """Longer side of what the detector sees; frames are never enlarged. At 640 it finds more lines below 8 pixels,
    mostly misread, for a third more time."""
    min_height_ratio: float = 0.02
    """Height of a line, as a share of the frame's short side, from which it is read: 7 of 360 pixels."""
    max_height_ratio: float = 0.5
    """Height of a line, as a share of the frame's, above which it is none: detectors box whole pictures."""
    score_min: float = 0.5
    """The recogniser's score from which a line counts: RapidOCR's own."""
    min_chars: int = 2
    """Letters and digits of a line from which it counts: detectors take round things for one letter."""

    def settings(self) -> dict[str, Any]:
        paddle = {"paddle_sha256": models_sha256(Path(self.paddle_models))} if self.engine == "paddle" else {}
        return {name: value for name, value in super().settings().items() if name != "paddle_models"} | paddle

    def load(self) -> OcrEngine:
        if self.engine == "paddle":
            return load_paddle(Path(self.paddle_models))
        return RapidEngine(self.weight("ocr.det"), self.weight("ocr.rec"), self.side_px)

    def measure(self, state: OcrEngine, clip: Clip, frames: FrameBatch | None) -> Row:
        pictures = looked_at(frames, clip, self.every_s, self.most_frames)
        areas, readings = [], []
        for frame, image in pictures:
            lines, area_px = self._lines(state, image)
            areas.append(min(1.0, area_px / image[..., 0].size))
            readings += [reading(frame, line, image) for line in lines]
        return {
            "text_area_ratio": max(areas),
            "text_area_mean_ratio": float(np.mean(areas)),
            "text_engine": state.label,
            **told(readings, [frame for frame, _ in pictures]),
        }

    def _lines(self, engine: OcrEngine, image: Rgb) -> tuple[list[Line], float]:
        """The lines that count and the pixels of all text: of unread boxes, as large a part is text as of the read."""
        lowest, highest = self.min_height_ratio * min(image.shape[:2]), self.max_height_ratio * len(image)
        found = engine.read(image, Wanted(lowest, highest, self.most_lines))
        lines = [one for one in found if one.score >= self.score_min and one.letters >= self.min_chars]
        unread = [one for one in found if one.text is None]
        sure = len(lines) / max(1, len(found) - len(unread))
        return lines, sum(one.area_px for one in lines) + sure * sum(one.area_px for one in unread)
