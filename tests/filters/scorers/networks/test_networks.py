"""The architectures: the published names and shapes, and what may look at what."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from filters.scorers.networks import convnext3d, swin3d
from filters.scorers.networks.heads import AestheticHead, VideoHead

TINY = swin3d.Shape(width=8, depths=(2, 2), heads=(1, 2), window=(2, 3, 3), gated=(True, False))


def shapes(module: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def randomised(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """The module in eval mode with every parameter drawn, so that none is zero or one by chance of its start."""
    dice = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=dice) * 0.3)
    return module.eval()


def test_the_video_transformer_has_the_published_parameters():
    found = shapes(swin3d.Swin3d())
    assert found["patch_embed.proj.weight"] == (96, 3, 2, 4, 4)
    assert found["layers.0.blocks.1.attn.relative_position_bias_table"] == (15 * 13 * 13, 3)
    assert found["layers.2.blocks.5.attn.fragment_position_bias_table"] == (15 * 13 * 13, 12)
    assert "layers.3.blocks.0.attn.fragment_position_bias_table" not in found
    assert found["layers.1.blocks.0.attn.relative_position_index"] == (392, 392)
    assert found["layers.0.downsample.reduction.weight"] == (192, 384)
    assert found["layers.3.blocks.1.mlp.fc1.weight"] == (3072, 768)
    assert found["norm.weight"] == (768,)
    assert not any(name.startswith("layers.3.downsample") for name in found)
    # Video Swin-T has 27.9 M parameters (Liu et al. 2022, table 1: 28.2 M with its classifier); gates add 0.1 M.
    assert 27.8e6 < sum(value.numel() for value in swin3d.Swin3d().parameters()) < 28.2e6


def test_the_inflated_convnext_has_the_published_parameters():
    found = shapes(convnext3d.ConvNext3d())
    assert found["downsample_layers.0.0.weight"] == (96, 3, 2, 4, 4)
    assert found["downsample_layers.0.1.weight"] == (96,)
    assert found["downsample_layers.3.1.weight"] == (768, 384, 1, 2, 2)
    assert found["stages.2.0.dwconv.weight"] == (384, 1, 1, 7, 7)
    assert found["stages.2.7.dwconv.weight"] == (384, 1, 3, 7, 7)
    assert found["stages.3.2.gamma"] == (768,)
    assert found["stages.0.1.pwconv1.weight"] == (384, 96)


def test_the_heads_have_the_published_parameters():
    assert shapes(VideoHead()) == {
        "fc_hid.weight": (64, 768, 1, 1, 1),
        "fc_hid.bias": (64,),
        "fc_last.weight": (1, 64, 1, 1, 1),
        "fc_last.bias": (1,),
    }
    weights = {name: shape for name, shape in shapes(AestheticHead()).items() if name.endswith("weight")}
    assert weights == {
        "layers.0.weight": (1024, 768),
        "layers.2.weight": (128, 1024),
        "layers.4.weight": (64, 128),
        "layers.6.weight": (16, 64),
        "layers.7.weight": (1, 16),
    }


@pytest.mark.parametrize("size", [(4, 24, 24), (5, 25, 30), (2, 8, 8)])
def test_any_size_gives_cells_of_a_2x8x8_and_stays_finite(size):
    network = randomised(swin3d.Swin3d(TINY), 1)
    frames, height, width = size
    answer = network(torch.randn(2, 3, *size))
    assert answer.shape == (2, 16, math.ceil(frames / 2), math.ceil(height / 8), math.ceil(width / 8))
    assert answer.isfinite().all()


def reach(block: torch.nn.Module, size: tuple[int, int, int], cell: tuple[int, int, int]) -> Tensor:
    """(depth, height, width): which cells of the answer change with this cell of the input."""
    tokens = torch.randn(1, *size, 8, generator=torch.Generator().manual_seed(3))
    other = tokens.clone()
    other[0, *cell, 0] += 5  # one channel: a layer norm does not see a shift of them all
    with torch.no_grad():
        return ((block(tokens) - block(other)).abs() > 1e-6).any(-1)[0]


def test_attention_stays_in_its_window():
    block = randomised(swin3d.Swin3d(TINY), 2).layers[0].blocks[0]
    seen = reach(block, (4, 6, 6), (0, 4, 1))
    wanted = torch.zeros(4, 6, 6, dtype=torch.bool)
    wanted[0:2, 3:6, 0:3] = True
    assert torch.equal(seen, wanted)


def test_shifted_attention_does_not_join_opposite_edges():
    """Windows of 2 x 3 x 3 shifted by 1 x 1 x 1: the last one holds cells of both ends, which must not meet."""
    block = randomised(swin3d.Swin3d(TINY), 2).layers[0].blocks[1]
    seen = reach(block, (4, 6, 6), (0, 0, 0))
    wanted = torch.zeros(4, 6, 6, dtype=torch.bool)
    wanted[0:1, 0:1, 0:1] = True
    assert torch.equal(seen, wanted)
    seen = reach(block, (4, 6, 6), (1, 2, 5))
    wanted = torch.zeros(4, 6, 6, dtype=torch.bool)
    wanted[1:3, 1:4, 4:6] = True
    assert torch.equal(seen, wanted)


def test_tokens_of_one_fragment_and_of_two_have_their_own_bias():
    """Checked pair by pair against the formula, on a window over the border of two fragments."""
    shape = swin3d.Shape(width=8, depths=(1,), heads=(2,), window=(1, 2, 4), gated=(True,), fragments=2)
    attention = randomised(swin3d.Swin3d(shape), 4).layers[0].blocks[0].attn
    cells = [(row, column) for row in range(2) for column in range(4)]
    places = torch.tensor([[row // 1 * 0, column // 2] for row, column in cells])[None]
    bias = attention._bias(places, 8)[0]
    for one, (row, column) in enumerate(cells):
        for two, (other_row, other_column) in enumerate(cells):
            entry = (row - other_row + 1) * 7 + (column - other_column + 3)
            same = column // 2 == other_column // 2
            table = attention.fragment_position_bias_table if same else attention.relative_position_bias_table
            assert torch.allclose(bias[:, one, two], table[entry])


def test_a_convnext_block_with_no_gain_is_the_identity():
    network = convnext3d.ConvNext3d(convnext3d.Shape(depths=(1, 1, 1, 1), widths=(4, 8, 8, 16)))
    block = network.stages[0][0]
    with torch.no_grad():
        block.gamma.zero_()
    cells = torch.randn(1, 4, 2, 6, 6)
    assert torch.equal(block(cells), cells)
    assert network(torch.randn(2, 3, 4, 64, 96)).shape == (2, 16, 2, 2, 3)


def test_the_score_of_a_video_is_the_mean_over_its_cells():
    head = randomised(VideoHead(6, 4), 5)
    cells = torch.randn(2, 6, 2, 3, 3)
    one = torch.stack(
        [
            head(cells[..., d : d + 1, r : r + 1, c : c + 1])
            for d in range(2)
            for r in range(3)
            for c in range(3)
        ]
    )
    assert torch.allclose(head(cells), one.mean(0), atol=1e-6)
