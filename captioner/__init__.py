"""Captions: the schema, the engine seam, and the captioner that is built in."""

from __future__ import annotations

from captioner.embedded import EmbeddedCaptioner
from captioner.experts.camera import CameraExpert
from captioner.experts.shot import ShotExpert
from pipeline.stage import Stage

STAGES: tuple[Stage, ...] = (CameraExpert(), ShotExpert(), EmbeddedCaptioner())
"""The stages of the embedded captioner with default settings; each is listed after those that it requires."""
