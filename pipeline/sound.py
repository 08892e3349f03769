"""The sound of a clip: put together by timestamp, cut to the sample.

Sound is laid on the clip's own time axis at the source's rate and then resampled: what the source does not give
stays silent and is counted, so that a clip's sound always lasts exactly as long as its pictures. Every clip has a
decoder of its own, begun at the same packet whatever was read before: decoders that fill bands with noise (AAC's
perceptual noise substitution) would otherwise give other samples in another order of reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.decoders.formats import AUDIO_CODECS
from pipeline.decoders.pyav import only, packets_of

RATE_HZ = 48_000
"""Every clip's sound has this rate, so that clips of equal length have equally many samples."""
PREROLL_S = Fraction(1, 2)
"""Sound laid down on either side of the clip, so that the resampler's filter has settled. Ours."""
WARM_UP_S = Fraction(1, 2)
"""Sound decoded before that, so that the decoder's overlap and bit reservoir have settled. Ours."""
JITTER_S = Fraction(21, 1000)
"""A timestamp this near to where the sound had got to continues it: containers round them, and Vorbis's short
blocks are stamped some 10 ms off. Just less than an AAC packet (1024 / 48000 s), so that a lost one is a gap. Ours."""


@dataclass(frozen=True)
class Sound:
    """The sound of one clip."""

    samples: npt.NDArray[np.float32] | None
    """(channels, n) at RATE_HZ, one or two channels, -1..1; None: the source gives none of it."""
    gap_s: float
    """Seconds for which the source gives no sound: silent in `samples`."""


def read_sound(
    open_video: Callable[[], Any], start_s: Fraction, duration_s: Fraction, may_seek: bool
) -> Sound | None:
    """The sound from `start_s` on the container's clock; None when there is no audio stream.

    `open_video` opens the video anew (av.container.InputContainer). Packets that do not decode leave a gap.
    """
    track = _Track(start_s - PREROLL_S, duration_s + 2 * PREROLL_S)
    with closing(open_video()) as container:
        stream = container.streams.best("audio")
        if stream is None:
            return None
        coder = stream.codec_context  # None: no decoder knows its codec
        if coder is not None and coder.name in AUDIO_CODECS:
            only(container, stream)
            for frame in _decoded(container, stream, track.start_s - WARM_UP_S, track.end_s, may_seek):
                track.add(frame)
    return track.cut(duration_s)


def _decoded(
    container: Any, stream: Any, start_s: Fraction, end_s: Fraction, may_seek: bool
) -> Iterator[Any]:
    """The frames of the packets from `start_s` to `end_s`."""
    import av

    early_s = start_s - WARM_UP_S
    if may_seek and early_s > 0:
        container.seek(int(early_s / stream.time_base), stream=stream)
    for packet in packets_of(container, stream):
        time_s = None if packet.pts is None else packet.pts * stream.time_base
        if time_s is not None and time_s < start_s:
            continue
        if time_s is not None and time_s > end_s:
            return
        try:
            yield from packet.decode()
        except (av.InvalidDataError, av.ArgumentError, av.PatchWelcomeError, av.DecoderNotFoundError):
            continue


class _Track:
    """A stretch of sound in the making, at the source's rate."""

    def __init__(self, start_s: Fraction, duration_s: Fraction) -> None:
        self.start_s = start_s
        self.end_s = start_s + duration_s
        self._rate_hz = 0
        self._sound = np.zeros((0, 0), np.float32)
        self._heard = np.zeros(0, np.bool_)
        self._next: int | None = None
        self._plain: Any = None
        self._kind: tuple[int, str, str] | None = None

    def add(self, frame: Any) -> None:
        """Lays an av.AudioFrame in its place, mixed to stereo if it has more channels."""
        kind = (frame.sample_rate, frame.layout.name, frame.format.name)
        if kind != self._kind:
            self._begin(frame)
            self._kind = kind
        at = self._next
        if frame.pts is not None:
            stamped = round((frame.pts * frame.time_base - self.start_s) * self._rate_hz)
            if at is None or abs(stamped - at) > JITTER_S * self._rate_hz:
                at = stamped
        if at is not None:
            self._next = self._laid(frame, at)

    def _laid(self, frame: Any, at: int) -> int:
        """Lays what the resampler gives for a frame from sample `at` on; where it got to."""
        for plain in self._plain.resample(frame):
            samples = plain.to_ndarray()
            low, high = max(at, 0), min(at + samples.shape[1], len(self._heard))
            if low < high:
                self._sound[:, low:high] = samples[:, low - at : high - at]
                self._heard[low:high] = True
            at += samples.shape[1]
        return at

    def _begin(self, frame: Any) -> None:
        """Makes ready for frames of another kind; the first one's rate and channels are those of the stretch."""
        import av

        if self._plain is None:
            self._rate_hz = frame.sample_rate
            samples = round((self.end_s - self.start_s) * self._rate_hz)
            self._sound = np.zeros((min(2, len(frame.layout.channels)), samples), np.float32)
            self._heard = np.zeros(samples, np.bool_)
        else:
            self._flush()
        self._plain = av.AudioResampler("fltp", layout_name(len(self._sound)), self._rate_hz)

    def _flush(self) -> None:
        """Lays what the resampler has kept back."""
        if self._next is not None:
            self._next = self._laid(None, self._next)

    def cut(self, duration_s: Fraction) -> Sound:
        """The stretch without its margins of PREROLL_S, at RATE_HZ. Nothing may be added afterwards."""
        self._flush()
        first = round(PREROLL_S * self._rate_hz)
        last = first + round(duration_s * self._rate_hz)
        heard = int(self._heard[first:last].sum())
        if not heard:
            return Sound(None, float(duration_s))
        whole = _resampled(self._sound, self._rate_hz)
        begin, count = round(PREROLL_S * RATE_HZ), round(duration_s * RATE_HZ)
        samples = np.ascontiguousarray(whole[:, begin : begin + count])
        return Sound(samples, (last - first - heard) / self._rate_hz)


def layout_name(channels: int) -> str:
    """FFmpeg's name of one or two channels."""
    return "mono" if channels == 1 else "stereo"


def _resampled(sound: npt.NDArray[np.float32], rate_hz: int) -> npt.NDArray[np.float32]:
    """The samples at RATE_HZ; the first stays at the same time."""
    import av

    if rate_hz == RATE_HZ:
        return sound
    name = layout_name(sound.shape[0])
    resampler = av.AudioResampler("fltp", name, RATE_HZ)
    frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout=name)
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
    parts = [part.to_ndarray() for chunk in (frame, None) for part in resampler.resample(chunk)]
    return np.concatenate(parts, axis=1)
