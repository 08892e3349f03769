"""TransNetV2 on a CPU: for every frame, how likely a shot ends there.

The network is that of Soucek and Lokoc, "TransNet V2", arXiv 2008.04838, with the published weights. It is run another
way than it was trained, for the same cuts at a fraction of the cost: batch-norm is folded into the convolutions, the
four dilated branches of a cell share one spatial convolution, frames flow through the cells in blocks that stay in the
processor's cache, and one window covers `STRIDE` frames instead of 50.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.stage import fingerprint
from pipeline.weights import WrongDigest, default_cache, find, load_catalogue, sha256_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

WEIGHT = "shot.transnetv2"
"""Its name in weights.toml."""
VERSION = 1
"""Bumped when the same frames would get other probabilities."""
CONTEXT = 25
"""Frames that a window sees on each side of those it answers for; as the network was trained (section 3.3)."""
STEP = 50
"""Frames that a window of the training size (100) answers for."""
STRIDE = 400
"""Frames that one wide window answers for: costs 450/400 of the frames instead of 100/50."""
UNDECIDED = (0.25, 0.75)
"""A wide window may differ from a training-size one by up to 0.16 near a decision (docs/log.md). Where a frame's
single-frame probability lies between these bounds, its step is measured again in a window of the training size."""
DILATIONS = (1, 2, 4, 8)
"""Frames between the taps of a cell's four temporal branches (figure 1)."""
REACH = max(DILATIONS)
LOOKUP = 101
"""Frames, centred on each, that the two similarity branches compare it with (section 3.2)."""
BLOCK_FRAMES = 25
"""Frames that pass through the cells together: their activations fit a core's share of the last-level cache."""
THUMB_SHAPE = (27, 48, 3)

Precision = Literal["auto", "bf16", "fp32"]


class _Linear(NamedTuple):
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class _Cell:
    """A dilated cell's weights, batch-norm folded in."""

    spatial: Tensor
    """(4 x 2F, C, 3, 3): the four branches' spatial convolutions, stacked."""
    temporal: tuple[_Linear, ...]
    """One a branch: (F, 2F, 3, 1) and (F,)."""


@dataclass(frozen=True)
class TransNet:
    """The loaded network; `predict` is all that it is for. Immutable, so a worker's threads may share it."""

    blocks: tuple[tuple[_Cell, _Cell], ...]
    projection: _Linear
    similarity: _Linear
    histogram: _Linear
    hidden: _Linear
    heads: _Linear
    """Rows: the single-frame head, the many-hot head."""
    dtype: torch.dtype
    """Of the convolutions and the hidden layer."""

    @classmethod
    def load(cls, path: Path | None = None, precision: Precision = "auto") -> TransNet:
        """The network on one thread; from `path`, or from where weights.toml finds it.

        `auto` is bfloat16 where the processor multiplies it natively, else float32: probabilities then differ by some
        0.02 (docs/log.md). Raises pipeline.weights.WeightError when the file is missing or not the pinned one.
        """
        import torch

        torch.set_num_threads(1)
        catalogue = load_catalogue()
        if path is None:
            path = find(WEIGHT, catalogue, default_cache())
        elif sha256_of(path) != catalogue[WEIGHT].sha256:
            raise WrongDigest(f"{path} is not the pinned weight {WEIGHT} (sha256 {catalogue[WEIGHT].sha256})")
        weights = torch.load(path, map_location="cpu", weights_only=True)
        if precision == "auto":
            precision = native_precision()
        return cls._build(weights, torch.bfloat16 if precision == "bf16" else torch.float32)

    @staticmethod
    def fingerprint() -> str:
        """8 hex digits over what the probabilities depend on: the code's version and the weights' digest."""
        return fingerprint("transnet", VERSION, load_catalogue()[WEIGHT].sha256)

    @classmethod
    def _build(cls, weights: Mapping[str, Tensor], dtype: torch.dtype) -> TransNet:
        import torch

        def linear(name: str, to: torch.dtype = torch.float32) -> _Linear:
            return _Linear(weights[f"{name}.weight"].to(to), weights[f"{name}.bias"].to(to))

        heads = [linear("cls_layer1"), linear("cls_layer2")]
        return cls(
            blocks=tuple(
                (
                    _cell(weights, f"SDDCNN.{block}.DDCNN.0", dtype),
                    _cell(weights, f"SDDCNN.{block}.DDCNN.1", dtype),
                )
                for block in range(3)
            ),
            projection=linear("frame_sim_layer.projection"),
            similarity=linear("frame_sim_layer.fc"),
            histogram=linear("color_hist_layer.fc"),
            hidden=linear("fc1", dtype),
            heads=_Linear(torch.cat([h.weight for h in heads]), torch.cat([h.bias for h in heads])),
            dtype=dtype,
        )

    def predict(
        self, thumbs: npt.NDArray[np.uint8], first_frame: int, start: int, end: int, frame_count: int
    ) -> npt.NDArray[np.float32]:
        """(2, end - start): for each frame of [start, end) the probability that a transition is centred after it, and
        that it is part of a transition.

        `thumbs` is uint8 (n, 27, 48, 3) RGB, frames [first_frame, first_frame + n) of a video of `frame_count`; it
        must reach `CONTEXT` frames beyond [start, end) or to the video's ends, beyond which the first and last frame
        are repeated. `start` is a multiple of `STRIDE`, and so is `end` unless it is `frame_count`. A frame's values
        do not depend on which of these spans it is asked for with. Raises ValueError for another span or shape.
        """
        _check(thumbs, first_frame, start, end, frame_count)
        answers = np.zeros((2, end - start), np.float32)
        if frame_count == 1:
            return answers  # a single picture has no transition
        for anchor in range(start, end, STRIDE):
            stop = min(anchor + STRIDE, end)
            wide = self._span(thumbs, first_frame, anchor, stop, frame_count)
            if stop - anchor > STEP:
                for step in range(anchor, stop, STEP):
                    part = wide[:, step - anchor : step - anchor + STEP]
                    if ((part[0] > UNDECIDED[0]) & (part[0] < UNDECIDED[1])).any():
                        part[:] = self._span(
                            thumbs, first_frame, step, min(step + STEP, frame_count), frame_count
                        )
            answers[:, anchor - start : stop - start] = wide
        return answers

    def _span(
        self, thumbs: npt.NDArray[np.uint8], first_frame: int, start: int, end: int, frame_count: int
    ) -> npt.NDArray[np.float32]:
        """(2, end - start) from one window: whole steps, and the context on each side."""
        padded = start + -(-(end - start) // STEP) * STEP
        frames = np.clip(np.arange(start - CONTEXT, padded + CONTEXT), 0, frame_count - 1)
        window = self._window(thumbs[frames - first_frame])
        return window[:, CONTEXT : CONTEXT + end - start]

    def _window(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(2, n) probabilities of n frames, uint8 (n, 27, 48, 3); zeros lie around the window in every layer."""
        import torch
        from torch.nn import functional as fn

        with torch.inference_mode():
            stream: Iterator[Tensor] = self._pixels(frames)
            means, features = [], torch.empty(0)
            for scale, (first, second) in enumerate(self.blocks, 1):
                features = torch.cat(list(_block(stream, first, second)))
                means.append(features.float().mean((2, 3)))
                # Each scale has a quarter of the last one's pixels and twice its channels: twice the frames fit.
                stream = iter(torch.split(features, BLOCK_FRAMES << scale))
            look = fn.normalize(fn.linear(torch.cat(means, 1), *self.projection), dim=1)
            hidden = torch.cat(
                [
                    fn.relu(fn.linear(_neighbours(_histograms(frames)), *self.histogram)).to(self.dtype),
                    fn.relu(fn.linear(_neighbours(look), *self.similarity)).to(self.dtype),
                    features.permute(0, 2, 3, 1).flatten(1),
                ],
                dim=1,
            )
            logits = fn.linear(fn.relu(fn.linear(hidden, *self.hidden)).float(), *self.heads)
            probabilities: npt.NDArray[np.float32] = torch.sigmoid(logits).T.numpy()
            return probabilities

    def _pixels(self, frames: npt.NDArray[np.uint8]) -> Iterator[Tensor]:
        """The frames in blocks (n, 3, 27, 48), scaled to [0, 1], channels last."""
        import torch

        for at in range(0, len(frames), BLOCK_FRAMES):
            block = torch.from_numpy(frames[at : at + BLOCK_FRAMES])
            yield (block.float() / 255).to(self.dtype).permute(0, 3, 1, 2)


def _check(thumbs: npt.NDArray[np.uint8], first_frame: int, start: int, end: int, frame_count: int) -> None:
    if thumbs.dtype != np.uint8 or thumbs.shape[1:] != THUMB_SHAPE:
        raise ValueError(f"thumbs are uint8 (n, 27, 48, 3), not {thumbs.dtype} {thumbs.shape}")
    if not 0 <= start < end <= frame_count or start % STRIDE or (end % STRIDE and end != frame_count):
        raise ValueError(
            f"[{start}, {end}) of {frame_count} frames is not a span between multiples of {STRIDE}"
        )
    wanted = max(0, start - CONTEXT), min(frame_count, end + CONTEXT)
    if first_frame > wanted[0] or first_frame + len(thumbs) < wanted[1]:
        raise ValueError(f"thumbs [{first_frame}, {first_frame + len(thumbs)}) do not cover {wanted}")


def native_precision() -> Literal["bf16", "fp32"]:
    """bf16 where this processor multiplies it natively; emulated, it is slower than float32."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bf16" if native else "fp32"


def _cell(weights: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> _Cell:
    """One cell; y = gamma (x - mean) / sqrt(var + eps) + beta is folded into the convolution before it."""
    import torch

    gain = weights[f"{name}.bn.weight"] / torch.sqrt(weights[f"{name}.bn.running_var"] + 1e-3)
    shift = weights[f"{name}.bn.bias"] - weights[f"{name}.bn.running_mean"] * gain
    spatial = [weights[f"{name}.Conv3D_{d}.layers.0.weight"][:, :, 0] for d in DILATIONS]
    temporal = [weights[f"{name}.Conv3D_{d}.layers.1.weight"][..., 0] for d in DILATIONS]
    gains, shifts = gain.chunk(len(DILATIONS)), shift.chunk(len(DILATIONS))

    def convolution(weight: Tensor) -> Tensor:
        return weight.to(dtype).contiguous(memory_format=torch.channels_last)

    return _Cell(
        spatial=convolution(torch.cat(spatial)),
        temporal=tuple(
            _Linear(convolution(w * g[:, None, None, None]), s.to(dtype))
            for w, g, s in zip(temporal, gains, shifts, strict=True)
        ),
    )


def _block(frames: Iterator[Tensor], first: _Cell, second: _Cell) -> Iterator[Tensor]:
    """Two cells, the first's output added to the second's, halved in size. Blocks in, blocks out: (n, C, H, W)."""
    import torch
    from torch.nn import functional as fn

    shortcut: list[Tensor] = []

    def first_cell() -> Iterator[Tensor]:
        for out in _stream(frames, first):
            shortcut.append(out)
            yield out

    for out in _stream(first_cell(), second):
        early = torch.cat(shortcut)
        shortcut[:] = [early[len(out) :]]
        yield fn.avg_pool2d(out.add_(early[: len(out)]), 2)


def _stream(frames: Iterator[Tensor], cell: _Cell) -> Iterator[Tensor]:
    """A cell over the blocks of a window, ReLU'd; each output block lies `REACH` frames behind its input block."""
    import torch
    from torch.nn import functional as fn

    recent: Tensor | None = None
    for block in frames:
        out = fn.conv2d(block, cell.spatial, padding=1).permute(0, 2, 3, 1)
        if recent is None:
            recent = torch.zeros_like(out[:REACH])
        recent = torch.cat([recent, out])
        yield _temporal(recent, cell)
        recent = recent[-2 * REACH :]
    if recent is not None:
        yield _temporal(torch.cat([recent, torch.zeros_like(recent[:REACH])]), cell)


def _temporal(frames: Tensor, cell: _Cell) -> Tensor:
    """(n - 2 REACH, 4F, H, W) from (n, H, W, 8F): each branch looks its dilation back and ahead; then ReLU."""
    import torch
    from torch.nn import functional as fn

    count, height, width = frames.shape[:3]
    out = []
    for branch, dilation, linear in zip(
        frames.flatten(1, 2).chunk(4, 2), DILATIONS, cell.temporal, strict=True
    ):
        near = branch[REACH - dilation : count - REACH + dilation]
        image = near.permute(2, 0, 1)[None]  # frames as rows, pixels as columns
        out.append(fn.conv2d(image, *linear, dilation=(dilation, 1))[0].permute(1, 2, 0))
    joined = torch.cat(out, 2).relu_()
    return joined.reshape(count - 2 * REACH, height, width, -1).permute(0, 3, 1, 2)


def _neighbours(vectors: Tensor) -> Tensor:
    """(n, 101): each vector's products with those up to 50 places before and after; 0 beyond the window."""
    from torch.nn import functional as fn

    count, half = len(vectors), LOOKUP // 2
    padded = fn.pad(vectors @ vectors.T, (half, half)).contiguous()
    # Row i begins at column i of the padded matrix: one step more than a row's length.
    return padded.as_strided((count, LOOKUP), (count + 2 * half + 1, 1))


def _histograms(frames: npt.NDArray[np.uint8]) -> Tensor:
    """(n, 512): each frame's colours counted in 8 x 8 x 8 bins, as unit vectors."""
    import torch
    from torch.nn import functional as fn

    high = (frames >> 5).astype(np.int32)
    bins = (high[..., 0] << 6) + (high[..., 1] << 3) + high[..., 2]
    bins += np.arange(len(frames), dtype=np.int32)[:, None, None] << 9
    counts = np.bincount(bins.ravel(), minlength=len(frames) << 9).reshape(len(frames), 512)
    return fn.normalize(torch.from_numpy(counts.astype(np.float32)), dim=1)
