"""Defect: a fault that can be rendered over clean footage, and the measurement that should see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]
"""(frames, height, width, 3) RGB: a clip at its source's size and rate."""
Render = Callable[[Pictures, float, np.random.Generator], Pictures]
"""Pictures and their frame rate to the pictures with the fault, of the same shape; its input stays as it was."""


@dataclass(frozen=True)
class Defect:
    """One kind of fault; clean clips are its controls."""

    name: str
    """In words: "mosaic over one region"."""
    stage: str
    column: str
    """The value that should tell."""
    bad: Literal["high", "low"]
    """On which side the fault lies."""
    strengths: Mapping[str, Render]
    """Mildest first: what it is, in words with a unit ("cells of 8 px"), and how it is rendered."""
    threshold: float
    """From which (bad = high) or up to which (bad = low) a value counts as found: the recipe's, or ours."""
    note: str = ""
    """Where the measurement is weak, in a sentence."""
    leave_out: tuple[str, ...] = ()
    """Traits (footage.py) of clips that have the fault by nature: neither rendered on nor controls."""
