"""Learned scorers on PyTorch: DOVER's two branches, FAST-VQA, and LAION's aesthetic head on CLIP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from filters.base import Rgb
from filters.checkpoint import files_of, fill, read_state
from pipeline.weights import WeightError

if TYPE_CHECKING:
    from torch import Tensor, nn

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Of ImageNet, in levels: what the video networks were trained with."""
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training set, of full range (Radford et al. 2021)."""
FRAMES = 32
"""Frames that the video networks look at in one go."""
WINDOWS = 3
"""Spans of FRAMES that the technical branch takes from a clip; their scores are averaged."""


@dataclass(frozen=True)
class VideoNetwork:
    """A network from spliced or scaled frames to a score, on a device."""

    label: str
    backbone: nn.Module
    head: nn.Module
    device: str

    def score(self, clips: Sequence[npt.NDArray[np.uint8]]) -> list[float]:
        """One score a batch of (FRAMES, side, side, 3) RGB frames, all of one size, in one forward pass."""
        import torch

        stacked = torch.from_numpy(np.stack(clips)).to(self.device).permute(0, 4, 1, 2, 3).float()
        mean, std = (torch.tensor(level, device=self.device).view(1, 3, 1, 1, 1) for level in (MEAN, STD))
        with torch.inference_mode():
            scores: list[float] = self.head(self.backbone((stacked - mean) / std)).float().cpu().tolist()
        return scores


def spans(count: int) -> list[list[int]]:
    """Positions among `count` frames of the WINDOWS spans of FRAMES, evenly spread; a short clip is looped.

    The published sampler draws the spans at random; evenly spread ones make the score a function of the clip.
    """
    if count <= FRAMES:
        return [[position % count for position in range(FRAMES)]]
    starts = sorted({round(i * (count - FRAMES) / (WINDOWS - 1)) for i in range(WINDOWS)})
    return [list(range(start, start + FRAMES)) for start in starts]


def spread_frames(count: int) -> list[int]:
    """Positions of FRAMES frames evenly spread over all `count`; a short clip repeats some."""
    return [position * count // FRAMES for position in range(FRAMES)]


def technical_dover(model: Path, device: str) -> VideoNetwork:
    """DOVER's technical branch (Wu et al. 2023). Errors as `read_state` and `fill`."""
    from filters.networks.swin3d import Swin3d

    return _video(model, device, "dover-technical", Swin3d, "technical_backbone.", "technical_head.")


def aesthetic_dover(model: Path, device: str) -> VideoNetwork:
    """DOVER's aesthetic branch (Wu et al. 2023). Errors as `read_state` and `fill`."""
    from filters.networks.convnext3d import ConvNext3d

    return _video(model, device, "dover-aesthetic", ConvNext3d, "aesthetic_backbone.", "aesthetic_head.")


def fast_vqa(model: Path, device: str) -> VideoNetwork:
    """FAST-VQA-B (Wu et al. 2022). Errors as `read_state` and `fill`."""
    from filters.networks.swin3d import Swin3d

    return _video(model, device, "fast-vqa", Swin3d, "fragments_backbone.", "vqa_head.")


def _video(
    model: Path, device: str, label: str, network: Callable[[], nn.Module], body: str, head: str
) -> VideoNetwork:
    from filters.networks.heads import VideoHead

    backbone, score = network(), VideoHead()
    state = read_state(model)
    fill(backbone, state, body, model)
    fill(score, state, head, model)
    placed = [_placed(module, device) for module in (backbone, score)]
    return VideoNetwork(label, placed[0], placed[1], device)


@dataclass(frozen=True)
class LaionAesthetic:
    """LAION's improved aesthetic predictor (2022): one to ten, by a small head on CLIP ViT-L/14 embeddings."""

    clip: Any
    head: nn.Module
    device: str
    side: int
    label = "laion-improved-aesthetic"

    def score(self, pictures: Sequence[Rgb]) -> list[float | None]:
        """See PictureScorer: every picture has a score. All are embedded in one forward pass."""
        import torch

        stacked = torch.stack([self._prepared(picture) for picture in pictures]).to(self.device)
        with torch.inference_mode():
            embedded = self.clip(pixel_values=stacked).image_embeds
            unit = embedded / embedded.norm(dim=-1, keepdim=True)
            return [float(score) for score in self.head(unit).float().cpu()]

    def _prepared(self, picture: Rgb) -> Tensor:
        """(3, side, side): the shorter side scaled to `side`, the middle cut out, normalised."""
        import torch
        from torch.nn import functional

        cells = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        height, width = cells.shape[-2:]
        scale = self.side / min(height, width)
        size = (max(self.side, round(height * scale)), max(self.side, round(width * scale)))
        scaled = functional.interpolate(cells, size, mode="bicubic", antialias=True)[0].clamp(0, 1)
        top, left = (size[0] - self.side) // 2, (size[1] - self.side) // 2
        middle = scaled[:, top : top + self.side, left : left + self.side]
        mean, std = (torch.tensor(level).view(3, 1, 1) for level in (CLIP_MEAN, CLIP_STD))
        return (middle - mean) / std


def laion_aesthetic(model: Path, device: str) -> LaionAesthetic:
    """The predictor in a folder: CLIP in the hub's layout (config.json, model.safetensors), and `head.*`.

    The head is sac+logos+ava1-l14-linearMSE.pth under the name head.pth, or head.safetensors. WeightError: a file is
    missing, not readable, or of another model.
    """
    from transformers import CLIPVisionModelWithProjection

    from filters.networks.heads import AestheticHead

    heads = [path for path in files_of(model, LAION) if path.parent == model and path.stem == "head"]
    if len(heads) != 1 or not (model / "config.json").is_file():
        raise WeightError(f"'{model}' is not complete: {LAION}")
    try:
        clip = CLIPVisionModelWithProjection.from_pretrained(
            str(model), local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise WeightError(f"'{model}' holds no CLIP that can be loaded: {error}".splitlines()[0]) from None
    head = AestheticHead(clip.config.projection_dim)
    fill(head, read_state(heads[0]), "", heads[0])
    return LaionAesthetic(_placed(clip, device), _placed(head, device), device, clip.config.image_size)


LAION = "put openai/clip-vit-large-patch14's config.json and model.safetensors there, and LAION's head as head.pth"
"""What to say when the aesthetic model is missing."""


def _placed(module: Any, device: str) -> Any:
    """The module ready for inference on the device. WeightError: there is no such device."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise WeightError(
            'there is no GPU here for device = "cuda": set device = "cpu", or run where there is one'
        )
    return module.eval().requires_grad_(False).to(device)
