"""Where a clip lies, and what is to be seen around it: all that it takes to show one to a reviewer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from review.plan import Plant

VERSION = 1
"""Bumped when the same footage would give another preview: older ones in the cache are then not used."""


@dataclass(frozen=True)
class Footage:
    """A span of a video, and the frames around it that a reviewer may want to see."""

    video: Mapping[str, Any]
    """The VIDEOS row."""
    start_frame: int
    end_frame: int
    """First frame after the span."""
    before: int | None = None
    """A frame of the shot before; None where there is none."""
    after: int | None = None
    """A frame of the shot after; None where there is none."""

    @property
    def name(self) -> str:
        return f"{self.video['video_id']}:{self.start_frame}:{self.end_frame}"


@dataclass(frozen=True)
class Order:
    """One preview to make: footage, and the fault to render into it, if any."""

    footage: Footage
    planted: Plant | None = None
    """A wrong caption changes no picture, the other kinds do."""
    donor: Footage | None = None
    """What a cut inside leads to: the clip that `planted` names."""

    @property
    def key(self) -> str:
        """20 hex digits that equal orders share: the preview's name in the cache. They tell of no fault."""
        fault = self.planted if self.planted is not None and self.planted.kind != "wrong_caption" else None
        parts: list[object] = [VERSION, self.footage.name, self.footage.before, self.footage.after]
        if fault is not None:
            parts += [fault.kind, fault.at, self.donor.name if self.donor is not None else None]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]
