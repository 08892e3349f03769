"""Static: a picture that stops."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures


def frozen(pictures: Pictures, fps: float, dice: np.random.Generator, share: float) -> Pictures:
    """The last share of the clip repeats one frame."""
    result = pictures.copy()
    first = round((1 - share) * len(result))
    result[first:] = result[first]
    return result


DEFECTS = (
    Defect(
        "frozen picture",
        "static",
        "static_ratio",
        "high",
        {f"{share:.0%} of the clip": partial(frozen, share=share) for share in (0.5, 1.0)},
        0.3,
        "A locked-off shot of a scene in which almost nothing moves is as static as a frozen one.",
        leave_out=("still",),
    ),
)
