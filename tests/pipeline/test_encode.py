"""Clips show the frames, the picture and the sound that the rules promise, in the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from pipeline.encode import EncodedClip, EncodeJob, encode_jobs, source_frames
from pipeline.frames import Decoder, VideoIndex
from pipeline.reasons import MediaError, Reason


@dataclass(frozen=True)
class Index:
    pts: npt.NDArray[np.int64]
    time_base: Fraction = Fraction(1, 24)
    rotation_deg: int = 0
    width: int = 160
    height: int = 96
    seekable: bool = True
    last_step: int = 0
    """Ticks that the last frame stands; 0: as long as the one before it."""

    @property
    def duration_s(self) -> float:
        usual = int(self.pts[-1] - self.pts[-2]) if len(self.pts) > 1 else 1
        return float((int(self.pts[-1] - self.pts[0]) + (self.last_step or usual)) * self.time_base)


def steady(frames: int, fps: int = 24, **sizes: int) -> Index:
    return Index(np.arange(frames, dtype=np.int64), Fraction(1, fps), **sizes)


def indexed(
    path: Path, rotation: int = 0, display: tuple[int, int] | None = None, seekable: bool = True
) -> Index:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        width, height = display or (stream.width, stream.height)
        pts = np.array(sorted(p.pts for p in container.demux(stream) if p.pts is not None), np.int64)
        return Index(pts, stream.time_base, rotation, width, height, seekable)


def in_order(container: Any, index: Index, start: int, end: int) -> Iterator[tuple[int, Any]]:
    """Frames [start, end), as the guarded decoder gives them."""
    stream = container.streams.video[0]
    stream.thread_count = 1
    if index.seekable:
        container.seek(int(index.pts[start]), stream=stream)
    for frame in container.decode(stream):
        number = int(np.searchsorted(index.pts, frame.pts))
        if number >= end:
            return
        if number >= start:
            yield number, frame


def encoded(path: Path, index: Index, *jobs: EncodeJob) -> list[EncodedClip]:
    clips = list(encode_jobs(lambda: av.open(str(path)), in_order, index, jobs))
    for clip in clips:
        if isinstance(clip, MediaError):
            raise clip
    return clips  # type: ignore[return-value]


def pictures(clip: EncodedClip) -> list[npt.NDArray[np.uint8]]:
    with av.open(io.BytesIO(clip.data)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def samples(clip: EncodedClip) -> npt.NDArray[np.float32]:
    with av.open(io.BytesIO(clip.data)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def job(start: int, end: int, frames: int, fps: int = 24, **changes: Any) -> EncodeJob:
    return replace(EncodeJob(start, end, width=160, height=96, fps=fps, frames=frames), **changes)


# which frames


def test_each_output_frame_shows_the_nearest_source_frame() -> None:
    assert source_frames(steady(97), job(0, 97, 97)) == list(range(97))
    assert source_frames(steady(60, fps=30), job(10, 60, 9, 24)) == [10, 11, 12, 14, 15, 16, 17, 19, 20]
    # 24 to 16 fps: every other time is halfway between two frames, and the earlier is taken
    assert source_frames(steady(30), job(4, 30, 9, 16)) == [4, 5, 7, 8, 10, 11, 13, 14, 16]
    # 10 to 16 fps: repeated, never blended
    assert source_frames(steady(20, fps=10), job(0, 20, 9, 16)) == [0, 1, 1, 2, 2, 3, 4, 4, 5]


def test_the_nearest_frame_agrees_with_a_plain_search() -> None:
    generator = np.random.default_rng(5)
    for _ in range(50):
        pts = np.cumsum(generator.integers(1, 200, 60)).astype(np.int64)
        index = Index(pts, Fraction(1, 1000))
        start, fps = int(generator.integers(0, 20)), int(generator.choice([16, 24]))
        frames = 4 * int(generator.integers(1, 12)) + 1
        wanted = [
            min(
                range(start, 50),
                key=lambda i: (abs(Fraction(int(pts[i] - pts[start]), 1000) - Fraction(k, fps)), i),
            )
            for k in range(frames)
        ]
        if Fraction(frames - 1, fps) < Fraction(int(pts[50] - pts[start]), 1000):
            assert source_frames(index, job(start, 50, frames, fps)) == wanted


def test_a_span_shorter_than_its_frames_is_an_error() -> None:
    assert source_frames(steady(17), job(0, 17, 17))[-1] == 16
    with pytest.raises(MediaError) as caught:
        source_frames(steady(16), job(0, 16, 17))
    assert caught.value.reason is Reason.ENCODE_ERROR
    with pytest.raises(MediaError, match="a video of 16"):
        source_frames(steady(16), job(0, 17, 9))
    # the last frame stands until the next one, however late that is
    late = Index(np.array([0, 1, 2, 3, 50], np.int64))
    assert source_frames(late, job(0, 4, 9))[-3:] == [3, 3, 3]


def test_the_last_frame_stands_as_long_as_the_index_says() -> None:
    held = Index(np.arange(48, dtype=np.int64), last_step=72)  # 2 s at 24 fps, the last frame 3 s
    assert held.duration_s == pytest.approx(119 / 24)
    assert source_frames(held, job(0, 48, 117))[-70:] == [47] * 70
    assert source_frames(replace(held, last_step=1), job(0, 48, 45))[-1] == 44
    with pytest.raises(MediaError):
        source_frames(held, job(0, 48, 121))
    with pytest.raises(MediaError):
        source_frames(replace(held, last_step=1), job(0, 48, 49))
    # to the tick, though seconds are a float: 5 frames at 24 fps need more than 15 015 ticks of 1/90000 s
    one = Index(np.array([10**12], np.int64), Fraction(1, 90_000), last_step=15_001)
    assert source_frames(one, job(0, 1, 5)) == [0] * 5
    with pytest.raises(MediaError):
        source_frames(replace(one, last_step=15_000), job(0, 1, 5))


def test_a_span_costs_no_more_in_a_long_video() -> None:
    index = steady(2_000_000)
    tracemalloc.start()
    assert source_frames(index, job(5, 40, 9)) == list(range(5, 14))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
def test_frames_survive_exactly(
    tmp_path: Path, make_video: Callable[..., Path], barcode: Any, codec: str
) -> None:
    path = make_video(tmp_path / "a.mp4", frames=60, fps=30, codec=codec, bframes=2, gop=12)
    index = indexed(path)
    spans = [job(0, 30, 17), job(7, 45, 25), job(20, 60, 17, 16), job(31, 60, 1)]
    for clip, wanted in zip(encoded(path, index, *spans), spans, strict=True):
        expected = source_frames(index, wanted)
        assert [barcode.read(picture) for picture in pictures(clip)] == expected
        assert (clip.frames, clip.first_frame, clip.last_frame) == (wanted.frames, expected[0], expected[-1])


def test_a_variable_rate_becomes_constant(
    tmp_path: Path, make_video: Callable[..., Path], barcode: Any
) -> None:
    times_ms = [0, 20, 100, 110, 120, 300, 310, 500, 700, 720, 900, 1000]
    path = make_video(tmp_path / "v.mkv", frames=12, vfr_pts=times_ms)
    (clip,) = encoded(path, indexed(path), job(1, 12, 17))
    wanted = [
        min(range(1, 12), key=lambda i: (abs((times_ms[i] - 20) * 24 - k * 1000), i)) for k in range(17)
    ]
    assert [barcode.read(picture) for picture in pictures(clip)] == wanted
    with av.open(io.BytesIO(clip.data)) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.frames) == (24, 17)
        assert [frame.time for frame in container.decode(stream)] == pytest.approx(
            [k / 24 for k in range(17)]
        )


def test_a_clip_at_the_very_end(tmp_path: Path, make_video: Callable[..., Path], barcode: Any) -> None:
    path = make_video(tmp_path / "a.mp4", frames=40, bframes=3, audio=True)
    (clip,) = encoded(path, indexed(path), job(23, 40, 17))
    assert [barcode.read(picture) for picture in pictures(clip)] == list(range(23, 40))
    assert samples(clip).shape[1] == pytest.approx(34_000, abs=1024)


# which picture


def disc(width: int, height: int, squeeze: float = 1.0) -> npt.NDArray[np.uint8]:
    """A white disc on gray; `squeeze` is the width of its pixels."""
    y, x = np.mgrid[:height, :width]
    inside = ((x - width / 2 + 0.5) * squeeze) ** 2 + (y - height / 2 + 0.5) ** 2 < (height * 0.35) ** 2
    return np.repeat(np.where(inside, 220, 90).astype(np.uint8)[:, :, None], 3, axis=2)


def extent(picture: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of what is white."""
    white = picture.mean(axis=2) > 155
    return int(white.any(axis=0).sum()), int(white.any(axis=1).sum())


@pytest.mark.parametrize("size", [(160, 96), (96, 160), (350, 200), (128, 128)])
def test_a_disc_stays_round(tmp_path: Path, make_video: Callable[..., Path], size: tuple[int, int]) -> None:
    path = make_video(tmp_path / "d.mp4", frames=5, size=size, draw=lambda _: disc(*size))
    (clip,) = encoded(path, indexed(path), job(0, 5, 5, width=96, height=96, crop=(0.1, 0.1, 0.9, 0.9)))
    wide, high = extent(pictures(clip)[2])
    assert wide == pytest.approx(high, abs=2)


def test_pixels_become_square(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video(
        tmp_path / "s.mp4", frames=5, size=(90, 96), sar=Fraction(2), draw=lambda _: disc(90, 96, squeeze=2)
    )
    (clip,) = encoded(path, indexed(path, display=(180, 96)), job(0, 5, 5, width=160, height=96))
    wide, high = extent(pictures(clip)[2])
    assert wide == pytest.approx(high, abs=2)
    assert high == pytest.approx(0.7 * 96, abs=2)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_turned_picture_is_upright(
    tmp_path: Path, make_video: Callable[..., Path], barcode: Any, rotation: int
) -> None:
    upright = (96, 160) if rotation in (90, 270) else (160, 96)

    def lying(number: int) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(np.rot90(barcode.draw(number + 37, *upright), rotation // 90))

    path = make_video(tmp_path / "r.mp4", frames=9, rotation=rotation, draw=lying)
    index = indexed(path, rotation, upright)
    (clip,) = encoded(path, index, job(0, 9, 9, width=upright[0], height=upright[1]))
    assert [barcode.read(picture) for picture in pictures(clip)] == list(range(37, 46))


def test_odd_sizes(tmp_path: Path, make_video: Callable[..., Path], barcode: Any) -> None:
    path = make_video(tmp_path / "o.mkv", frames=9, size=(161, 97), codec="ffv1", pix_fmt="yuv444p")
    (clip,) = encoded(path, indexed(path), job(0, 9, 9, width=80, height=48))
    assert [barcode.read(picture) for picture in pictures(clip)] == list(range(9))
    assert pictures(clip)[0].shape == (48, 80, 3)


def quadrants(number: int) -> npt.NDArray[np.uint8]:
    picture = np.zeros((96, 160, 3), np.uint8)
    picture[:48, :80], picture[:48, 80:] = (200, 40, 40), (40, 180, 60)
    picture[48:, :80], picture[48:, 80:] = (40, 60, 200), (128, 128, 128)
    return picture


COLOURS = [(200, 40, 40), (40, 180, 60), (40, 60, 200), (128, 128, 128)]


def as_bt709(clip: EncodedClip) -> list[npt.NDArray[np.float64]]:
    """The mean colours of the quadrants, reading YUV as the format says: BT.709 limited (ITU-R BT.709-6)."""
    with av.open(io.BytesIO(clip.data)) as container:
        frame = next(container.decode(video=0))
        planes = [
            np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
            for plane in frame.planes
        ]
    rows = []
    for down in (0.25, 0.75):
        for right in (0.25, 0.75):
            y, u, v = (
                float(plane[int(plane.shape[0] * down), int(plane.shape[1] * right)]) for plane in planes
            )
            luma, blue, red = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
            r, b = luma + 1.5748 * red, luma + 1.8556 * blue
            rows.append(np.array([r, (luma - 0.2126 * r - 0.0722 * b) / 0.7152, b]) * 255)
    return rows


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "matrix"),
    [
        ("h264", "yuv420p", "601"),
        ("hevc", "yuv420p10le", "601"),
        ("ffv1", "yuv444p", "601"),
        ("ffv1", "bgr0", ""),
    ],
)
def test_colours_come_out_as_bt709(
    tmp_path: Path, make_video: Callable[..., Path], codec: str, pix_fmt: str, matrix: str
) -> None:
    path = make_video(tmp_path / "c.mkv", frames=5, codec=codec, pix_fmt=pix_fmt, draw=quadrants)
    (clip,) = encoded(path, indexed(path), job(0, 5, 5))
    for colour, wanted in zip(as_bt709(clip), COLOURS, strict=True):
        assert colour == pytest.approx(wanted, abs=6)
    with av.open(io.BytesIO(clip.data)) as container:
        frame = next(container.decode(video=0))
        assert (frame.format.name, int(frame.colorspace), int(frame.color_range)) == ("yuv420p", 1, 1)


@pytest.mark.parametrize(
    ("size", "written", "tagged", "full"),
    [
        ((160, 96), 709, True, False),
        ((160, 96), 601, True, True),
        ((160, 96), 2020, True, False),
        ((1280, 720), 709, False, False),  # untagged: high definition is BT.709
        ((1278, 718), 601, False, False),  # and the rest BT.601
    ],
)
def test_matrix_and_range_are_read_as_tagged_or_guessed(
    tmp_path: Path, size: tuple[int, int], written: int, tagged: bool, full: bool
) -> None:
    from av.video.reformatter import ColorRange, Colorspace

    scaler = {601: Colorspace.ITU601, 709: Colorspace.ITU709, 2020: Colorspace.BT2020}[written]
    in_h273 = {601: 6, 709: 1, 2020: 9}[written]
    span = int(ColorRange.JPEG if full else ColorRange.MPEG)
    rgb = av.VideoFrame.from_ndarray(quadrants(0), format="rgb24").reformat(*size)
    frame = rgb.reformat(
        format="yuv420p",
        dst_colorspace=int(scaler),
        src_color_range=int(ColorRange.JPEG),
        dst_color_range=span,
    )
    path = tmp_path / "m.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=24, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace = (span, in_h273) if tagged else (0, 2)
        frame.color_range, frame.colorspace = context.color_range, context.colorspace
        for number in range(5):
            frame.pts, frame.time_base = number, Fraction(1, 24)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    (clip,) = encoded(path, indexed(path), job(0, 5, 5))
    for colour, wanted in zip(as_bt709(clip), COLOURS, strict=True):
        assert colour == pytest.approx(wanted, abs=6)


def test_a_crop_leaves_nothing_of_what_it_cuts_away(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    def boxed(_: int) -> npt.NDArray[np.uint8]:
        picture = np.full((200, 320, 3), 255, np.uint8)
        picture[40:160, 32:288] = 90
        return picture

    path = make_video(
        tmp_path / "b.mkv", frames=5, size=(320, 200), codec="ffv1", pix_fmt="yuv444p", draw=boxed
    )
    for size in ((160, 96), (96, 160), (256, 96), (64, 30)):
        cut = job(0, 5, 5, width=size[0], height=size[1], crop=(0.1, 0.2, 0.9, 0.8))
        (clip,) = encoded(path, indexed(path), cut)
        assert 85 <= pictures(clip)[2].min() <= pictures(clip)[2].max() <= 95


def test_one_frame_is_a_lossless_png(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    source = io.BytesIO()
    with av.open(source, "w", format="image2pipe") as output:
        stream = output.add_stream("png")
        stream.width, stream.height, stream.pix_fmt = 160, 96, "rgb24"
        output.mux(
            [*stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")), *stream.encode(None)]
        )
    path = tmp_path / "i.png"
    path.write_bytes(source.getvalue())
    index = Index(np.zeros(1, np.int64), Fraction(1, 25))
    (clip,) = encoded(path, index, job(0, 1, 1))
    assert (clip.media_type, clip.frames, clip.audio_codec) == ("image/png", 1, None)
    assert clip.data.startswith(b"\x89PNG")
    assert np.array_equal(pictures(clip)[0], picture)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".webp"])
@pytest.mark.parametrize("gray", [False, True])
def test_images_keep_their_colours(tmp_path: Path, suffix: str, gray: bool) -> None:
    import cv2

    path = tmp_path / f"i{suffix}"
    picture = np.full((96, 160), 30, np.uint8) if gray else quadrants(0)[:, :, ::-1]
    cv2.imwrite(str(path), picture)
    with Decoder() as decoder:
        index = VideoIndex.from_row(decoder.probe(str(path)))
        (clip,) = decoder.encode(str(path), index, [job(0, 1, 1)])
    assert isinstance(clip, EncodedClip)
    shown = pictures(clip)[0]
    wanted = [(30, 30, 30)] * 4 if gray else COLOURS
    found = [shown[24, 40], shown[24, 120], shown[72, 40], shown[72, 120]]
    for colour, expected in zip(found, wanted, strict=True):
        assert colour.astype(float) == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(
    ("rotation", "sar"), [(0, None), (90, None), (270, Fraction(4, 3)), (180, Fraction(2))]
)
def test_the_guarded_decoder_gives_the_same_clips(
    tmp_path: Path, make_video: Callable[..., Path], barcode: Any, rotation: int, sar: Fraction | None
) -> None:
    """Through the child process, with what the container itself says of rotation and pixel aspect."""
    turned = rotation in (90, 270)

    def lying(number: int) -> npt.NDArray[np.uint8]:
        upright = barcode.draw(number, 160 if not turned else 96, 96 if not turned else 160)
        return np.ascontiguousarray(np.rot90(upright, rotation // 90))

    path = make_video(tmp_path / "r.mp4", frames=40, rotation=rotation, sar=sar, draw=lying, audio=True)
    with Decoder() as decoder:
        index = VideoIndex.from_row(decoder.probe(str(path)))
        size = {"width": 96, "height": 160} if turned else {"width": 160, "height": 96}
        # as wide as the upright picture, so that no column of the code is cut away
        size["width" if not turned else "height"] = 16 * round(
            (index.width if not turned else index.height) / 16
        )
        clips = decoder.encode(str(path), index, [job(5, 30, 17, **size), job(21, 40, 17, **size)])
    for clip, first in zip(clips, (5, 21), strict=True):
        assert isinstance(clip, EncodedClip)
        assert [barcode.read(picture) for picture in pictures(clip)] == list(range(first, first + 17))
        assert clip.audio_codec == "aac"


# which sound


def beeping(
    path: Path, at_s: float, rate: int, layout_: str, codec: str = "aac", seconds: float = 6.0
) -> Path:
    """A video of 24 fps with a 1 kHz beep of 0.1 s at `at_s`, silent otherwise."""
    times = np.arange(int(seconds * rate)) / rate
    beep = np.where((times >= at_s) & (times < at_s + 0.1), np.sin(2 * np.pi * 1000 * times) * 0.8, 0)
    with av.open(str(path), "w") as output:
        pictures_ = output.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        pictures_.width, pictures_.height, pictures_.pix_fmt = 160, 96, "yuv420p"
        sound = output.add_stream(codec, rate=rate, layout=layout_)
        for number in range(int(seconds * 24)):
            frame = av.VideoFrame.from_ndarray(quadrants(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            output.mux(pictures_.encode(frame))
        output.mux(pictures_.encode(None))
        channels = len(sound.codec_context.layout.channels)
        whole = np.repeat(beep[None].astype(np.float32), channels, axis=0)
        for first in range(0, whole.shape[1], 1024):
            part = np.ascontiguousarray(whole[:, first : first + 1024])
            chunk = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout_)
            chunk.sample_rate, chunk.pts, chunk.time_base = rate, first, Fraction(1, rate)
            output.mux(sound.encode(chunk))
        output.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "rate", "layout_", "codec"),
    [
        ("a.mp4", 48_000, "mono", "aac"),
        ("b.mp4", 44_100, "stereo", "aac"),
        ("c.mkv", 48_000, "5.1", "aac"),
        ("d.mkv", 22_050, "mono", "libmp3lame"),
        ("e.webm", 48_000, "stereo", "libopus"),
        ("f.ts", 44_100, "stereo", "aac"),
    ],
)
@pytest.mark.parametrize("seekable", [True, False])
def test_a_beep_lands_where_it_was(
    tmp_path: Path, name: str, rate: int, layout_: str, codec: str, seekable: bool
) -> None:
    container = tmp_path / name
    if name.endswith("webm"):
        container = container.with_suffix(".mkv")
    path = beeping(container, 4.25, rate, layout_, codec)
    seekable = seekable and not name.endswith(".ts")
    (clip,) = encoded(path, indexed(path, seekable=seekable), job(84, 144, 49))  # 3.5 s to 5.54 s
    sound = samples(clip)
    assert clip.audio_codec == "aac"
    assert clip.audio_gap_s == pytest.approx(0, abs=0.001)
    assert sound.shape[0] == (1 if layout_ == "mono" else 2)
    assert 49 * 2000 <= sound.shape[1] < 49 * 2000 + 1024  # whole AAC frames
    loud = np.flatnonzero(np.abs(sound[0]) > 0.2) / 48_000
    assert loud[0] == pytest.approx(0.75, abs=0.005)
    assert loud[-1] == pytest.approx(0.85, abs=0.005)


def test_sound_follows_each_of_many_clips(tmp_path: Path) -> None:
    path = beeping(tmp_path / "m.mp4", 2.0, 44_100, "stereo")
    jobs = [job(start, start + 60, 25) for start in range(0, 80, 8)]
    for clip, made in zip(encoded(path, indexed(path), *jobs), jobs, strict=True):
        with av.open(io.BytesIO(clip.data)) as container:
            assert container.streams.audio[0].duration == 25 * 2000
        loud = np.flatnonzero(np.abs(samples(clip)[0]) > 0.2) / 48_000
        expected_s = 2.0 - made.start_frame / 24
        if 0 <= expected_s < 25 / 24:
            assert loud[0] == pytest.approx(expected_s, abs=0.005)
        elif expected_s > 25 / 24 or expected_s < -0.11:
            assert loud.size == 0


def test_missing_sound_is_silence_that_is_counted(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = beeping(tmp_path / "short.mkv", 0.1, 48_000, "mono", seconds=2.0)
    longer = tmp_path / "long.mkv"
    with av.open(str(path)) as source, av.open(str(longer), "w") as output:
        streams = [output.add_stream_from_template(stream) for stream in source.streams]
        for packet in source.demux():
            if packet.dts is not None and (
                packet.stream.type == "video" or packet.pts * packet.time_base < 1
            ):
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    some, none = encoded(longer, indexed(longer), job(12, 45, 25), job(30, 48, 17))
    assert some.audio_gap_s == pytest.approx(25 / 24 - 0.5, abs=0.03)
    assert 50_000 <= samples(some).shape[1] < 51_024
    assert (none.audio_codec, none.audio_gap_s) == (None, pytest.approx(17 / 24))

    silent = make_video(tmp_path / "silent.mp4", frames=24)
    (clip,) = encoded(silent, indexed(silent), job(0, 24, 17))
    assert (clip.audio_codec, clip.audio_gap_s) == (None, None)
    (clip,) = encoded(path, indexed(path), job(0, 24, 17, audio=False))
    assert (clip.audio_codec, clip.audio_gap_s) == (None, None)


# the bytes


def test_the_same_bytes_alone_together_and_in_another_process(
    tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    path = make_video(tmp_path / "a.mp4", frames=90, bframes=2, audio=True)
    index = indexed(path)
    jobs = [job(0, 40, 33), job(10, 60, 17, 16), job(33, 90, 41), job(80, 90, 1)]
    together = encoded(path, index, *jobs)
    alone = [encoded(path, index, one)[0] for one in jobs]
    assert together == alone
    assert encoded(path, replace(index, seekable=False), *jobs) == together
    for clip in together:
        assert clip.sha256 == hashlib.sha256(clip.data).hexdigest()
        assert b"Lavf" not in clip.data
        assert b"Lavc" not in clip.data
    assert together[0].data.index(b"moov") < together[0].data.index(b"mdat")
    assert pickle.loads(pickle.dumps(together)) == together


def test_the_module_imports_nothing_heavy() -> None:
    code = "import sys, pipeline.encode; print(sorted({'av', 'cv2', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# what goes wrong


def test_a_clip_that_fails_harms_no_other(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video(tmp_path / "a.mp4", frames=90)

    def damaged(container: Any, index: Index, start: int, end: int) -> Iterator[tuple[int, Any]]:
        for number, frame in in_order(container, index, start if index.seekable else 0, end):
            if number == 40:
                raise MediaError(Reason.DECODE_ERROR, "damaged")
            if number >= start:
                yield number, frame

    jobs = [job(0, 17, 17), job(8, 50, 25), job(30, 55, 17), job(41, 70, 17), job(60, 90, 200 * 4 + 1)]
    jobs.append(job(66, 90, 17))
    index = indexed(path)
    answers = list(encode_jobs(lambda: av.open(str(path)), damaged, index, jobs))
    reasons = [answer.reason if isinstance(answer, MediaError) else None for answer in answers]
    whole = encoded(path, index, *(jobs[i] for i in (0, 1, 3, 5)))
    assert reasons == [None, None, Reason.DECODE_ERROR, None, Reason.ENCODE_ERROR, None]
    assert [answers[i] for i in (0, 1, 3, 5)] == whole

    in_one_pass = replace(index, seekable=False)
    calls: list[int] = []

    def opened() -> Any:
        calls.append(1)
        return av.open(str(path))

    answers = list(
        encode_jobs(opened, damaged, in_one_pass, [*jobs[:1], *(job(50, 70, 17) for _ in range(20))])
    )
    assert [isinstance(answer, MediaError) for answer in answers] == [False] + [True] * 20
    assert len(calls) < 10


def answers_of(
    path: Path, index: Any, frames: Any, jobs: Sequence[EncodeJob], opener: Any = None
) -> list[Any]:
    """The clips, and the reasons of those that failed."""
    answers = encode_jobs(opener or (lambda: av.open(str(path))), frames, index, jobs)
    return [answer.reason if isinstance(answer, MediaError) else answer for answer in answers]


def test_a_bad_job_fails_alone_in_one_pass(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = str(make_video(tmp_path / "a.ts", frames=60))
    jobs = [job(0, 60, 801), job(2, 20, 17), job(10, 70, 9), job(20, 40, 17), job(30, 40, 401)]
    with Decoder() as decoder:
        index = VideoIndex.from_row(decoder.probe(path))
        assert not index.seekable
        answers = decoder.encode(path, index, jobs)
        whole = decoder.encode(path, index, [jobs[1], jobs[3]])
    bad = [isinstance(answer, MediaError) and answer.reason for answer in answers]
    assert bad == [Reason.ENCODE_ERROR, False, Reason.ENCODE_ERROR, False, Reason.ENCODE_ERROR]
    assert [answers[1], answers[3]] == whole
    assert all(isinstance(clip, EncodedClip) for clip in whole)


def broken_at(frame: int) -> Any:
    """Frames that cannot be read from this one on."""

    def frames(container: Any, index: Index, start: int, end: int) -> Iterator[tuple[int, Any]]:
        for number, picture in in_order(container, index, start, end):
            if number >= frame:
                raise MediaError(Reason.DECODE_ERROR, "damaged")
            yield number, picture

    return frames


@pytest.mark.parametrize("seekable", [True, False])
def test_clips_before_the_damage_are_answered(
    tmp_path: Path, make_video: Callable[..., Path], seekable: bool
) -> None:
    path = make_video(tmp_path / "a.mp4", frames=60)
    index = replace(indexed(path), seekable=seekable)
    jobs = [job(10, 50, 33), job(12, 30, 9), job(13, 60, 41), job(20, 38, 17)]
    answers = answers_of(path, index, broken_at(40), jobs)
    whole = encoded(path, index, jobs[1], jobs[3])
    assert answers == [Reason.DECODE_ERROR, whole[0], Reason.DECODE_ERROR, whole[1]]


def test_sound_that_cannot_be_read_fails_its_clip_alone(
    tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    path = make_video(tmp_path / "a.mp4", frames=60, audio=True)
    index = replace(indexed(path), seekable=False)
    opened: list[int] = []

    def opener() -> Any:
        opened.append(1)
        if len(opened) == 2:  # the first reads the pictures
            raise av.error.OSError(5, "Input/output error")
        return av.open(str(path))

    jobs = [job(0, 20, 17), job(20, 40, 17)]
    answers = answers_of(path, index, in_order, jobs, opener)
    assert answers == [Reason.DECODE_ERROR, *encoded(path, index, jobs[1])]


def test_thousands_of_failing_jobs_are_so_many_answers() -> None:
    def frames(container: Any, index: Any, start: int, end: int) -> Iterator[tuple[int, Any]]:
        raise MediaError(Reason.DECODE_ERROR, "damaged")
        yield

    jobs = [job(start, start + 9, 9) for start in range(1500)]
    answers = answers_of(Path(), steady(2000), frames, jobs, io.BytesIO)
    assert answers == [Reason.DECODE_ERROR] * 1500


@pytest.mark.parametrize("when", [1, 2])
def test_too_little_memory_is_no_damage(tmp_path: Path, make_video: Callable[..., Path], when: int) -> None:
    """av.error.MemoryError is an FFmpegError too: on opening the pictures, and the sound."""
    path = make_video(tmp_path / "a.mp4", frames=30, audio=True)
    opened: list[int] = []

    def opener() -> Any:
        opened.append(1)
        if len(opened) == when:
            raise av.error.MemoryError(12, "Cannot allocate memory")
        return av.open(str(path))

    with pytest.raises(MemoryError):
        answers_of(path, indexed(path), in_order, [job(0, 20, 17)], opener)


def test_a_video_that_ends_early_is_an_error(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video(tmp_path / "a.mp4", frames=20)
    index = replace(indexed(path), pts=np.arange(40, dtype=np.int64) * 512)
    (answer,) = encode_jobs(lambda: av.open(str(path)), in_order, index, [job(0, 40, 33)])
    assert isinstance(answer, MediaError)
    assert answer.reason is Reason.DECODE_ERROR


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"crop": (0.5, 0, 0.4, 1)}, "not a rectangle"),
        ({"crop": (0, 0, 1, 1.1)}, "not a rectangle"),
        ({"frames": 16}, "not 4k"),
        ({"width": 161}, "not an even size"),
        ({"height": 0}, "not an even size"),
        ({"start_frame": 9}, "has no frames"),
        ({"fps": 0}, "not a rate"),
    ],
)
def test_an_impossible_job_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(job(0, 9, 9), **change)


def test_unsorted_jobs_are_refused() -> None:
    jobs: Sequence[EncodeJob] = [job(5, 20, 9), job(0, 9, 9)]
    with pytest.raises(ValueError, match="sorted"):
        list(encode_jobs(lambda: None, in_order, steady(20), jobs))
