"""EfficientNet-Lite0 as an encoder of pictures: its pooled features, centred, scaled and projected.

The network is that of Tan and Le 2019 as the TensorFlow authors' "lite" variant has it (no squeeze-and-excite, ReLU6),
with the published ImageNet weights. Batch-norm is folded into the convolutions.

The 1,280 pooled features all are positive and mostly lean one way. They are centred and scaled by what the last
batch-norm says of them: a channel is ReLU6 of a normal variable with mean beta and deviation gamma, so its mean and its
deviation are integrals, and no data are needed. Then they are projected onto the `DIMENSIONS` directions in which
the last convolution spreads white input most (the leading left singular vectors of its weights in those units). Ours.

The network's own last layer says of the same features, at next to no cost, which of ImageNet's classes a picture shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from filters.base import Rgb, one_thread_cv2
from filters.descriptors.encoded import Encoded

if TYPE_CHECKING:
    from torch import Tensor

STAGES = ((1, 1, 1), (6, 2, 2), (6, 2, 2), (6, 3, 2), (6, 3, 1), (6, 4, 2), (6, 1, 1))
"""Expansion, blocks and first stride of each stage; kernels and widths are those of the weights."""
DIMENSIONS = 128
"""A million clips of four frames are then 1 GiB in half precision."""
SIDE_PX = 160
"""At 224 a frame costs twice as much, and small copies of large pictures are found less often (docs/log.md)."""
EPSILON = 1e-3
"""Of the batch-norms, as the weights were trained."""


class _Conv(NamedTuple):
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class _Block:
    expand: _Conv | None
    depthwise: _Conv
    project: _Conv
    stride: int
    residual: bool


@dataclass(frozen=True)
class Lite0:
    """The loaded encoder, on the CPU, in one thread."""

    stem: _Conv
    blocks: tuple[_Block, ...]
    head: _Conv
    mean: Tensor
    projection: Tensor
    """(1280, DIMENSIONS), the scales of the features in it."""
    classifier: _Conv
    """(1000, 1280) and (1000,)."""
    label: str = "lite0/1"
    batched: bool = False
    """Whether pictures of several clips in one call are faster; here they are not, and their number would show in
    the last digits."""

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Lite0:
        """From the tensors of the published weights."""
        import torch

        torch.set_num_threads(1)
        blocks: list[_Block] = []
        for expansion, count, stride in STAGES:
            for number in range(count):
                blocks.append(_block(state, len(blocks), expansion, stride if number == 0 else 1))
        head = _folded(state, "_conv_head", "_bn1")
        mean, deviation = _relu6_moments(state["_bn1.bias"].numpy(), state["_bn1.weight"].abs().numpy())
        spread = head.weight.numpy()[:, :, 0, 0].astype(np.float64) / deviation[:, None]
        directions = np.linalg.svd(spread, full_matrices=False)[0][:, :DIMENSIONS]
        # A singular vector may come with either sign: its largest part is made positive.
        directions *= np.sign(np.take_along_axis(directions, np.abs(directions).argmax(0)[None], 0))
        projection = (directions / deviation[:, None]).astype(np.float32)
        return cls(
            _folded(state, "_conv_stem", "_bn0"),
            tuple(blocks),
            head,
            torch.from_numpy(mean.astype(np.float32)),
            torch.from_numpy(projection),
            _Conv(state["_fc.weight"], state["_fc.bias"]),
        )

    def encode(self, pictures: Sequence[Rgb]) -> Encoded:
        """DIMENSIONS-long vectors and probabilities of ImageNet's classes, of RGB pictures of any size."""
        import torch

        cv2 = one_thread_cv2()
        small = [
            cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for picture in pictures
        ]
        x = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            # The lite variants were trained on (value - 127) / 128.
            features = self._features((x.to(torch.float32, memory_format=torch.channels_last) - 127) / 128)
            vectors = (features - self.mean) @ self.projection
            scores = torch.nn.functional.linear(features, *self.classifier)
            return Encoded(torch.nn.functional.normalize(vectors).numpy(), scores.softmax(1).numpy())

    def _features(self, x: Tensor) -> Tensor:
        """(n, 1280) pooled features of (n, 3, SIDE_PX, SIDE_PX)."""
        x = _conv(x, self.stem, stride=2).clamp_(0, 6)
        for block in self.blocks:
            y = x if block.expand is None else _conv(x, block.expand).clamp_(0, 6)
            y = _conv(y, block.depthwise, block.stride, groups=len(block.depthwise.weight)).clamp_(0, 6)
            y = _conv(y, block.project)
            x = x + y if block.residual else y
        return _conv(x, self.head).clamp_(0, 6).mean((2, 3))


def _block(state: Mapping[str, Tensor], number: int, expansion: int, stride: int) -> _Block:
    at = f"_blocks.{number}."
    expand = _folded(state, f"{at}_expand_conv", f"{at}_bn0") if expansion > 1 else None
    depthwise = _folded(state, f"{at}_depthwise_conv", f"{at}_bn1")
    project = _folded(state, f"{at}_project_conv", f"{at}_bn2")
    residual = stride == 1 and len(depthwise.weight) == expansion * len(project.weight)
    return _Block(expand, depthwise, project, stride, residual)


def _folded(state: Mapping[str, Tensor], conv: str, norm: str) -> _Conv:
    """A convolution with its batch-norm in its weights."""
    import torch

    scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + EPSILON)
    weight = state[f"{conv}.weight"] * scale[:, None, None, None]
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    return _Conv(weight.contiguous(memory_format=torch.channels_last), bias)


def _conv(x: Tensor, conv: _Conv, stride: int = 1, groups: int = 1) -> Tensor:
    """A convolution padded as TensorFlow's SAME: with a stride of 2, one pixel more on the right and below."""
    from torch.nn import functional

    kernel = conv.weight.shape[-1]
    if stride > 1:
        short = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        x = functional.pad(x, (short // 2, short - short // 2) * 2)
    return functional.conv2d(x, conv.weight, conv.bias, stride, kernel // 2 if stride == 1 else 0, 1, groups)


def _relu6_moments(mean: Any, deviation: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and deviation of ReLU6 of normal variables, by Gauss-Hermite quadrature; a dead channel deviates by 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    values = np.clip(mean[:, None] + deviation[:, None] * nodes, 0, 6)
    middle = values @ weights / weights.sum()
    spread = np.sqrt((values - middle[:, None]) ** 2 @ weights / weights.sum())
    return middle, np.where(spread > 0, spread, 1.0)
