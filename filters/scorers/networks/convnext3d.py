"""ConvNeXt inflated over time: the backbone of DOVER's aesthetic branch.

Liu et al. 2022 (A ConvNet for the 2020s), section 2; Wu et al. 2023 (DOVER), section 4.2. Parameters bear the names
of the published checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-6


@dataclass(frozen=True)
class Shape:
    """Size of the network; the defaults are ConvNeXt-Tiny's, as DOVER has it."""

    depths: tuple[int, ...] = (3, 3, 9, 3)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    lengths: tuple[int, ...] = (1, 3, 1)
    """Frames that the blocks of a stage look over, in turn."""


class ConvNext3d(nn.Module):
    """(n, 3, frames, height, width), normalised, to (n, widths[-1], frames / 2, height / 32, width / 32)."""

    def __init__(self, shape: Shape = Shape()) -> None:
        super().__init__()
        widths = shape.widths
        stem = nn.Sequential(nn.Conv3d(3, widths[0], (2, 4, 4), (2, 4, 4)), _Norm(widths[0]))
        halves = [
            nn.Sequential(_Norm(before), nn.Conv3d(before, after, (1, 2, 2), (1, 2, 2)))
            for before, after in pairwise(widths)
        ]
        self.downsample_layers = nn.ModuleList([stem, *halves])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(width, shape.lengths[i % len(shape.lengths)]) for i in range(depth)))
            for width, depth in zip(widths, shape.depths, strict=True)
        )
        self.norm = nn.LayerNorm(widths[-1], eps=EPS)

    def forward(self, pictures: Tensor) -> Tensor:
        cells = pictures
        for halve, stage in zip(self.downsample_layers, self.stages, strict=True):
            cells = stage(halve(cells))
        normed: Tensor = self.norm(cells.permute(0, 2, 3, 4, 1))
        return normed.permute(0, 4, 1, 2, 3)


class _Norm(nn.Module):
    """A layer norm over the channels of (n, channels, frames, height, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, cells: Tensor) -> Tensor:
        last = cells.permute(0, 2, 3, 4, 1)
        normed = functional.layer_norm(last, self.weight.shape, self.weight, self.bias, EPS)
        return normed.permute(0, 4, 1, 2, 3)


class _Block(nn.Module):
    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv3d(width, width, (length, 7, 7), padding=(length // 2, 3, 3), groups=width)
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, cells: Tensor) -> Tensor:
        last = self.norm(self.dwconv(cells).permute(0, 2, 3, 4, 1))
        mixed: Tensor = self.gamma * self.pwconv2(functional.gelu(self.pwconv1(last)))
        return cells + mixed.permute(0, 4, 1, 2, 3)
