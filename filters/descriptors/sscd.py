"""SSCD, a descriptor trained for copy detection (Pizzi et al., CVPR 2022, arXiv 2202.10261).

A ResNet-50, generalised-mean pooling (p = 3), a linear layer to 512 dimensions. The two forms of weight file that its
authors publish are read: `*.torchvision.pt` (names as `backbone.layer1.0.conv1.weight`, last layer `backbone.fc`) and
any safetensors file of the same names. Widths and depths are those of the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from filters.base import Rgb, one_thread_cv2
from filters.descriptors.encoded import Encoded
from filters.scorers.checkpoint import read_state
from pipeline.weights import WeightError

if TYPE_CHECKING:
    from torch import Tensor

WANTED = (
    "download sscd_disc_mixup.torchvision.pt (94 MB, MIT) as the README of github.com/facebookresearch/"
    "sscd-copy-detection links it, and name it in stage.embedding.model"
)
"""What to say when there is none."""
SIDE_PX = 320
"""Pictures are squeezed to a square of this side, as the authors advise for batches ("skew_320")."""
POOL_POWER = 3.0
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet: what the pictures were normalised with in training."""
EPSILON = 1e-5
PICTURES_A_STEP = 32


@dataclass(frozen=True)
class Sscd:
    """The loaded descriptor on its device."""

    state: Mapping[str, Tensor]
    device: str
    label: str
    batched: bool = True

    def encode(self, pictures: Sequence[Rgb]) -> Encoded:
        """Vectors of RGB pictures of any size; it knows no classes."""
        import torch

        with torch.inference_mode():
            parts = [
                self._encode(pictures[start : start + PICTURES_A_STEP])
                for start in range(0, len(pictures), PICTURES_A_STEP)
            ]
        return Encoded(np.concatenate(parts), None)

    def _encode(self, pictures: Sequence[Rgb]) -> npt.NDArray[np.float32]:
        import torch
        from torch.nn import functional

        cv2 = one_thread_cv2()
        small = [
            cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for picture in pictures
        ]
        x = torch.from_numpy(np.stack(small)).to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, deviation = (
            torch.tensor(v, device=self.device)[None, :, None, None] for v in (MEAN, DEVIATION)
        )
        x = self._trunk((x - mean) / deviation)
        x = x.clamp(min=1e-6).pow(POOL_POWER).mean((2, 3)).pow(1 / POOL_POWER)
        x = functional.linear(x, self.state["backbone.fc.weight"], self.state["backbone.fc.bias"])
        encoded: npt.NDArray[np.float32] = functional.normalize(x).cpu().numpy()
        return encoded

    def _trunk(self, x: Tensor) -> Tensor:
        from torch.nn import functional

        x = self._conv(x, "conv1", "bn1", stride=2).relu_()
        x = functional.max_pool2d(x, 3, 2, 1)
        for layer in range(1, 5):
            number = 0
            while f"backbone.layer{layer}.{number}.conv1.weight" in self.state:
                x = self._block(x, f"layer{layer}.{number}.", 2 if layer > 1 and number == 0 else 1)
                number += 1
        return x

    def _block(self, x: Tensor, at: str, stride: int) -> Tensor:
        """A bottleneck; torchvision's form of it has the stride in the 3 x 3 convolution."""
        y = self._conv(x, f"{at}conv1", f"{at}bn1").relu_()
        y = self._conv(y, f"{at}conv2", f"{at}bn2", stride).relu_()
        y = self._conv(y, f"{at}conv3", f"{at}bn3")
        if f"backbone.{at}downsample.0.weight" in self.state:
            x = self._conv(x, f"{at}downsample.0", f"{at}downsample.1", stride)
        return (x + y).relu_()

    def _conv(self, x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        from torch.nn import functional

        weight = self.state[f"backbone.{conv}.weight"]
        x = functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2)
        mean, variance, weight, bias = (
            self.state[f"backbone.{norm}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, variance, weight, bias, eps=EPSILON)


def load_sscd(path: Path, digest: str, device: str) -> Sscd:
    """The descriptor of a weight file with this sha256. WeightError: of another model, or there is no such device."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise WeightError('there is no GPU here for stage.embedding.device = "cuda"')
    torch.set_num_threads(1)
    state = {name: value.to(device) for name, value in read_state(path).items()}
    _check(state, path)
    return Sscd(state, device, f"sscd/{digest[:8]}")


def _check(state: Mapping[str, Any], path: Path) -> None:
    """Every tensor that a ResNet of bottlenecks needs is there: found by running over a picture of no content."""
    try:
        Sscd(state, next(iter(state.values())).device.type if state else "cpu", "")._encode(
            [np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)]
        )
    except (KeyError, RuntimeError) as error:
        raise WeightError(f"'{path}' is the checkpoint of another model ({error}): {WANTED}") from None
