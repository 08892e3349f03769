"""MUSIQ and TOPIQ through pyiqa, which is licensed for noncommercial use alone (PolyForm-Noncommercial-1.0.0)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from filters.base import Rgb
from filters.scorers.checkpoint import Model, fill, placed, read_state
from pipeline.weights import WeightError

if TYPE_CHECKING:
    from torch import Tensor

METRICS: dict[str, dict[str, Any]] = {
    "musiq": {"pretrained": False},
    "topiq_nr": {"pretrained": False, "backbone_pretrain": False},
}
"""The metrics that can be had without a download, and what keeps pyiqa from one. Others fetch parts by themselves."""
PICTURES_A_STEP = 16
LICENCE = "pyiqa's licence is PolyForm-Noncommercial-1.0.0: no commercial use"


@dataclass(frozen=True)
class PyiqaMetric:
    """A PictureScorer: `judge` gives scores for (n, 3, height, width) values of 0 to 1."""

    judge: Callable[[Tensor], Tensor]
    label: str
    device: str

    def score(self, pictures: Sequence[Rgb]) -> list[float | None]:
        """See PictureScorer: every picture has a score. Those of one size go together, PICTURES_A_STEP at a time."""
        by_size: dict[tuple[int, ...], list[int]] = {}
        for number, picture in enumerate(pictures):
            by_size.setdefault(picture.shape, []).append(number)
        scores: dict[int, float] = {}
        for numbers in by_size.values():
            for start in range(0, len(numbers), PICTURES_A_STEP):
                step = numbers[start : start + PICTURES_A_STEP]
                scores |= zip(step, self._step([pictures[i] for i in step]), strict=True)
        return [scores[number] for number in range(len(pictures))]

    def _step(self, pictures: Sequence[Rgb]) -> list[float]:
        import torch

        cells = torch.from_numpy(np.stack(pictures)).to(self.device).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            return [float(score) for score in self.judge(cells).reshape(len(pictures)).float().cpu()]


def pyiqa_metric(model: Model, metric: str) -> PyiqaMetric:
    """The metric with the weights of a file. WeightError: pyiqa is not here, or the file is of another metric."""
    made = _made(metric)
    fill(made.net, _renamed(read_state(model.path)), "", model.path)
    return PyiqaMetric(placed(made, model.device), model.label(f"pyiqa-{metric}"), model.device)


def _made(metric: str) -> Any:
    try:
        from pyiqa.models.inference_model import InferenceModel
    except (ImportError, RuntimeError) as error:  # torchvision of another build raises the latter
        raise WeightError(
            f"pyiqa cannot be imported ({error}): `pip install '.[pyiqa]'`; {LICENCE}".replace("\n", " ")
        ) from None
    return InferenceModel(metric, device="cpu", **METRICS[metric])


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefix of a network that was trained on several devices."""
    return {name.removeprefix("module."): value for name, value in state.items()}
