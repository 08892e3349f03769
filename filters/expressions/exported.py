"""A network of expressions that the user brings: model.onnx with one input and one output, and expression.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.base import Rgb, one_thread_cv2
from filters.expressions.crop import face_square
from filters.expressions.fer import DROP, EMOTIONS
from filters.expressions.page import Page, read_page
from filters.scorers.checkpoint import Model
from filters.scorers.exported import faults, open_session, sentence
from pipeline.weights import WeightError


@dataclass(frozen=True)
class ExportedExpressions:
    """An ExpressionEngine on an exported network, asked for each face and its mirror image."""

    page: Page
    session: Any
    label: str

    def tell(self, image: Rgb, face: Mapping[str, Any]) -> npt.NDArray[np.float32]:
        """See ExpressionEngine."""
        square = face_square(image, face, self.page.side_px, self.page.face_scale, DROP)
        both = [self.probabilities(one) for one in (square, square[:, ::-1])]
        mean: npt.NDArray[np.float32] = np.mean(both, axis=0, dtype=np.float32)
        return mean

    def probabilities(self, square: Rgb) -> npt.NDArray[np.float32]:
        """(7,) of EMOTIONS for one square of `side_px`; what goes to other labels is missing from their sum."""
        if self.page.channels == 1:
            cv2 = one_thread_cv2()
            square = cv2.cvtColor(np.ascontiguousarray(square), cv2.COLOR_RGB2GRAY)[..., None]
        levels = (square.astype(np.float32) - np.float32(self.page.mean)) / np.float32(self.page.std)
        tensor = levels.transpose(2, 0, 1) if self.page.layout == "NCHW" else levels
        name = self.session.get_inputs()[0].name
        raw = self.session.run(None, {name: np.ascontiguousarray(tensor[None])})[0]
        values = np.asarray(raw, np.float32).ravel()
        if len(values) != len(self.page.labels):
            raise ValueError(
                f"the network gives {len(values)} values, expression.toml {len(self.page.labels)} labels"
            )
        if self.page.softmax:
            values = np.exp(values - values.max())
            values = values / values.sum()
        told: npt.NDArray[np.float32] = values[[self.page.labels.index(name) for name in EMOTIONS]]
        return told


def load_expressions(model: Model) -> ExportedExpressions:
    """The network in a folder, tried on a black square. WeightError: a file is missing, or is not what it should be."""
    folder = model.path
    if missing := [name for name in ("model.onnx", "expression.toml") if not (folder / name).is_file()]:
        raise WeightError(
            f"'{folder}' wants {' and '.join(missing)}: docs/captions.md, Expression, says what is in them"
        )
    page = read_page(folder / "expression.toml")
    session = open_session(folder / "model.onnx", model.device)
    engine = ExportedExpressions(page, session, model.label(f"onnx/{page.label}"))
    caught: tuple[type[Exception], ...] = (*faults(), ValueError)
    try:
        ends = len(session.get_inputs()), len(session.get_outputs())
        if ends != (1, 1):
            raise ValueError(f"it has {ends[0]} inputs and {ends[1]} outputs, not one of each")
        engine.probabilities(np.zeros((page.side_px, page.side_px, 3), np.uint8))
    except caught as error:
        raise WeightError(
            f"'{folder}/model.onnx' does not take what expression.toml says: {sentence(error)}"
        ) from None
    return engine
