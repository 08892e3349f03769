"""Special effects: stickers, frames, particles, tints, flashes and RGB splits laid over the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from filters.base import Rgb, one_thread_cv2, shown, spread
from filters.signals.stickers import frame_score, opaque, sticker_score
from filters.signals.washes import flash, ramp, specks, split_px, tint
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import FrameBatch, Row, Stage

KINDS = ("frame", "sticker", "particles", "tint", "flash", "rgb_split")
"""Values of `effects_kind`; of equal scores the first one counts."""


@dataclass(frozen=True)
class Effects(Stage):
    """How surely some effect was laid over the picture, 0 to 1, and which; no kind below `kind_min`.

    The score is that of the likeliest kind, and not a probability: each is a measure of filters.signals.washes or
    filters.signals.stickers between a level at which footage is (0) and one at which the effect is plain (1), all ours.
    Stickers are found where `overlay` can tell what stands still, and those that move are not; frames where the picture
    within them moves. A vignette is no kind: nothing tells it from footage whose corners are dark.
    """

    name = "effects"
    version = 2
    columns = pa.schema({"effects_score": pa.float64(), "effects_kind": pa.string()})
    frames = VIEW
    requires = ("overlay", "text")

    most_frames: int = 3
    """Frames that the signals of a whole picture are measured on, flashes on all."""
    speck_ratio: float = 0.022
    """Largest particle, as a share of the short side ..."""
    speck_level: float = 40.0
    """... and luma levels by which it is brighter than its surroundings."""
    split_most: int = 8
    """Largest shift of red from blue that is looked for, in steps of two pixels."""
    kind_min: float = 0.5

    def load(self) -> Any:
        return one_thread_cv2()

    def measure(self, state: Any, clip: Clip, frames: FrameBatch | None) -> Row:
        images = shown(frames).images
        few = images[spread(len(images), float(self.most_frames), 1.0, self.most_frames)]
        overlay, same = clip.upstream["overlay"]["overlay_boxes"], opaque(state, few)
        scores = {
            "frame": frame_score(few[0], state.cvtColor(few[0], state.COLOR_RGB2GRAY), same)
            if len(few) > 1
            else 0.0,
            "sticker": sticker_score(same, overlay or (), clip.upstream["text"]["text_tracks"]),
            **self._looks(state, few),
            "flash": ramp(flash(images), 40, 80),
        }
        kind = max(KINDS, key=scores.__getitem__)
        told = scores[kind] >= self.kind_min
        return {"effects_score": scores[kind], "effects_kind": kind if told else None}

    def _looks(self, cv2: Any, images: Rgb) -> dict[str, float]:
        """Scores of what changes the look of a whole picture."""
        short = min(images.shape[1:3])
        grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
        size_px = max(3, round(self.speck_ratio * short) | 1)
        strength, rest, shade = tint(images)
        even = ramp(rest / max(strength, 1.0), 0.4, 0.15) * ramp(shade / max(strength, 1.0), 0.4, 0.7)
        return {
            "particles": ramp(specks(cv2, grays, size_px, self.speck_level), 0.25, 0.55),
            "tint": ramp(strength, 8, 20) * even,
            "rgb_split": ramp(split_px(images, self.split_most) / short, 0.004, 0.01),
        }
