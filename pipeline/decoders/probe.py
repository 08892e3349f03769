"""What a file is: its VIDEOS columns, from every packet's header and one decoded frame."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.decoders.extent import claimed_bytes, claimed_size
from pipeline.decoders.formats import IMAGE_FORMATS
from pipeline.decoders.guard import Source, open_file
from pipeline.decoders.pyav import OPEN_ENDED, UNSTAMPED, decoded, only, open_media, packets_of, video_stream
from pipeline.frames import Limits, pack_pts
from pipeline.reasons import MediaError, Reason

SEEKABLE = ("mov", "matroska")
"""Containers whose index names every key frame, or whose clusters are found by time."""
MOST_FPS = 1000
"""A higher rate is a broken clock. Ours."""
SHORT_BY_S, SHORT_BY_RATIO = 2.0, 0.05
"""A file is cut short when this much of the duration that its header claims is missing. Ours."""
HDR_TRANSFERS = (16, 18)
"""PQ and HLG: ITU-T H.273, TransferCharacteristics."""
PROGRESSIVE_ORDERS = (0, 1)
"""AV_FIELD_UNKNOWN and AV_FIELD_PROGRESSIVE."""
MOST_REORDERED = 16
"""Frames that may be decoded before one that is shown earlier: the most of H.264 and HEVC (H.264 A.3, H.265 A.4)."""
ALIVE_PACKETS = 2000
SAME_RATE = 1e-5
"""Ratio: far below the 1e-3 between 30 and 29.97 fps, far above the nanoseconds that Matroska rounds to."""
ROUNDING = 1e-3
"""Ticks: what floating point may add over days of frames."""


@dataclass
class _Packets:
    """What one pass over the packets of a file finds."""

    stamps: list[int] = field(default_factory=list)
    durations: list[int] = field(default_factory=list)
    unstamped: int = 0
    """Packets without a timestamp."""
    hidden: int = 0
    """Packets that an edit list hides."""
    leading: int = 0
    """Packets shown before the first key frame: they lean on what is not there."""
    late: int = 0
    """Those of them that come after it in the file, as open groups of pictures have some."""
    damaged: int = 0
    end_s: float = 0.0
    """Where the longest stream ends."""


def probe(path: str, limits: Limits, alive: Callable[[], None]) -> dict[str, Any]:
    """The columns `container` to `seekable` of a VIDEOS row.

    Raises MediaError with the reasons of "the file" and "the container" of pipeline.reasons, and decode_error.
    """
    with closing(open_file(path)) as file:
        _check_size(claimed_size(file.read(32)), limits)
    with closing(open_media(path, limits)) as container:
        kind = container.format.name.split(",")[0]
        stream = video_stream(container, limits)
        _check_claims(stream, limits)
        facts = _facts(container, stream, kind)
        claimed = container.duration
        if kind not in ("flv", "matroska"):
            only(container, stream)
        packets = _packets(container, stream, limits, alive)
        time_base, rates = stream.time_base, [stream.average_rate, stream.base_rate, stream.guessed_rate]
        entries, announced = len(stream.index_entries), stream.frames
    with closing(open_file(path)) as file:
        _check_whole(kind, file, packets, claimed, entries, announced)
    facts |= _first_frame(path, limits)
    pts = _timestamps(path, packets, kind, facts, limits, alive)
    step = _last_step(packets, pts, time_base, rates)
    fps, vfr = _rate(pts, time_base, rates)
    duration_s = float((int(pts[-1]) - int(pts[0]) + step) * time_base)
    _check_times(pts, step, time_base, limits)
    return facts | {
        "fps_num": fps.numerator,
        "fps_den": fps.denominator,
        "vfr": vfr,
        "frame_count": len(pts),
        "duration_s": duration_s,
        "is_image": facts["is_image"] and len(pts) == 1,
        "time_base_num": time_base.numerator,
        "time_base_den": time_base.denominator,
        "pts": pack_pts(pts),
        "seekable": kind in SEEKABLE and not packets.leading and len(pts) == len(packets.stamps),
    }


def _check_claims(stream: Any, limits: Limits) -> None:
    """Refuses what the headers alone show to be too much."""
    _check_size((stream.codec_context.width, stream.codec_context.height), limits)
    if stream.frames > limits.max_frames:
        raise MediaError(Reason.TOO_LARGE, f"it claims {stream.frames} frames")
    if stream.duration and stream.duration * stream.time_base > limits.max_duration_s:
        raise MediaError(Reason.TOO_LARGE, f"it claims {float(stream.duration * stream.time_base):.0f} s")


def _check_size(size: tuple[int, int] | None, limits: Limits) -> None:
    if size is not None and size[0] * size[1] > limits.max_pixels:
        raise MediaError(Reason.TOO_LARGE, f"its pictures are {size[0]}x{size[1]} pixels")


def _facts(container: Any, stream: Any, kind: str) -> dict[str, Any]:
    audio = container.streams.audio
    heard = audio[0].codec_context if audio else None
    aspect = stream.sample_aspect_ratio or Fraction(1)
    return {
        "container": kind.removesuffix("_pipe"),
        "codec": stream.codec_context.codec.canonical_name,
        "sar_num": aspect.numerator,
        "sar_den": aspect.denominator,
        "audio_streams": len(audio),
        "audio_codec": None if heard is None else heard.codec.canonical_name,
        "is_image": kind in (*IMAGE_FORMATS, "gif"),
    }


def _packets(container: Any, stream: Any, limits: Limits, alive: Callable[[], None]) -> _Packets:
    import av

    found = _Packets()
    key_stamp: int | None = None
    try:
        for count, packet in enumerate(packets_of(container)):
            if count % ALIVE_PACKETS == ALIVE_PACKETS - 1:
                alive()
            if packet.pts is not None:
                found.end_s = max(
                    found.end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base)
                )
            if packet.stream_index != stream.index or not packet.size or not _shown(packet, stream):
                continue
            if packet.is_corrupt:
                found.damaged += 1
            if key_stamp is None and packet.is_keyframe:
                key_stamp = packet.pts
            if packet.pts is None:
                found.unstamped += 1
            elif packet.is_discard:
                found.hidden += 1
            elif key_stamp is None or packet.pts < key_stamp:
                found.leading += 1
                found.late += key_stamp is not None
            else:
                found.stamps.append(packet.pts)
                found.durations.append(packet.duration or 0)
            if len(found.stamps) + found.unstamped > limits.max_frames:
                raise MediaError(Reason.TOO_LARGE, f"it has more than {limits.max_frames} frames")
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise MediaError(Reason.TRUNCATED, "the file ends, or is damaged, within a frame") from error
    if found.late > MOST_REORDERED:
        raise MediaError(
            Reason.BAD_TIMESTAMPS, f"{found.late} frames come after the key frame that they precede"
        )
    if not found.stamps and not found.unstamped:
        raise MediaError(Reason.NO_FRAMES, "the video stream has no frames")
    return found


def _shown(packet: Any, stream: Any) -> bool:
    """False for the reference pictures that VP8 sends apart and never shows (RFC 6386 section 9.1, show_frame)."""
    return stream.codec_context.name != "vp8" or bool(bytes(packet)[0] >> 4 & 1)


def _check_whole(
    kind: str, file: Source, packets: _Packets, claimed_us: int | None, entries: int, announced: int
) -> None:
    claimed = claimed_bytes(kind, file)
    found = len(packets.stamps) + packets.hidden + packets.leading + packets.unstamped
    if claimed is not None and claimed > file.size:
        raise MediaError(Reason.TRUNCATED, f"{file.size} bytes of {claimed}")
    if kind == "mov" and found < entries:
        raise MediaError(Reason.TRUNCATED, f"{found} frames of {entries}")
    if packets.damaged:
        raise MediaError(Reason.DECODE_ERROR, f"{packets.damaged} packets are damaged")
    if kind in ("flv", "matroska") and claimed_us is not None:
        claimed_s = claimed_us / 1e6
        if packets.end_s < claimed_s * (1 - SHORT_BY_RATIO) - SHORT_BY_S:
            raise MediaError(Reason.TRUNCATED, f"{packets.end_s:.1f} s of {claimed_s:.1f}")


def _first_frame(path: str, limits: Limits) -> dict[str, Any]:
    """What only a decoded frame tells for sure."""
    with closing(open_media(path, limits)) as container:
        stream = video_stream(container, limits)
        only(container, stream)
        aspect = stream.sample_aspect_ratio or Fraction(1)
        frame = next(decoded(packets_of(container, stream)), None)
        if frame is None:
            raise MediaError(Reason.NO_FRAMES, "the decoder gives no frame")
        interlaced = frame.interlaced_frame or stream.codec_context.field_order not in PROGRESSIVE_ORDERS
        rotation = round(-frame.rotation / 90) % 4 * 90
        width, height = max(1, round(frame.width * aspect)), frame.height
        if rotation in (90, 270):
            width, height = height, width
        if min(width, height, frame.width, frame.height) < limits.min_side_px:
            raise MediaError(Reason.TOO_SMALL, f"its pictures are {width}x{height} pixels")
        _check_size(max((width, height), (frame.width, frame.height)), limits)
        return {
            "pix_fmt": frame.format.name,
            "width": width,
            "height": height,
            "coded_width": frame.width,
            "coded_height": frame.height,
            "rotation_deg": rotation,
            "interlaced": interlaced,
            "bit_depth": frame.format.components[0].bits,
            "hdr": frame.color_trc in HDR_TRANSFERS,
        }


def _timestamps(
    path: str,
    packets: _Packets,
    kind: str,
    facts: dict[str, Any],
    limits: Limits,
    alive: Callable[[], None],
) -> npt.NDArray[np.int64]:
    """Every shown frame's timestamp, rising; from the decoder where the packets do not tell."""
    pts = np.sort(np.asarray(packets.stamps, dtype=np.int64))
    if packets.unstamped == 0 and len(pts) and np.all(np.diff(pts) > 0):
        return pts
    if kind in UNSTAMPED or kind in SEEKABLE:
        raise MediaError(Reason.BAD_TIMESTAMPS, "timestamps are missing or repeated")
    stamps = []
    with closing(open_media(path, limits)) as container:
        stream = video_stream(container, limits)
        only(container, stream)
        for count, frame in enumerate(decoded(packets_of(container, stream))):
            if count % ALIVE_PACKETS == 0:
                alive()
            stamps.append(frame.pts)
    if kind in OPEN_ENDED and len(stamps) > 2 and None not in (head := stamps[:-1]):
        last = stamps[-1]
        if last is None or last <= head[-1]:
            stamps[-1] = head[-1] + int(np.median(np.diff(np.asarray(head, dtype=np.int64))))
    if not stamps or None in stamps or np.any(np.diff(np.asarray(stamps, dtype=np.int64)) <= 0):
        raise MediaError(Reason.BAD_TIMESTAMPS, "timestamps are missing or repeated")
    return np.asarray(stamps, dtype=np.int64)


def _last_step(
    packets: _Packets, pts: npt.NDArray[np.int64], time_base: Fraction, rates: list[Fraction | None]
) -> int:
    """How long the last frame stands, in units of the time base: its own word, else as long as a usual one."""
    durations = dict(zip(packets.stamps, packets.durations, strict=True))
    own = durations.get(int(pts[-1]), 0)
    if own > 0:
        return own
    if len(pts) > 1:
        return int(np.median(np.diff(pts)))
    rate = next((rate for rate in rates if rate), Fraction(25))
    return max(1, round(1 / (rate * time_base)))


def _rate(
    pts: npt.NDArray[np.int64], time_base: Fraction, rates: list[Fraction | None]
) -> tuple[Fraction, bool]:
    """The exact rate that every timestamp keeps, and False; else the average, and True.

    Containers round to their tick, so a timestamp may be one off, but never by a quarter of a frame.
    """
    plausible = [rate for rate in rates if rate and 0 < rate <= MOST_FPS]
    if len(pts) == 1:
        return (plausible[0] if plausible else Fraction(25)), False
    ticks = pts - pts[0]
    average = (len(pts) - 1) / (int(ticks[-1]) * time_base)
    exact = [(rate, 0.0) for rate in plausible]
    rounded = [(rate, min(1.0, float(1 / (rate * time_base)) / 4)) for rate in [*plausible, average]]
    for rate, tolerance in [*exact, *((_usual(rate), tolerance) for rate, tolerance in rounded)]:
        expected = np.arange(len(pts)) * float(1 / (rate * time_base))
        if np.abs(ticks - expected).max() <= tolerance + ROUNDING:
            return rate, False
    return average, True


def _usual(rate: Fraction) -> Fraction:
    """The whole rate, or whole rate x 1000/1001, that a rounded one stands for; else the rate itself."""
    for usual in (Fraction(round(rate)), Fraction(round(rate * 1001 / 1000) * 1000, 1001)):
        if usual and abs(rate / usual - 1) < SAME_RATE:
            return usual
    return rate


def _check_times(pts: npt.NDArray[np.int64], last_step: int, time_base: Fraction, limits: Limits) -> None:
    """Refuses clocks that jump, by the last frame's own duration too, and videos that last too long."""
    gaps_s = np.diff(pts) * float(time_base)
    longest_s = max(float(last_step * time_base), float(gaps_s.max(initial=0)))
    if longest_s > limits.max_gap_s:
        raise MediaError(Reason.BAD_TIMESTAMPS, f"a frame stands for {longest_s:.0f} s")
    duration_s = float((int(pts[-1]) - int(pts[0]) + last_step) * time_base)
    if duration_s > limits.max_duration_s:
        raise MediaError(Reason.TOO_LARGE, f"it lasts {duration_s:.0f} s")
    if len(pts) > 1 and (len(pts) - 1) / gaps_s.sum() > MOST_FPS:
        raise MediaError(Reason.BAD_TIMESTAMPS, f"{(len(pts) - 1) / gaps_s.sum():.0f} frames a second")
