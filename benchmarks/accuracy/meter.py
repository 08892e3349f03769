"""Files measured as a run measures them: encoded, decoded by the program's decoder, and shown to its stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import filters
from benchmarks.accuracy.defect import Defect, Pictures
from pipeline.annotate import measured
from pipeline.clip import Clip
from pipeline.frames import PROXY, Decoder, VideoIndex, batch_from_samples
from pipeline.stage import ClipError, Row, Stage

CRF = "20"
"""x264's default is 23; a careful upload has about 20."""


def needed(stages: Sequence[Stage], name: str) -> list[Stage]:
    """The stage of this name and all that it builds on, in an order in which they can run; empty: there is none."""
    wanted = {name}
    chain = []
    for stage in reversed(stages):
        if stage.name in wanted:
            wanted |= set(stage.requires)
            chain.append(stage)
    return chain[::-1] if any(stage.name == name for stage in chain) else []


def unmeasurable(stages: Sequence[Stage], defect: Defect) -> str | None:
    """Why a defect cannot be measured; None when it can."""
    for stage in stages:
        if stage.name == defect.stage:
            known = defect.column in stage.columns.names
            return None if known else f"the stage {stage.name} has no column {defect.column}"
    return f"there is no stage {defect.stage}"


def encode(pictures: Pictures, fps: float, path: Path) -> None:
    """Writes an H.264 file without sound: (frames, height, width, 3) RGB of even sides, BT.709."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv420p"
        stream.options = {
            "preset": "ultrafast",
            "crf": CRF,
            "threads": "1",
            "x264-params": "cpu-independent=1",
        }
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            file.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        file.mux(stream.encode(None))


@dataclass
class Meter:
    """Measures files with stages, as a run does: one pass that keeps a proxy, then the stages in order."""

    decoder: Decoder
    stages: Sequence[Stage] = filters.STAGES
    models: dict[str, Any] = field(default_factory=dict)

    def rows(self, path: Path, chain: Sequence[Stage]) -> dict[str, Row | ClipError]:
        """The answers of these stages about the whole file as one clip."""
        index = VideoIndex.from_row(self.decoder.probe(str(path)))
        span = (0, index.frame_count)
        samples = self.decoder.scan(str(path), index, *span, context=0).samples
        times = (0.0, index.duration_s, float(index.fps))
        clip = Clip(path.stem, path.stem, path.stem, *span, *times, index.width, index.height)
        rows: dict[str, Row | ClipError] = {}
        for stage in chain:
            shown = None
            if stage.frames is not None:
                layer = PROXY.index(stage.frames) if stage.frames in PROXY else None
                of_layer = [sample for sample in samples if sample.layer == layer]
                shown = batch_from_samples(of_layer, stage.frames, index, span) if of_layer else None
            if stage.frames is not None and shown is None:
                shown = self.decoder.read(str(path), index, [span], stage.frames)[0]
            rows[stage.name] = self._answer(stage, clip, rows, shown)
        return rows

    def _answer(
        self, stage: Stage, clip: Clip, rows: dict[str, Row | ClipError], shown: Any
    ) -> Row | ClipError:
        upstream: dict[str, Row] = {}
        for name in stage.requires:
            row = rows[name]
            if isinstance(row, ClipError):
                return ClipError(f"{stage.name} needs the columns of {name}, which failed: {row}")
            upstream[name] = row
        if stage.name not in self.models:
            self.models[stage.name] = stage.load()
        ready = dataclasses.replace(clip, upstream=upstream)
        return measured(stage, self.models[stage.name], ready, shown)
