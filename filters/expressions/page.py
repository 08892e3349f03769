"""expression.toml: what a user's network of expressions wants to be shown, and what its outputs mean.

label = "opencv-mobilefacenet"
labels = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]   # of the outputs, in their order
layout = "NCHW"             # of the input: NCHW or NHWC
channels = 3                # RGB; 1 is gray
side_px = 112               # the square around the face is scaled to this
face_scale = 1.1            # the square's side over the longer side of the detected face
mean = 127.5                # (level - mean) / std, levels of 0 to 255
std = 127.5
softmax = true              # the outputs are logits; false: probabilities
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from filters.expressions.fer import EMOTIONS
from pipeline.weights import WeightError


class Page(BaseModel):
    """expression.toml. A label that is none of the seven emotions (contempt, say) counts for none of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    label: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    labels: tuple[str, ...] = Field(min_length=2, max_length=64)
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    channels: Literal[1, 3] = 3
    side_px: int = Field(ge=8, le=1024)
    face_scale: float = Field(default=1.1, gt=0, le=4)
    mean: float = 127.5
    std: float = Field(default=127.5, gt=0)
    softmax: bool = True

    @model_validator(mode="after")
    def _all_seven(self) -> Page:
        if missing := [name for name in EMOTIONS if self.labels.count(name) != 1]:
            raise ValueError(f"labels wants each of the seven once; look at {', '.join(missing)}")
        return self


def read_page(path: Path) -> Page:
    """The page in a file. WeightError: it is none, and why."""
    try:
        return Page.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "it"
        raise WeightError(f"'{path}': {key}: {first['msg']}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise WeightError(f"'{path}' is not TOML: {error}") from None
