"""Synthetic content: what no camera took. Slideshows, screens, games, animation, test cards, titles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import one_thread_cv2, shown, spread
from filters.signals.drawn import Looks, evenness, looks
from filters.signals.framed import within_bars
from filters.signals.washes import ramp
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage

KINDS = ("none", "screen_recording", "test_card", "title_card", "game_hud", "animation", "slideshow")
"""What `synthetic_kind` may be; where several scores reach `kind_min`, the kind that stands first counts."""


@dataclass(frozen=True)
class Synthetic(Stage):
    """A kind, and scores from 0 to 1 of how much a clip looks like each; they are no probabilities.

    `screen_score` is for flat areas, hard edges along the axes or on two colours (screens, test cards, titles),
    `hud_score` for such edges that stay at many places of the rim while the picture moves, `animation_score` for flat
    areas between hard edges of any direction, `slideshow_score` for pictures that do not change or that move as one
    and evenly. Every score is a product of ramps over the values of filters.signals.drawn and of `flow`, levels ours.
    """

    name = "synthetic"
    columns = pa.schema(
        [
            pa.field("synthetic_kind", pa.string()),
            *(
                pa.field(f"{kind}_score", pa.float64())
                for kind in ("screen", "hud", "animation", "slideshow")
            ),
        ]
    )
    frames = VIEW
    requires = ("flow", "static", "border")

    most_frames: int = 6
    kind_min: float = 0.5
    """Score from which a clip is of a kind."""
    vivid_min: float = 0.2
    """Share of pure colours from which a screen is a test card: colour bars."""
    plain_min: float = 0.965
    """Share of two colours from which a screen is a title card."""

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        images = shown(frames).images
        chosen = spread(len(images), float(self.most_frames), 1.0, self.most_frames)
        seen = looks(state, [within_bars(image, clip.upstream["border"]) for image in images[chosen]])
        flow, static = clip.upstream["flow"], clip.upstream["static"]["static_ratio"] or 0.0
        drawn = ramp(seen.edges, 0.003, 0.008) * ramp(seen.flat, 0.5, 0.65)
        ruled = max(ramp(seen.straight, 0.4, 0.55), ramp(seen.two_colours, 0.75, 0.9))
        moves = 1 - ramp(float(np.mean(flow["flow_still_share"] or [1.0])), 0.4, 0.7)
        stays = ramp(seen.rim, 4, 7) * ramp(seen.stay, 0.2, 0.4) * ramp(seen.straight, 0.3, 0.45)
        still = ramp(seen.same, 0.85, 0.93) * ramp(static, 0.7, 0.9) * ramp(seen.two_colours, 1.0, 0.95)
        scores = {
            "screen": drawn * ramp(seen.crisp, 0.15, 0.25) * ruled,
            "hud": moves * stays,
            "animation": drawn * ramp(seen.crisp, 0.12, 0.22) * (1 - ramp(seen.straight, 0.5, 0.65)),
            "slideshow": max(still, evenness(flow)),
        }
        named = {f"{name}_score": score for name, score in scores.items()}
        return {"synthetic_kind": self._kind(scores, seen), **named}

    def _kind(self, scores: Mapping[str, float], seen: Looks) -> str:
        plain = "title_card" if seen.two_colours >= self.plain_min else "screen_recording"
        names = {"screen": "test_card" if seen.vivid >= self.vivid_min else plain, "hud": "game_hud"}
        return next((names.get(name, name) for name in scores if scores[name] >= self.kind_min), "none")
