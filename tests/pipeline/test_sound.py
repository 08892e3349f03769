"""Sound lies where its timestamps say, whatever was read before, and what is missing is counted."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.sound import RATE_HZ, Sound, read_sound

PACKET = 960
"""Samples: 20 ms at 48 kHz."""


def sounding(path: Path, stamp_ms: Callable[[int], int | None], seconds: float = 4.0) -> Path:
    """PCM in Matroska whose samples count up, 1e-6 each; packet k is stamped stamp_ms(k), or left out."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_f32le", rate=RATE_HZ, layout="mono")
        for k in range(int(seconds * 50)):
            samples = (np.arange(k * PACKET, (k + 1) * PACKET) * 1e-6).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, k * PACKET, Fraction(1, RATE_HZ)
            stamp = stamp_ms(k)
            for packet in stream.encode(frame):
                if stamp is not None:
                    packet.pts = packet.dts = stamp * RATE_HZ // 1000
                    output.mux(packet)
    return path


def heard(path: Path, start_s: Fraction, duration_s: Fraction, may_seek: bool = True) -> Sound:
    sound = read_sound(lambda: av.open(str(path)), start_s, duration_s, may_seek)
    assert sound is not None
    return sound


@pytest.mark.parametrize("may_seek", [True, False])
def test_the_cut_is_exact_to_the_sample(tmp_path: Path, may_seek: bool) -> None:
    path = sounding(tmp_path / "a.mkv", lambda k: 20 * k)
    sound = heard(path, Fraction(3, 2), Fraction(17, 24), may_seek)
    assert sound.samples is not None
    assert sound.gap_s == 0
    assert np.array_equal(sound.samples[0], (np.arange(72_000, 72_000 + 34_000) * 1e-6).astype(np.float32))


def test_jitter_of_the_stamps_is_no_gap(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    jitter = generator.integers(-10, 11, 300)
    path = sounding(tmp_path / "a.mkv", lambda k: 20 * k + int(jitter[k]) if k > 20 else 20 * k)
    sound = heard(path, Fraction(1), Fraction(2))
    assert sound.samples is not None
    assert sound.gap_s == 0
    assert np.ptp(np.diff(sound.samples[0])) < 2e-6
    assert abs(float(sound.samples[0, 0]) - 0.048) < 0.011 * 0.048


def test_a_lost_packet_is_a_counted_gap(tmp_path: Path) -> None:
    path = sounding(tmp_path / "a.mkv", lambda k: None if k in (75, 76) else 20 * k)
    sound = heard(path, Fraction(1), Fraction(1))
    assert sound.samples is not None
    assert sound.gap_s == pytest.approx(0.04)
    silent = np.flatnonzero(sound.samples[0] == 0)
    assert (silent[0], silent[-1], len(silent)) == (24_000, 24_000 + 1919, 1920)


def test_sound_before_and_after_the_stream_is_silence(tmp_path: Path) -> None:
    path = sounding(tmp_path / "a.mkv", lambda k: 20 * k if 50 <= k < 100 else None)
    sound = heard(path, Fraction(1, 2), Fraction(2))
    assert sound.samples is not None
    assert sound.gap_s == pytest.approx(1.0)
    assert (np.flatnonzero(sound.samples[0])[[0, -1]] == [24_000, 71_999]).all()
    assert heard(path, Fraction(3), Fraction(1)) == Sound(None, 1.0)


@pytest.mark.parametrize("may_seek", [True, False])
def test_noise_decodes_to_the_same_samples_from_anywhere(tmp_path: Path, may_seek: bool) -> None:
    """AAC fills bands with noise of its own, which must not depend on what was decoded before."""
    path = tmp_path / "n.mp4"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, RATE_HZ * 4)).astype(np.float32)
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("aac", rate=RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        output.mux([*stream.encode(frame), *stream.encode(None)])
    one = heard(path, Fraction(5, 2), Fraction(1), may_seek)
    other = heard(path, Fraction(5, 2), Fraction(1), not may_seek)
    assert one.samples is not None
    assert other.samples is not None
    assert np.array_equal(one.samples, other.samples)


@pytest.mark.parametrize("codec", ["wavpack", "tta"])
def test_a_decoder_outside_the_list_does_not_run(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "w.mkv"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=RATE_HZ, layout="mono")
        kind = stream.codec_context.codec.audio_formats[0].name
        tone = np.sin(np.arange(RATE_HZ * 2) * 0.1).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        for part in av.AudioResampler(kind, "mono", RATE_HZ).resample(frame):
            output.mux([*stream.encode(part), *stream.encode(None)])
    with av.open(str(path)) as container:
        loud = max(np.abs(part.to_ndarray().astype(float)).max() for part in container.decode(audio=0))
        assert loud > 0.5
    assert heard(path, Fraction(0), Fraction(1)) == Sound(None, 1.0)


def tone_ts(path: Path, rate: int, layout: str, start_s: int, frequency_hz: int) -> bytes:
    """Two seconds of a tone as AAC in MPEG-TS, from `start_s` on; every channel sounds alike."""
    with av.open(str(path), "w", format="mpegts") as output:
        stream: Any = output.add_stream("aac", rate=rate, layout=layout)
        channels = len(stream.codec_context.layout.channels)
        wave = np.sin(np.arange(2 * rate) * 2 * np.pi * frequency_hz / rate) * 0.25
        for first in range(0, 2 * rate, 1024):
            part = np.repeat(wave[None, first : first + 1024], channels, axis=0).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start_s * rate + first, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((48_000, "stereo"), (48_000, "5.1")),
        ((48_000, "stereo"), (48_000, "mono")),
        ((48_000, "stereo"), (24_000, "stereo")),
        ((24_000, "mono"), (48_000, "stereo")),
        ((44_100, "5.1"), (32_000, "mono")),
    ],
)
def test_sound_that_changes_its_kind_goes_on(
    tmp_path: Path, before: tuple[int, str], after: tuple[int, str]
) -> None:
    """A 1000 Hz tone, and from 2 s on one of 500 Hz: the pitch, the place and the length stay right."""
    path = tmp_path / "change.ts"
    path.write_bytes(
        tone_ts(tmp_path / "a.ts", *before, 0, 1000) + tone_ts(tmp_path / "b.ts", *after, 2, 500)
    )
    with av.open(str(path)) as container:  # the muxer's own delay
        start_s = Fraction(container.streams.audio[0].start_time) * container.streams.audio[0].time_base
    sound = heard(path, start_s + Fraction(3, 2), Fraction(1), may_seek=False)
    assert sound.samples is not None
    assert sound.samples.shape == (1 if before[1] == "mono" else 2, 48_000)
    assert sound.gap_s < 0.06
    for span, frequency_hz in (((0, 20_000), 1000), ((28_000, 48_000), 500)):
        part = sound.samples[0, span[0] : span[1]]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        assert float(spectrum.argmax()) * RATE_HZ / len(part) == pytest.approx(frequency_hz, abs=3)
        assert part.std() > 0.1


def test_no_audio_stream(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video(tmp_path / "v.mp4", frames=5)
    assert read_sound(lambda: av.open(str(path)), Fraction(0), Fraction(1), True) is None
