"""What a network makes of pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Encoded(NamedTuple):
    """Of each picture its vector, and how likely it shows each class that the network knows."""

    vectors: npt.NDArray[np.float32]
    """(n, dimensions), of length 1."""
    classes: npt.NDArray[np.float32] | None
    """(n, 1000) probabilities in the order of `imagenet.LABELS`; None: it was not trained to tell."""

    def part(self, start: int, end: int) -> Encoded:
        """Of the pictures from `start` to `end`."""
        return Encoded(self.vectors[start:end], None if self.classes is None else self.classes[start:end])
