"""The filters: one file a measurement. A stage is listed after those that it requires."""

from __future__ import annotations

from filters.aesthetic import Aesthetic
from filters.artifacts import Artifacts
from filters.black import Black
from filters.blur import Blur
from filters.bodies import Bodies
from filters.border import Border
from filters.cadence import Cadence
from filters.crop import Crop
from filters.effects import Effects
from filters.embedding import Embedding
from filters.emotions import Emotions
from filters.exposure import Exposure
from filters.faces import Faces
from filters.flicker import Flicker
from filters.flow import Flow
from filters.horizon import Horizon
from filters.image_quality import ImageQuality
from filters.logo import Logo
from filters.mosaic import Mosaic
from filters.motion import Motion
from filters.objects import Objects
from filters.overlay import Overlay
from filters.phash import PHash
from filters.split import Split
from filters.static import Static
from filters.subtitle import Subtitle
from filters.suitability import Suitability
from filters.sway import Sway
from filters.synthetic import Synthetic
from filters.text import Text
from filters.video_quality import VideoQuality
from pipeline.stage import Stage

STAGES: tuple[Stage, ...] = (
    Flow(),
    Sway(),
    Motion(),
    Static(),
    Black(),
    Exposure(),
    Blur(),
    Border(),
    Mosaic(),
    Split(),
    Synthetic(),
    Text(),
    Overlay(),
    Subtitle(),
    Logo(),
    Effects(),
    Crop(),
    Faces(),
    Objects(),
    Bodies(),
    Emotions(),
    Horizon(),
    PHash(),
    Embedding(),
    Artifacts(),
    Flicker(),
    Cadence(),
    Aesthetic(),
    ImageQuality(),
    VideoQuality(),
    Suitability(),
)
"""Every filter with default settings."""
