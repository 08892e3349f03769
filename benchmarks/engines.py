"""Clips a second of each learned engine, and the share of it that the network's forward pass takes.

    python -m benchmarks.engines [cpu | cuda]

Networks of the published size with random weights, clips of 5 s of random pictures, as many at once as a stage gets:
16 on a GPU, one on a CPU. Frames are ready before the clock starts. Wall seconds after a first batch that is not
counted; a GPU is waited for before and after each forward pass. With the device free; some minutes on a CPU, seconds
on a GPU. The share that is not forward is preparation on one core: where it is large, more workers a GPU pay.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clock import table
from filters.aesthetic import Aesthetic
from filters.scorers.engines import EngineStage
from filters.video_quality import VideoQuality
from pipeline.clip import Clip
from pipeline.stage import BATCH, ClipError, FrameBatch, FrameSpec

CLIP = Clip("c" * 20, "s" * 20, "v" * 20, 0, 120, 0.0, 5.0, 24.0, 1920, 1080)
ROUNDS = {"cpu": 1, "cuda": 5}


@dataclass
class Stopwatch:
    """Sums the time that a module's forward passes take."""

    device: str
    seconds: float = 0.0
    began: float = field(default=0.0)

    def watch(self, module: Any) -> None:
        module.register_forward_pre_hook(lambda *_: self._start())
        module.register_forward_hook(lambda *_: self._stop())

    def _start(self) -> None:
        self.began = self._now()

    def _stop(self) -> None:
        self.seconds += self._now() - self.began

    def _now(self) -> float:
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def write_models(folder: Path) -> dict[str, Path]:
    """Checkpoints of random weights and of the published size, by engine."""
    import torch
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from filters.scorers.networks.convnext3d import ConvNext3d
    from filters.scorers.networks.heads import AestheticHead, VideoHead
    from filters.scorers.networks.swin3d import Swin3d

    torch.manual_seed(0)
    (folder / "laion").mkdir()
    config = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        patch_size=14,
        projection_dim=768,
    )
    clip = CLIPVisionModelWithProjection(config)
    config.save_pretrained(folder / "laion")
    save_file(dict(clip.state_dict()), folder / "laion" / "model.safetensors")
    torch.save(AestheticHead().state_dict(), folder / "laion" / "head.pth")
    parts: Mapping[str, Any] = {
        "technical_backbone.": Swin3d(),
        "technical_head.": VideoHead(),
        "aesthetic_backbone.": ConvNext3d(),
        "aesthetic_head.": VideoHead(),
    }
    dover = {
        prefix + name: value for prefix, part in parts.items() for name, value in part.state_dict().items()
    }
    torch.save(dover, folder / "DOVER.pth")
    names = {"technical_backbone.": "fragments_backbone.", "technical_head.": "vqa_head."}
    fast = {new + n: v for old, new in names.items() for n, v in parts[old].state_dict().items()}
    torch.save(fast, folder / "FAST.pth")
    return {"laion": folder / "laion", "dover": folder / "DOVER.pth", "fast_vqa": folder / "FAST.pth"}


def shown(spec: FrameSpec, seed: int) -> FrameBatch:
    """Random pictures of a 1080p clip as the spec shows them."""
    count = int(CLIP.duration_s / spec.every_s)
    if spec.fragments is not None:
        height = width = spec.fragments * (spec.patch_px or 1)
    else:
        height = spec.short_side_px or CLIP.height
        width = round(height * CLIP.width / CLIP.height)
    images = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    return FrameBatch(images, np.arange(count, dtype=np.float64) * spec.every_s, np.arange(count))


def networks(scorer: Any) -> list[Any]:
    """The modules of a scorer that are its forward pass."""
    if hasattr(scorer, "network"):
        return [scorer.network.backbone, scorer.network.head]
    return [scorer.scorer.clip, scorer.scorer.head]


def measure(stage: EngineStage, watch: Stopwatch) -> tuple[float, float]:
    """Clips a second, and the share of the forward passes."""
    scorer = stage.load()
    for module in networks(scorer):
        watch.watch(module)
    size = BATCH if stage.gpus else 1
    assert stage.frames is not None
    frames = [shown(stage.frames, seed) for seed in range(size)]
    stage.measure_batch(scorer, [CLIP] * size, frames)
    watch.seconds, began, rounds = 0.0, time.perf_counter(), ROUNDS[stage.device]
    for _ in range(rounds):
        answers = stage.measure_batch(scorer, [CLIP] * size, frames)
        if any(isinstance(answer, ClipError) for answer in answers):
            raise SystemExit(f"{stage.engine}: {answers[0]}")
    took = time.perf_counter() - began
    return rounds * size / took, watch.seconds / took


def main(device: str) -> None:
    """Prints the table."""
    if device not in ROUNDS:
        raise SystemExit(__doc__)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        models = write_models(Path(folder))
        for cls, engine in (
            (Aesthetic, "laion"),
            (Aesthetic, "dover"),
            (VideoQuality, "dover"),
            (VideoQuality, "fast_vqa"),
        ):
            stage: EngineStage = cls(engine=engine, model=str(models[engine]), device=device)  # type: ignore[arg-type]
            rate, share = measure(stage, Stopwatch(device))
            lines.append((stage.name, engine, f"{rate:.3g}", f"{share:.0%}"))
    print(f"on {device}, {BATCH if device == 'cuda' else 1} clips of {CLIP.duration_s:g} s at once")
    print(table(("stage", "engine", "clips a second", "forward"), lines))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
