"""scorer.toml: what an exported network wants to be shown, and what its output means.

label = "koala-vtss"        # what the engine's column says
layout = "NCTHW"            # of the input: NCTHW or NTCHW for clips, NCHW for pictures
frames = 32                 # of a clip at once; 1 with NCHW
side_px = 224               # every picture is scaled to this square
mean = [123.7, 116.3, 103.5]
std = [58.4, 57.1, 57.4]    # levels of 0 to 255
scale = 0.2                 # score = scale x output + offset: 0 is the worst, 1 the best
offset = 0.0
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.weights import WeightError


class Page(BaseModel):
    """scorer.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    layout: Literal["NCTHW", "NTCHW", "NCHW"]
    frames: int = Field(ge=1, le=1024)
    side_px: int = Field(ge=8, le=4096)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float = 1.0
    offset: float = 0.0

    @model_validator(mode="after")
    def _one_picture(self) -> Page:
        if (self.layout == "NCHW") != (self.frames == 1):
            raise ValueError("frames is 1 with layout NCHW, and only then")
        if not all(level > 0 for level in self.std):
            raise ValueError("std must be above 0")
        if not all(map(math.isfinite, (*self.mean, *self.std, self.scale, self.offset))):
            raise ValueError("mean and std must be numbers, and so must scale and offset")
        return self


def read_page(path: Path) -> Page:
    """The page in a file. WeightError: it is none, and why."""
    try:
        return Page.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "it"
        raise WeightError(f"'{path}': {key}: {first['msg']}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WeightError(f"'{path}' is not TOML: {error}") from None
