"""Media that tests make for themselves: numbered frames that survive lossy coding, in any container."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Picture = npt.NDArray[np.uint8]
BITS = 16
DARK, LIGHT = 48, 208
SMPTE170M = 6
"""ITU-T H.273, MatrixCoefficients."""
ENCODERS = {"h264": "libx264", "hevc": "libx265", "vp9": "libvpx-vp9", "av1": "libsvtav1"}
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "h264": {"preset": "ultrafast", "crf": "14"},
    "hevc": {"preset": "ultrafast", "crf": "14"},
    "vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"},
    "av1": {"preset": "10", "crf": "10"},
    "mpeg4": {"qscale": "3"},
    "mpeg2video": {"qscale": "3"},
}


@dataclass(frozen=True)
class Barcode:
    """Pictures that carry their number as 16 light or dark columns, and the reader of such pictures."""

    def draw(self, number: int, width: int, height: int) -> Picture:
        """(height, width, 3) RGB showing `number` (0..65535), highest bit at the left."""
        bits = (number >> np.arange(BITS - 1, -1, -1)) & 1
        columns = bits[np.arange(width) * BITS // width]
        row = np.where(columns == 1, LIGHT, DARK).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))

    def read(self, picture: Picture) -> int:
        """The number in a picture of any size, (h, w, 3) or (h, w)."""
        gray = picture.mean(axis=2) if picture.ndim == 3 else picture
        centres = ((np.arange(BITS) + 0.5) * gray.shape[1] / BITS).astype(int)
        middle = gray[gray.shape[0] // 4 : max(gray.shape[0] * 3 // 4, 1)].mean(axis=0)
        bits = middle[centres] > (DARK + LIGHT) / 2
        return int((bits * (1 << np.arange(BITS - 1, -1, -1))).sum())


@pytest.fixture(scope="session")
def barcode() -> Barcode:
    return Barcode()


def video(
    path: Path,
    *,
    frames: int = 24,
    fps: int | Fraction = 24,
    size: tuple[int, int] = (160, 96),
    codec: str = "h264",
    bframes: int = 0,
    gop: int = 12,
    vfr_pts: Sequence[int] | None = None,
    rotation: int = 0,
    sar: Fraction | None = None,
    pix_fmt: str = "yuv420p",
    audio: bool = False,
    options: Mapping[str, str] | None = None,
    draw: Callable[[int], Picture] | None = None,
    container: str | None = None,
) -> Path:
    """Writes a video and returns its path; every frame shows its number unless `draw` says otherwise.

    `size` is (width, height) as coded. `vfr_pts` are milliseconds, one a frame. `rotation` is the clockwise turn in
    degrees that shows it upright. `container` names the muxer when the suffix does not. `audio` adds a 440 Hz tone.
    """
    import av

    width, height = size
    paint = draw or (lambda number: Barcode().draw(number, width, height))
    rate = Fraction(fps)
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(ENCODERS.get(codec, codec), rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1
        if codec in ("h264", "hevc", "mpeg4", "mpeg2video"):
            stream.codec_context.max_b_frames = bframes
        time_base = Fraction(1, 1000) if vfr_pts is not None else 1 / rate
        stream.codec_context.time_base = time_base
        chosen: dict[str, str] = {**OPTIONS.get(codec, {}), **(options or {})}
        if codec == "hevc":
            chosen["x265-params"] = ":".join(
                filter(None, ["log-level=none:pools=none", chosen.get("x265-params")])
            )
        stream.options = chosen
        if pix_fmt.startswith("yuv"):
            stream.codec_context.colorspace = SMPTE170M
        if sar is not None:
            stream.codec_context.sample_aspect_ratio = sar
        if rotation:
            stream.set_display_rotation(-rotation)
        sound = output.add_stream("aac", rate=48000, layout="mono") if audio else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            frame = frame.reformat(format=pix_fmt, dst_colorspace="ITU601", threads=1)
            frame.time_base = time_base
            frame.pts = vfr_pts[number] if vfr_pts is not None else number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            seconds = float((vfr_pts[-1] / 1000) if vfr_pts is not None else frames / rate)
            _write_tone(output, sound, seconds)
    return path


def _write_tone(output: Any, stream: Any, seconds: float) -> None:
    import av

    samples = np.sin(2 * np.pi * 440 * np.arange(int(seconds * 48000)) / 48000).astype(np.float32) * 0.5
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """The function `video`: make_video(path, frames=24, fps=24, size=(160, 96), codec="h264", ...) -> Path."""
    return video


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """A Ray of this machine's own with two CPUs, for the whole session."""
    from pipeline.cluster import connect, disconnect

    connect(None, 2)
    yield
    disconnect()
