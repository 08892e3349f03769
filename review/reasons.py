"""The closed lists of reasons for which a reviewer calls an item bad, one list a gate. Documented in docs/review.md."""

from __future__ import annotations

from typing import Literal, get_args

Gate = Literal["source", "segmentation", "pretrain", "posttrain"]
GATES: tuple[Gate, ...] = get_args(Gate)
"""Where people look, in the order of the work: SkyReels-V2 (arXiv 2504.13074), 3.1, human in the loop."""

_PICTURE = {
    "black": "Black or empty frames",
    "frozen": "Frozen, or nothing moves",
    "blurred": "Blurred or out of focus",
    "compressed": "Compression artifacts, mosaic, noise",
    "exposure": "Too dark or too bright",
}
_OVERLAY = {
    "logo": "Logo or watermark",
    "text": "Subtitles or other text laid over",
    "border": "Border, frame or split screen",
    "effects": "Effects, animation or screen recording",
}
_SPAN = {
    "cut_inside": "A cut inside the clip",
    "transition": "A fade, wipe or dissolve inside",
}
_CAPTION = {
    "caption_subject": "Caption: wrong or missing subject",
    "caption_action": "Caption: wrong action",
    "caption_camera": "Caption: wrong shot or camera motion",
    "caption_other": "Caption: something else is wrong",
}
_LOOK = {
    "ugly": "Not worth showing to a model",
    "shaky": "Shaky or abrupt camera",
}
OTHER = "other"
"""The reason that a note explains."""
_OTHER = {OTHER: "Something else: say so in a note"}

REASONS: dict[Gate, dict[str, str]] = {
    "source": _PICTURE | _OVERLAY | {"unwanted": "Not the kind of video that is wanted"} | _OTHER,
    "segmentation": _SPAN
    | {"starts_late": "Starts or ends in the middle of the take", "torn": "Frames missing or torn"}
    | _OTHER,
    "pretrain": _PICTURE | _OVERLAY | _SPAN | _CAPTION | _OTHER,
    "posttrain": _PICTURE | _OVERLAY | _SPAN | _CAPTION | _LOOK | _OTHER,
}
"""By gate, what each reason is called on the page, in the order of its keys."""
