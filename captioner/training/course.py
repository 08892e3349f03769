"""How a captioner is trained: the settings, out of a TOML file or as they are."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PAPER_RATE = 1e-5
"""SkyCaptioner-V1's (arXiv 2504.13074, 3.2), which trained all weights."""
LORA_RATE = 1e-4
"""A LoRA's, ten times that of all weights, as is usual."""
PAPER_BATCH = 512
"""SkyCaptioner-V1's, of 2 M clips."""
STEPS = 50
"""An epoch has so many where the batch is not set, or one a clip: 1,000 clips by 512 were two steps. Ours."""
FEW_STEPS = 50
"""A training of fewer steps in all is told that they are few. Ours."""


class TrainingError(Exception):
    """This cannot be trained: one sentence."""


class Course(BaseModel):
    """The settings of one training. Batch and epochs are SkyCaptioner-V1's (arXiv 2504.13074, 3.2), the rest ours."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rank: Annotated[int, Field(ge=0)] = 16
    """Of the LoRA; 0 trains all weights."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    """The LoRA counts alpha / rank times."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of what goes into the LoRA that is dropped."""
    targets: str = r".*language_model.*\.(q|k|v|o|gate|up|down)_proj"
    """Regular expression of the layers that a LoRA is put on; the default leaves the eyes as they are."""
    whole: tuple[str, ...] = ()
    """Modules that are trained whole beside the LoRA, such as `lm_head`."""
    rate: Annotated[float, Field(gt=0)] | None = None
    """AdamW's highest step size; by default 1e-5 for all weights and 1e-4 for a LoRA."""
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of the steps in which the step size rises; then it falls to nothing along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    """Longest gradient."""
    batch: Annotated[int, Field(ge=1)] | None = None
    """Clips a step; their gradients are summed one by one. By default 512, or so few that an epoch has 50 steps."""
    epochs: Annotated[int, Field(ge=1)] = 2
    seed: int = 0
    recompute: bool = True
    """Gradient checkpointing: compute the forward pass twice and keep little of it. A third slower, far less memory."""
    save_every: Annotated[int, Field(ge=1)] = 50
    """Steps from one state to the next; there is one after each epoch too."""
    most_tokens: Annotated[int, Field(ge=1)] = 16_384
    """Of a clip with its answer: a longer one is left out and said so, for a torn answer teaches torn JSON."""
    frames_max: Annotated[int, Field(ge=1, le=768)] = 16
    """Frames of a clip. These four are the `vlm` stage's and its engine's: the student sees what it will be shown."""
    every_s: Annotated[float, Field(ge=0.01)] = 0.04
    short_side_px: Annotated[int, Field(ge=16)] = 360
    frame_px: Annotated[int, Field(ge=1)] = 360 * 420
    """Pixels of a frame, at most."""
    exam_clips: Annotated[int, Field(ge=0)] = 64
    """Clips of the validation part that are answered after each epoch; all of it counts for the loss."""
    answer_tokens: Annotated[int, Field(ge=1)] = 2_048
    """Of such an answer, at most."""

    def clips_a_step(self, clips: int) -> int:
        """The batch of a set of so many clips: at most; the steps of an epoch differ by one clip at most."""
        return self.batch or max(1, min(PAPER_BATCH, clips // STEPS))

    @property
    def top_rate(self) -> float:
        """The highest step size."""
        return self.rate or (LORA_RATE if self.rank else PAPER_RATE)


def load(path: Path | None) -> Course:
    """The settings in a TOML file, or the defaults. TrainingError: it cannot be read, an unknown key, a wrong value."""
    if path is None:
        return Course()
    try:
        page = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"cannot read the course {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"the course {path} is not TOML: {error}") from None
    try:
        return Course.model_validate({k: tuple(v) if isinstance(v, list) else v for k, v in page.items()})
    except ValidationError as error:
        fault = error.errors()[0]
        raise TrainingError(
            f"the course {path}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"
        ) from None
