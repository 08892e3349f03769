"""Video Swin with gated relative position biases: the backbone of FAST-VQA and of DOVER's technical branch.

Liu et al. 2022 (Video Swin Transformer), section 3; Wu et al. 2022 (FAST-VQA), section 3.3. Parameters bear the names
of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

Size = tuple[int, int, int]
"""Depth (time), height, width."""
APART = -100.0
"""Added to the attention between tokens that a cyclic shift has brought together."""


@dataclass(frozen=True)
class Shape:
    """Size of the network; the defaults are those of the published FAST-VQA-B and DOVER."""

    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: Size = (8, 7, 7)
    gated: tuple[bool, ...] = (True, True, True, False)
    """Layers in which tokens of one fragment and of two have biases of their own."""
    fragments: int = 7
    """Fragments a side of the spliced picture."""


class Swin3d(nn.Module):
    """(n, 3, frames, height, width), normalised, to (n, 8 * width, frames / 2, height / 32, width / 32)."""

    def __init__(self, shape: Shape = Shape()) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbed(shape.width)
        count = len(shape.depths)
        self.layers = nn.ModuleList(
            _Layer(shape, shape.width << number, number, last=number == count - 1) for number in range(count)
        )
        self.norm = nn.LayerNorm(shape.width << (count - 1))

    def forward(self, pictures: Tensor) -> Tensor:
        tokens = self.patch_embed(pictures)
        for layer in self.layers:
            tokens = layer(tokens)
        return _channels_first(self.norm(tokens))


class _PatchEmbed(nn.Module):
    """Cells of 2 x 4 x 4 to tokens, channels last."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, width, kernel_size=(2, 4, 4), stride=(2, 4, 4))
        self.norm = nn.LayerNorm(width)

    def forward(self, pictures: Tensor) -> Tensor:
        frames, height, width = pictures.shape[-3:]
        padded = functional.pad(pictures, (0, -width % 4, 0, -height % 4, 0, -frames % 2))
        tokens: Tensor = self.norm(_channels_last(self.proj(padded)))
        return tokens


class _Layer(nn.Module):
    """Blocks, every other one shifted by half a window, and all but the last layer halve height and width."""

    def __init__(self, shape: Shape, width: int, number: int, last: bool) -> None:
        super().__init__()
        half = (shape.window[0] // 2, shape.window[1] // 2, shape.window[2] // 2)
        self.blocks = nn.ModuleList(
            _Block(shape, width, number, half if block % 2 else (0, 0, 0))
            for block in range(shape.depths[number])
        )
        self.downsample = None if last else _Merge(width)

    def forward(self, tokens: Tensor) -> Tensor:
        for block in self.blocks:
            tokens = block(tokens)
        return tokens if self.downsample is None else self.downsample(tokens)


class _Merge(nn.Module):
    """Four neighbours to one token of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        height, width = tokens.shape[2:4]
        padded = functional.pad(tokens, (0, 0, 0, width % 2, 0, height % 2))
        four = [padded[:, :, row::2, column::2] for column, row in product((0, 1), (0, 1))]
        merged: Tensor = self.reduction(self.norm(torch.cat(four, -1)))
        return merged


class _Block(nn.Module):
    def __init__(self, shape: Shape, width: int, number: int, shift: Size) -> None:
        super().__init__()
        self.window, self.shift, self.fragments = shape.window, shift, shape.fragments
        self.norm1 = nn.LayerNorm(width)
        self.attn = _Attention(width, shape.window, shape.heads[number], shape.gated[number])
        self.norm2 = nn.LayerNorm(width)
        self.mlp = _Mlp(width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self._attended(self.norm1(tokens))
        mixed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return mixed

    def _attended(self, tokens: Tensor) -> Tensor:
        size = _size(tokens)
        window: Size = tuple(min(w, s) for w, s in zip(self.window, size, strict=True))  # type: ignore[assignment]
        # A side that one window covers is not shifted.
        shift = tuple(0 if s <= w else by for by, w, s in zip(self.shift, self.window, size, strict=True))
        pads = [-s % w for s, w in zip(size, window, strict=True)]
        padded = functional.pad(tokens, (0, 0, 0, pads[2], 0, pads[1], 0, pads[0]))
        whole = _size(padded)
        back = tuple(-by for by in shift)
        rolled = torch.roll(padded, back, dims=(1, 2, 3))
        places = torch.roll(_fragment_of(whole, self.fragments, tokens.device), back, dims=(1, 2, 3))
        apart = _apart(whole, window, shift, tokens.device) if any(shift) else None
        answer = self.attn(_windows(rolled, window), _windows(places, window), apart)
        joined = torch.roll(_joined(answer, window, whole), shift, dims=(1, 2, 3))
        return joined[:, : size[0], : size[1], : size[2]]


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return mixed


class _Attention(nn.Module):
    """Attention in a window; the bias of two tokens is by their distance, and by that of their fragments."""

    relative_position_index: Tensor

    def __init__(self, width: int, window: Size, heads: int, gated: bool) -> None:
        super().__init__()
        self.heads = heads
        entries = (2 * window[0] - 1) * (2 * window[1] - 1) * (2 * window[2] - 1)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(entries, heads))
        if gated:
            self.fragment_position_bias_table = nn.Parameter(torch.zeros(entries, heads))
        self.gated = gated
        self.register_buffer("relative_position_index", _distances(window))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, places: Tensor, apart: Tensor | None) -> Tensor:
        """`tokens` (n * windows, cells, width), `places` (windows, cells, 2), `apart` (windows, cells, cells)."""
        rows, cells, width = tokens.shape
        parts = self.qkv(tokens).reshape(rows, cells, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        bias = self._bias(places, cells)
        if apart is not None:
            bias = bias + apart[:, None]
        bias = bias.repeat(rows // len(bias), 1, 1, 1).to(query.dtype)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        answer: Tensor = self.proj(mixed.transpose(1, 2).reshape(rows, cells, width))
        return answer

    def _bias(self, places: Tensor, cells: int) -> Tensor:
        """(windows, heads, cells, cells)."""
        index = self.relative_position_index[:cells, :cells].reshape(-1)
        across = self.relative_position_bias_table[index].reshape(cells, cells, -1).permute(2, 0, 1)[None]
        if not self.gated:
            return across
        within = self.fragment_position_bias_table[index].reshape(cells, cells, -1).permute(2, 0, 1)[None]
        # The published gate counts the fragments between two tokens, so it is 2 or more for distant ones.
        gate = (places[:, None] - places[:, :, None]).abs().sum(-1)[:, None]
        return across * gate + within * (1 - gate)


def _distances(window: Size) -> Tensor:
    """(cells, cells): the row of the bias table for each pair of cells of a window."""
    axes = torch.meshgrid(*(torch.arange(side) for side in window), indexing="ij")
    cells = torch.stack(axes).flatten(1)
    apart = (cells[:, :, None] - cells[:, None]) + (torch.tensor(window) - 1)[:, None, None]
    rows: Tensor = (apart[0] * (2 * window[1] - 1) + apart[1]) * (2 * window[2] - 1) + apart[2]
    return rows


def _fragment_of(size: Size, fragments: int, device: torch.device) -> Tensor:
    """(1, depth, height, width, 2): row and column of the fragment that each cell lies in."""
    rows, columns = (torch.arange(side, device=device) * fragments // side for side in size[1:])
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1)
    return grid[None, None].expand(1, size[0], -1, -1, -1)


def _apart(size: Size, window: Size, shift: Sequence[int], device: torch.device) -> Tensor:
    """(windows, cells, cells): APART between cells that lie in different parts of the unshifted picture."""
    number = torch.zeros((1, *size, 1), device=device)
    spans = [
        (slice(-w), slice(-w, -by), slice(-by, None)) if by else (slice(None),)
        for w, by in zip(window, shift, strict=True)
    ]
    for position, (depth, row, column) in enumerate(product(*spans)):
        number[:, depth, row, column] = position
    parts = _windows(number, window)[..., 0]
    return torch.where(parts[:, None] == parts[:, :, None], 0.0, APART)


def _windows(cells: Tensor, window: Size) -> Tensor:
    """(n, depth, height, width, c) to (n * windows, cells of a window, c)."""
    count, depth, height, width, channels = cells.shape
    wd, wh, ww = window
    split = cells.reshape(count, depth // wd, wd, height // wh, wh, width // ww, ww, channels)
    return split.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, wd * wh * ww, channels)


def _joined(windows: Tensor, window: Size, size: Size) -> Tensor:
    """The opposite of `_windows`."""
    (wd, wh, ww), (depth, height, width) = window, size
    split = windows.reshape(-1, depth // wd, height // wh, width // ww, wd, wh, ww, windows.shape[-1])
    return split.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, depth, height, width, windows.shape[-1])


def _size(tokens: Tensor) -> Size:
    depth, height, width = tokens.shape[1:4]
    return depth, height, width


def _channels_last(tokens: Tensor) -> Tensor:
    return tokens.permute(0, 2, 3, 4, 1)


def _channels_first(tokens: Tensor) -> Tensor:
    return tokens.permute(0, 4, 1, 2, 3)
