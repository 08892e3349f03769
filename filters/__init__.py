"""The filters: one file a measurement. A stage is listed after those that it requires."""

from __future__ import annotations

from filters.black import Black
from filters.blur import Blur
from filters.border import Border
from filters.exposure import Exposure
from filters.faces import Faces
from filters.flow import Flow
from filters.motion import Motion
from filters.objects import Objects
from filters.phash import PHash
from filters.static import Static
from filters.text import Text
from pipeline.stage import Stage

STAGES: tuple[Stage, ...] = (
    Flow(),
    Motion(),
    Static(),
    Black(),
    Exposure(),
    Blur(),
    Border(),
    Text(),
    Faces(),
    Objects(),
    PHash(),
)
"""Every filter with default settings."""
