"""LAION's improved aesthetic predictor: a small head on CLIP's embedding of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from filters.base import Rgb
from filters.scorers.checkpoint import Model, fill, placed, read_state
from pipeline.weights import WeightError

if TYPE_CHECKING:
    from torch import Tensor, nn

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training set, of full range (Radford et al. 2021)."""
PICTURES_A_STEP = 32
"""What goes through the network at once: a bound on memory."""


@dataclass(frozen=True)
class LaionAesthetic:
    """LAION's improved aesthetic predictor (2022): one to ten, by a small head on CLIP ViT-L/14 embeddings."""

    clip: Any
    head: nn.Module
    device: str
    side: int
    label: str

    def score(self, pictures: Sequence[Rgb]) -> list[float | None]:
        """See PictureScorer: every picture has a score. They are embedded PICTURES_A_STEP at a time."""
        steps = range(0, len(pictures), PICTURES_A_STEP)
        return [score for start in steps for score in self._step(pictures[start : start + PICTURES_A_STEP])]

    def _step(self, pictures: Sequence[Rgb]) -> list[float]:
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

        cells = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
        height, width = cells.shape[-2:]
        scale = self.side / min(height, width)
        size = (max(self.side, round(height * scale)), max(self.side, round(width * scale)))
        scaled = functional.interpolate(cells, size, mode="bicubic", antialias=True)[0].clamp(0, 1)
        top, left = (size[0] - self.side) // 2, (size[1] - self.side) // 2
        middle = scaled[:, top : top + self.side, left : left + self.side]
        mean, std = (torch.tensor(level).view(3, 1, 1) for level in (CLIP_MEAN, CLIP_STD))
        return (middle - mean) / std


def laion_aesthetic(model: Model) -> LaionAesthetic:
    """The predictor in a folder: CLIP in the hub's layout (config.json, model.safetensors), and the head.

    The head is sac+logos+ava1-l14-linearMSE.pth under the name head.pth, or head.safetensors. WeightError: a file is
    missing, not readable, or of another model.
    """
    from filters.scorers.networks.heads import AestheticHead

    folder = model.path
    heads = [path for path in (folder / "head.pth", folder / "head.safetensors") if path.is_file()]
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if len(heads) != 1 or missing:
        raise WeightError(f"'{folder}' wants {', '.join(missing) or 'one of head.pth and head.safetensors'}")
    clip = _clip_vision(folder)
    head = AestheticHead(clip.config.projection_dim)
    fill(head, read_state(heads[0]), "", heads[0])
    placed_clip, placed_head = placed(clip, model.device), placed(head, model.device)
    return LaionAesthetic(
        placed_clip, placed_head, model.device, clip.config.image_size, model.label("laion")
    )


def _clip_vision(folder: Path) -> Any:
    """CLIP's picture tower, every tensor from the file: the library's own loader makes up those that are missing."""
    import torch

    try:
        from huggingface_hub.errors import StrictDataclassError
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    except ImportError:
        raise WeightError("engine = \"laion\" needs `pip install '.[scorers]'`") from None
    try:
        config = CLIPVisionConfig.from_pretrained(str(folder), local_files_only=True)
        clip = CLIPVisionModelWithProjection(config).eval()
        with torch.inference_mode():
            clip(pixel_values=torch.zeros(1, 3, config.image_size, config.image_size))
    except (
        StrictDataclassError,
        ArithmeticError,
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        said = " ".join(str(error).split())[:200]
        raise WeightError(f"'{folder}/config.json' describes no CLIP: {said}") from None
    state = {
        name: value
        for name, value in read_state(folder / "model.safetensors").items()
        if name.startswith(("vision_model.", "visual_projection.")) and not name.endswith("position_ids")
    }
    fill(clip, state, "", folder / "model.safetensors")
    return clip
