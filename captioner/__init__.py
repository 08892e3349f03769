"""Captions: the schema, the experts, the captioner that is built in, and those with a language model."""

from __future__ import annotations

from captioner.embedded import EmbeddedCaptioner
from captioner.experts.camera import CameraExpert
from captioner.experts.expression import ExpressionExpert
from captioner.experts.shot import ShotExpert
from captioner.fusion import Fusion
from captioner.policy import PolicyCaptioner
from captioner.vlm import VlmCaptioner
from pipeline.stage import Stage

EXPERTS: tuple[Stage, ...] = (CameraExpert(), ShotExpert(), ExpressionExpert())
STAGES: tuple[Stage, ...] = (*EXPERTS, EmbeddedCaptioner(), Fusion())
"""The stages of the embedded captioner with default settings; each is listed after those that it requires."""
MODEL_STAGES: tuple[Stage, ...] = (*EXPERTS, VlmCaptioner(), PolicyCaptioner(), Fusion())
"""Those of a captioner with a vision-language model: its fields and the experts' make the caption."""
