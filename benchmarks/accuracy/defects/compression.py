"""Starved of bits: coded by H.264 at a low quality, then again as any clip is."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from io import BytesIO

import numpy as np

from benchmarks.accuracy.defect import Defect, Pictures


def starved(pictures: Pictures, fps: float, dice: np.random.Generator, crf: int) -> Pictures:
    """The frames after x264 at this rate factor (23 is usual, 51 the worst)."""
    import av

    file = BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv420p"
        stream.options = {
            "preset": "veryfast",
            "crf": str(crf),
            "threads": "1",
            "x264-params": "cpu-independent=1",
        }
        for picture in pictures:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as back:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in back.decode(video=0)])


STARVED = {f"crf {crf}": partial(starved, crf=crf) for crf in (33, 43)}
NOTE = "Only the middle of the frame is looked at; drawn pictures score low when nothing is wrong."

DEFECTS = (
    Defect("few bits, by BRISQUE", "image_quality", "iqa_score", "low", STARVED, 55.0, NOTE),
    Defect("few bits, by the pooled score", "video_quality", "vqa_score", "low", STARVED, 0.45, NOTE),
)
