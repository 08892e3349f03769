"""Engines that read the text of a picture, all behind one method: RapidOCR's packaged models, or PaddleOCR."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from filters.base import Rgb, one_thread_cv2
from pipeline.weights import MissingWeight

Corners = npt.NDArray[np.float32]
TALL = 1.5
"""A box so much taller than wide holds a vertical line: it is turned before it is read."""


@dataclass(frozen=True)
class Line:
    """One line of text: corners (4, 2) in pixels, clockwise from its top left, and the recogniser's score."""

    corners: Corners
    text: str | None
    """None: detected, and left unread because enough larger ones were."""
    score: float

    @property
    def bounds_px(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the upright box around it."""
        (x0, y0), (x1, y1) = self.corners.min(axis=0).tolist(), self.corners.max(axis=0).tolist()
        return x0, y0, x1, y1

    @property
    def letters(self) -> int:
        """Letters and digits of the text."""
        return sum(map(str.isalnum, self.text or ""))

    @property
    def area_px(self) -> float:
        """Area between the corners (the shoelace formula)."""
        x, y = self.corners.T
        return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


@dataclass(frozen=True)
class Wanted:
    """Which of the detected boxes count: those between two heights; the `most` largest of them are read."""

    min_height_px: float
    max_height_px: float
    most: int

    def of(self, boxes: Sequence[Corners]) -> tuple[list[int], list[int]]:
        """Indices of the boxes to read and of those to leave unread, both in their order."""
        fits = [i for i, box in enumerate(boxes) if self.min_height_px <= _height(box) <= self.max_height_px]
        by_size = sorted(fits, key=lambda i: (-_height(boxes[i]) * _width(boxes[i]), i))
        return sorted(by_size[: self.most]), sorted(by_size[self.most :])


class OcrEngine(Protocol):
    """What reads text. `label` names the engine and its version."""

    @property
    def label(self) -> str: ...

    def read(self, image: Rgb, wanted: Wanted) -> list[Line]:
        """The wanted lines of an RGB picture, in reading order, and after them those left unread."""
        ...


class RapidEngine:
    """RapidOCR on onnxruntime, one thread: detection first, recognition of the boxes that are large enough."""

    def __init__(self, det: Path, rec: Path, side_px: int) -> None:
        from importlib.metadata import version

        from rapidocr import RapidOCR

        self._cv2 = one_thread_cv2()
        self._label = f"rapidocr/{version('rapidocr')}"
        self._ocr = RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.use_cls": False,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,
                "Det.limit_type": "max",
                "Det.limit_side_len": side_px,
                "Det.model_path": str(det),
                "Rec.model_path": str(rec),
            }
        )

    @property
    def label(self) -> str:
        return self._label

    def read(self, image: Rgb, wanted: Wanted) -> list[Line]:
        bgr = np.ascontiguousarray(image[..., ::-1])
        found = self._ocr(bgr, use_det=True, use_rec=False).boxes
        boxes = [] if found is None else [np.asarray(box, np.float32) for box in found]
        read, unread = wanted.of(boxes)
        return [self._line(bgr, boxes[i]) for i in read] + [Line(boxes[i], None, 0.0) for i in unread]

    def _line(self, bgr: Rgb, corners: Corners) -> Line:
        read = self._ocr(_cut(self._cv2, bgr, corners), use_det=False, use_rec=True)
        return Line(corners, (read.txts or ("",))[0], float((read.scores or (0.0,))[0]))


class PaddleEngine:
    """PaddleOCR 3: `predict` is its `PaddleOCR(...).predict`, which gives one mapping a picture."""

    def __init__(self, predict: Any, label: str) -> None:
        self._predict = predict
        self._label = label

    @property
    def label(self) -> str:
        return self._label

    def read(self, image: Rgb, wanted: Wanted) -> list[Line]:
        (result,) = self._predict(np.ascontiguousarray(image[..., ::-1]))
        boxes = [np.asarray(corners, np.float32) for corners in result["rec_polys"]]
        texts, scores = result["rec_texts"], result["rec_scores"]
        read, unread = wanted.of(boxes)
        lines = [Line(boxes[i], str(texts[i]), float(scores[i])) for i in read]
        return lines + [Line(boxes[i], None, 0.0) for i in unread]


def load_paddle(models: Path) -> PaddleEngine:
    """PaddleOCR from local model folders `models`/det and `models`/rec: nothing is fetched.

    Raises MissingWeight when a folder is missing and ImportError when the `paddle` extra is not installed.
    """
    from importlib.metadata import version

    _paddle_files(models)
    from paddleocr import PaddleOCR

    ocr = PaddleOCR(
        text_detection_model_name=paddle_model_name(models / "det"),
        text_recognition_model_name=paddle_model_name(models / "rec"),
        text_detection_model_dir=str(models / "det"),
        text_recognition_model_dir=str(models / "rec"),
        use_doc_orientation_classify=False,
        use_doc_unwarping=False,
        use_textline_orientation=False,
        enable_mkldnn=False,
        cpu_threads=1,
    )
    return PaddleEngine(ocr.predict, f"paddleocr/{version('paddleocr')}")


def models_sha256(models: Path) -> str:
    """Hex digest over the names and bytes of PaddleOCR's model files: what tells two sets of models apart."""
    digest = hashlib.sha256()
    for path in _paddle_files(models):
        digest.update(f"{path.relative_to(models)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _paddle_files(models: Path) -> list[Path]:
    folders = models / "det", models / "rec"
    for folder in folders:
        if not (folder / "inference.yml").is_file():
            raise MissingWeight(
                f"no PaddleOCR model in {folder}: put an exported one (inference.yml ...) there"
            )
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def paddle_model_name(folder: Path) -> str:
    """The model's name as its export states it; PaddleOCR refuses a folder under another name."""
    import yaml

    name = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))["Global"]["model_name"]
    return str(name)


def _sides(corners: Corners) -> tuple[float, float]:
    """Lengths of the top and of the left side of a box, in pixels."""
    return float(np.linalg.norm(corners[1] - corners[0])), float(np.linalg.norm(corners[3] - corners[0]))


def _height(corners: Corners) -> float:
    """Height of the line in a box, in pixels: its shorter side, for lines may be vertical."""
    return min(_sides(corners))


def _width(corners: Corners) -> float:
    return max(_sides(corners))


def _cut(cv2: Any, image: Rgb, corners: Corners) -> Rgb:
    """The box turned upright."""
    width, height = (max(1, round(side)) for side in _sides(corners))
    square = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, square)
    cut: Rgb = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.ascontiguousarray(np.rot90(cut)) if height >= TALL * width else cut
