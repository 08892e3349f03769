"""Embeddings of a few frames, for finding copies and for semantic clusters, with small pictures to confirm them by, and
the classes that the same network sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import numpy as np
import pyarrow as pa

from filters.base import ModelStage, Rgb, looked_at, one_thread_cv2
from filters.descriptors.encoded import Encoded
from filters.descriptors.imagenet import likeliest
from filters.descriptors.lite0 import Lite0
from filters.descriptors.sscd import WANTED, load_sscd
from filters.duplicates.alignment import SIDE_PX, thumb
from filters.scorers.checkpoint import checked_sha256, read_state
from filters.signals.framed import within_bars
from pipeline.clip import Clip
from pipeline.frames import VIEW
from pipeline.stage import ClipError, FrameBatch, Row, checked

WEIGHT = "embedding.lite0"
Looked = list[tuple[int, Rgb]]


class Encoder(Protocol):
    """What gives a vector of length 1 for a picture, perhaps with classes, and says who it is."""

    @property
    def label(self) -> str: ...
    @property
    def batched(self) -> bool:
        """Whether pictures of several clips should come in one call: they fill a GPU."""
        ...

    def encode(self, pictures: Sequence[Rgb]) -> Encoded: ...


@dataclass(frozen=True)
class Embedding(ModelStage):
    """Vectors of a few frames inside their bars; those of `embedding_flat` frames mean nothing.

    `embedding` has one list a frame of `embedding_frames`, of length 1 but for its rounding to half precision: 128
    values of EfficientNet-Lite0 (Tan and Le 2019), or 512 of SSCD (Pizzi et al. 2022). `embedding_thumbs` are 24 x 24
    int8 pictures, row by row, by which dedup confirms what vectors suggest. `class_labels` are the ten ImageNet classes
    likeliest over all frames that are not flat, `class_scores` their mean probabilities; null where all are flat, and
    with SSCD, which tells none.
    """

    name = "embedding"
    version = 2
    columns = pa.schema(
        [
            pa.field("embedding", pa.list_(pa.list_(pa.float16()))),
            pa.field("embedding_frames", pa.list_(pa.int64())),
            pa.field("embedding_flat", pa.list_(pa.bool_())),
            pa.field("embedding_thumbs", pa.list_(pa.binary(SIDE_PX * SIDE_PX))),
            pa.field("embedding_engine", pa.string()),
            pa.field("class_labels", pa.list_(pa.string())),
            pa.field("class_scores", pa.list_(pa.float64())),
        ]
    )
    frames = VIEW
    requires = ("border",)

    engine: Literal["lite0", "sscd"] = "lite0"
    model: str = ""
    """File with SSCD's published weights, for engine = sscd."""
    model_sha256: str = ""
    """Its pinned digest; empty takes any, and the column says which."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where SSCD runs."""
    every_s: float = 1.25
    """About one frame for each so many seconds of the clip ..."""
    most_frames: int = 4
    """... and at most so many."""
    flat_level: float = 4.0
    """Standard deviation in luma levels of the squeezed picture below which a frame is flat, as for `phash`."""

    @property
    def weights(self) -> tuple[str, ...]:  # type: ignore[override]  # another engine needs other weights
        return (WEIGHT,) if self.engine == "lite0" else ()

    @property
    def gpus(self) -> float:  # type: ignore[override]  # and another machine
        return 1.0 if self.engine == "sscd" and self.device == "cuda" else 0.0

    def settings(self) -> dict[str, Any]:
        left_out = ("model", "model_sha256", "device")
        digest = {"model_sha256": self._digest()} if self.engine == "sscd" else {}
        return {name: value for name, value in super().settings().items() if name not in left_out} | digest

    def _digest(self) -> str:
        return checked_sha256(Path(self.model), self.model_sha256, WANTED)

    def pinned(self) -> Self:
        """With the model's digest for its pin, so that no worker takes another file of the same name."""
        return replace(self, model_sha256=self._digest()) if self.engine == "sscd" else self

    def load(self) -> Encoder:
        if self.engine == "sscd":
            return load_sscd(Path(self.model), self._digest(), self.device)
        return Lite0.from_state(read_state(self.weight(WEIGHT)))

    def ready(self, here: bool) -> None:
        """Raises WeightError where `load` would; the GPU may be in another machine."""
        if self.engine == "sscd":
            replace(self, device=self.device if here else "cpu").load()

    def measure(self, state: Encoder, clip: Clip, frames: FrameBatch | None) -> Row:
        looked = self._looked(clip, frames)
        return self._row(state, looked, state.encode([picture for _, picture in looked]))

    def measure_batch(
        self, state: Encoder, clips: Sequence[Clip], frames: Sequence[FrameBatch | None]
    ) -> list[Row | ClipError]:
        """All frames of all clips in one call, for an encoder that gains by it."""
        if not state.batched:
            return super().measure_batch(state, clips, frames)
        looked = [self._looked(clip, shown) for clip, shown in zip(clips, frames, strict=True)]
        encoded = state.encode([picture for one in looked for _, picture in one])
        ends = accumulate((len(one) for one in looked), initial=0)
        return [
            self._answer(state, one, encoded.part(start, end))
            for one, (start, end) in zip(looked, pairwise(ends), strict=True)
        ]

    def _looked(self, clip: Clip, frames: FrameBatch | None) -> Looked:
        border = clip.upstream["border"]
        pictures = looked_at(frames, clip, self.every_s, self.most_frames)
        return [(number, within_bars(picture, border)) for number, picture in pictures]

    def _answer(self, state: Encoder, looked: Looked, encoded: Encoded) -> Row | ClipError:
        try:
            return checked(self.columns, self._row(state, looked, encoded))
        except ClipError as error:
            return error

    def _row(self, state: Encoder, looked: Looked, encoded: Encoded) -> Row:
        cv2 = one_thread_cv2()
        lumas = [cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for _, image in looked]
        small = [cv2.resize(luma, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA) for luma in lumas]
        flat = [bool(one.std() < self.flat_level) for one in small]
        labels, scores = likeliest(encoded.classes, flat) or (None, None)
        return {
            "embedding": encoded.vectors.astype(np.float16).astype(np.float64).tolist(),
            "embedding_frames": [number for number, _ in looked],
            "embedding_flat": flat,
            "embedding_thumbs": [thumb(cv2, luma) for luma in lumas],
            "embedding_engine": state.label,
            "class_labels": labels,
            "class_scores": scores,
        }
