"""The small networks that turn features into one score."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional


class VideoHead(nn.Module):
    """(n, width, frames, rows, columns) to (n,): a score a cell, and their mean (Wu et al. 2022, FAST-VQA, 3.4)."""

    def __init__(self, width: int = 768, hidden: int = 64) -> None:
        super().__init__()
        self.fc_hid = nn.Conv3d(width, hidden, 1)
        self.fc_last = nn.Conv3d(hidden, 1, 1)

    def forward(self, cells: Tensor) -> Tensor:
        scores: Tensor = self.fc_last(functional.gelu(self.fc_hid(cells)))
        return scores.mean(dim=(1, 2, 3, 4))


class AestheticHead(nn.Module):
    """(n, width) CLIP embeddings of length 1 to (n,): LAION's improved aesthetic predictor (2022), five linear layers.

    The layers that training dropped out stand in the checkpoint's numbers: 0, 2, 4, 6, 7.
    """

    def __init__(self, width: int = 768) -> None:
        super().__init__()
        sizes = (width, 1024, 128, 64, 16, 1)
        linear = [nn.Linear(before, after) for before, after in pairwise(sizes)]
        gaps = [nn.Identity() for _ in range(3)]
        self.layers = nn.Sequential(
            linear[0], gaps[0], linear[1], gaps[1], linear[2], gaps[2], linear[3], linear[4]
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        scores: Tensor = self.layers(embeddings)
        return scores[:, 0]
