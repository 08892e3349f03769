"""Small videos, sounds and pictures for the corpus: the same arguments give the same bytes."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
QUICK: Mapping[str, Mapping[str, str]] = {
    "libx264": {"preset": "ultrafast", "crf": "30"},
    "libx265": {"preset": "ultrafast", "crf": "30", "x265-params": "log-level=none:pools=none"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12"},
}


def pattern(seed: int, size: tuple[int, int]) -> Callable[[int], Picture]:
    """Pictures of one shot, (height, width, 3) RGB: coarse random colours of `seed` that move by a pixel a frame."""
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 226, (height // 16 + 1, width // 16 + 6, 3), dtype=np.uint8)
    whole = coarse.repeat(16, axis=0).repeat(16, axis=1)
    return lambda number: np.ascontiguousarray(whole[:height, number % 64 : number % 64 + width])


@contextmanager
def ordinary_thread() -> Iterator[None]:
    """Around an encoder's use. libsvtav1 makes the thread that opens it a real-time one wherever it may, which is as
    root; that thread, and all that it starts later, would keep every other off its processor."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def film(
    *,
    seed: int,
    frames: int = 24,
    size: tuple[int, int] = (160, 96),
    codec: str = "libx264",
    container: str = "mp4",
    pix_fmt: str = "yuv420p",
    fps: int | Fraction = 24,
    stamps_ms: Sequence[int] | None = None,
    bframes: int = 0,
    rotation: int = 0,
    sar: Fraction | None = None,
    tone: bool = False,
    options: Mapping[str, str] | None = None,
    flags: str = "",
    draw: Callable[[int], Picture] | None = None,
) -> bytes:
    """A video of `size` (width, height) pixels as bytes; `flags` are those of the MP4 muxer."""
    import av

    paint = draw or pattern(seed, size)
    time_base = Fraction(1, 1000) if stamps_ms is not None else 1 / Fraction(fps)
    chosen = {**QUICK.get(codec, {}), **(options or {})}
    muxing = {"movflags": flags} if flags else {}
    with tempfile.TemporaryDirectory() as folder:  # the muxer of MP4 may read again what it has written
        path = Path(folder, "film")
        with ordinary_thread(), av.open(str(path), "w", format=container, options=muxing) as output:
            stream = output.add_stream(codec, rate=Fraction(fps), options=chosen)
            stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
            stream.codec_context.time_base = time_base
            stream.codec_context.thread_count = 1
            if bframes:
                stream.codec_context.max_b_frames = bframes
            if rotation:
                stream.set_display_rotation(-rotation)
            if sar is not None:
                stream.codec_context.sample_aspect_ratio = sar
            hum = output.add_stream("aac", rate=48000, layout="mono") if tone else None
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
                frame = frame.reformat(format=pix_fmt, threads=1)
                frame.time_base = time_base
                frame.pts = stamps_ms[number] if stamps_ms is not None else number
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
            if hum is not None:
                _hum(output, hum, float(frames / Fraction(fps)))
        return path.read_bytes()


def sound(container: str, codec: str, art: bytes = b"") -> bytes:
    """Half a second of a tone, with a PNG as its cover art when `art` is not empty."""
    import av
    from av.stream import Disposition

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48000, layout="mono")
        cover = None
        if art:
            cover = output.add_stream("png", rate=1)
            cover.width, cover.height, cover.pix_fmt = 64, 64, "rgb24"
            cover.disposition = Disposition.attached_pic
        output.start_encoding()
        if cover is not None:
            packet = av.Packet(art)
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = cover, 0, 0, True
            output.mux(packet)
        _hum(output, stream, 0.5)
    return file.getvalue()


def _hum(output: Any, stream: Any, seconds: float) -> None:
    import av

    kind = stream.codec_context.format.name
    wave = np.sin(2 * np.pi * 440 * np.arange(int(seconds * 48000)) / 48000) * 0.5
    most, sample = {"flt": (1, np.float32), "s16": (2**15 - 1, np.int16), "s32": (2**31 - 1, np.int32)}[
        kind[:3]
    ]
    whole = (wave * most).astype(sample)
    step = stream.codec_context.frame_size or 1024
    for start in range(0, len(whole) - step, step):
        frame = av.AudioFrame.from_ndarray(whole[None, start : start + step], format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def still(codec: str, pix_fmt: str, seed: int, size: tuple[int, int] = (160, 96)) -> bytes:
    """One picture in an image codec."""
    import av

    coder = av.CodecContext.create(codec, "w")
    coder.width, coder.height, coder.pix_fmt, coder.time_base = *size, pix_fmt, Fraction(1, 25)
    coder.options = {"strict": "unofficial"}
    frame = av.VideoFrame.from_ndarray(pattern(seed, size)(0), format="rgb24").reformat(
        format=pix_fmt, threads=1
    )
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    return b"".join(bytes(packet) for packet in [*coder.encode(frame), *coder.encode(None)])


def streams(container: str, *parts: tuple[tuple[int, int], int, bool]) -> bytes:
    """Several video streams, each (size, seed, is the default one), of 24 frames."""
    import av
    from av.stream import Disposition

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        made = []
        for size, seed, default in parts:
            stream = output.add_stream("libx264", rate=24, options=dict(QUICK["libx264"]))
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            stream.codec_context.thread_count = 1
            stream.disposition = Disposition.default if default else Disposition(0)
            made.append((stream, pattern(seed, size)))
        for number in range(24):
            for stream, paint in made:
                frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24").reformat(
                    format="yuv420p", threads=1
                )
                frame.pts, frame.time_base = number, Fraction(1, 24)
                output.mux(stream.encode(frame))
        for stream, _ in made:
            output.mux(stream.encode(None))
    return file.getvalue()


def changing(container: str, *sizes: tuple[int, int]) -> bytes:
    """One H.264 stream whose picture size changes every 12 frames."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuv420p"
        for part, size in enumerate(sizes):
            coder = av.CodecContext.create("libx264", "w")
            coder.width, coder.height, coder.pix_fmt, coder.time_base = *size, "yuv420p", Fraction(1, 24)
            coder.thread_count = 1
            coder.options = {**QUICK["libx264"], "tune": "zerolatency"}
            for number in range(part * 12, part * 12 + 12):
                frame = av.VideoFrame.from_ndarray(pattern(part, size)(number), format="rgb24")
                frame = frame.reformat(format="yuv420p", threads=1)
                frame.pts, frame.time_base = number, Fraction(1, 24)
                for packet in coder.encode(frame):
                    packet.stream = stream
                    output.mux(packet)
    return file.getvalue()
