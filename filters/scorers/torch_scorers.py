"""Learned scorers of clips on PyTorch: DOVER's two branches, and FAST-VQA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from filters.base import one_thread_cv2, shown
from filters.scorers.checkpoint import Model, fill, placed, read_state
from pipeline.clip import Clip
from pipeline.stage import FrameBatch, FrameSpec

if TYPE_CHECKING:
    from torch import nn

    from filters.scorers.networks import convnext3d, swin3d

FRAGMENTS = FrameSpec(every_s=1 / 12, patch_px=32, fragments=7)
"""What the technical networks look at: every other frame of 24 a second, 7 x 7 native patches (FAST-VQA, 4.1)."""
WHOLE = FrameSpec(every_s=0.125, short_side_px=224)
"""What DOVER's aesthetic branch looks at, squeezed to a square of SIDE_PX (DOVER, 4.2)."""
SIDE_PX = 224
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of ImageNet, in levels: what the video networks were trained with."""
FRAMES = 32
"""Frames that the video networks look at in one go."""
DOVER_SPANS, FAST_VQA_SPANS = 3, 4
"""Spans of FRAMES whose scores are averaged: num_clips of the authors' dover.yml and fast-b.yml."""
SPANS_A_STEP = 8
"""What goes through a network at once: a bound on memory."""

Frames = npt.NDArray[np.uint8]
"""(FRAMES, side, side, 3) RGB."""


@dataclass(frozen=True)
class VideoNetwork:
    """A network from spliced or scaled frames to a score, on a device."""

    backbone: nn.Module
    head: nn.Module
    device: str

    def score(self, spans: Sequence[Frames]) -> list[float]:
        """One score a span; they go through the network SPANS_A_STEP at a time."""
        return [
            score
            for start in range(0, len(spans), SPANS_A_STEP)
            for score in self._step(spans[start : start + SPANS_A_STEP])
        ]

    def _step(self, spans: Sequence[Frames]) -> list[float]:
        import torch

        stacked = torch.from_numpy(np.stack(spans)).to(self.device).permute(0, 4, 1, 2, 3).float()
        mean, std = (torch.tensor(level, device=self.device).view(1, 3, 1, 1, 1) for level in (MEAN, STD))
        with torch.inference_mode():
            scores: list[float] = self.head(self.backbone((stacked - mean) / std)).float().cpu().tolist()
        return scores


@dataclass(frozen=True)
class SpanScorer:
    """A ClipScorer: the mean score of the spans that `cut` takes of each clip's frames."""

    network: VideoNetwork
    cut: Callable[[Frames], list[Frames]]
    label: str

    def score(self, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]) -> list[float | None]:
        """See ClipScorer: every clip has a score. The spans of all clips are one sequence."""
        cuts = [self.cut(shown(batch).images) for batch in frames]
        scores = iter(self.network.score([span for spans in cuts for span in spans]))
        return [float(np.mean([next(scores) for _ in spans])) for spans in cuts]


def spread_spans(images: Frames, most: int) -> list[Frames]:
    """At most `most` spans of FRAMES frames in a row, evenly spread; a clip with fewer frames is looped.

    The published sampler draws the spans at random; evenly spread ones make the score a function of the clip.
    """
    count = len(images)
    if count <= FRAMES:
        return [images[np.arange(FRAMES) % count]]
    starts = sorted({round(i * (count - FRAMES) / (most - 1)) for i in range(most)})
    return [images[start : start + FRAMES] for start in starts]


def spread_frames(images: Frames) -> list[Frames]:
    """FRAMES frames evenly spread over the clip, squeezed to SIDE_PX; a clip with fewer repeats some."""
    cv2 = one_thread_cv2()
    chosen = [position * len(images) // FRAMES for position in range(FRAMES)]
    size = (SIDE_PX, SIDE_PX)
    small = {i: cv2.resize(images[i], size, interpolation=cv2.INTER_AREA) for i in dict.fromkeys(chosen)}
    return [np.stack([small[i] for i in chosen])]


def technical_dover(model: Model, shape: swin3d.Shape | None = None) -> SpanScorer:
    """DOVER's technical branch (Wu et al. 2023), of the published shape unless given."""
    network = _swin(model, shape, "technical_backbone.", "technical_head.")
    return SpanScorer(network, partial(spread_spans, most=DOVER_SPANS), model.label("dover-technical"))


def fast_vqa(model: Model, shape: swin3d.Shape | None = None) -> SpanScorer:
    """FAST-VQA-B (Wu et al. 2022), of the published shape unless given."""
    network = _swin(model, shape, "fragments_backbone.", "vqa_head.")
    return SpanScorer(network, partial(spread_spans, most=FAST_VQA_SPANS), model.label("fast-vqa"))


def aesthetic_dover(model: Model, shape: convnext3d.Shape | None = None) -> SpanScorer:
    """DOVER's aesthetic branch (Wu et al. 2023), of the published shape unless given."""
    from filters.scorers.networks.convnext3d import ConvNext3d, Shape

    shape = shape or Shape()
    prefixes = ("aesthetic_backbone.", "aesthetic_head.")
    network = _network(model, partial(ConvNext3d, shape), shape.widths[-1], prefixes)
    return SpanScorer(network, spread_frames, model.label("dover-aesthetic"))


def _swin(model: Model, shape: swin3d.Shape | None, body: str, head: str) -> VideoNetwork:
    from filters.scorers.networks.swin3d import Shape, Swin3d

    shape = shape or Shape()
    return _network(model, partial(Swin3d, shape), shape.width << (len(shape.depths) - 1), (body, head))


def _network(
    model: Model, backbone: Callable[[], nn.Module], width: int, prefixes: tuple[str, str]
) -> VideoNetwork:
    """A backbone that gives `width` channels, and its head; `prefixes` are those of their tensors' names."""
    from filters.scorers.networks.heads import VideoHead

    state = read_state(model.path)
    modules = (backbone(), VideoHead(width))
    for module, prefix in zip(modules, prefixes, strict=True):
        fill(module, state, prefix, model.path)
    body, head = (placed(module, model.device) for module in modules)
    return VideoNetwork(body, head, model.device)
