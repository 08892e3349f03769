"""Frames through the guarded child: what is shown, what is refused with which reason, and what a bad file may cost."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.child import UNFIT
from pipeline.clip import VIDEOS
from pipeline.frames import (
    DETAIL,
    MOTION,
    PROXY,
    VIEW,
    Decoder,
    Limits,
    Sample,
    VideoIndex,
    _encoded,
    _probed,
    _scanned,
    _shown,
    batch_from_samples,
    grid_frames,
    pack_pts,
    shown_frames,
    shown_size,
    thinned,
    unpack_pts,
)
from pipeline.reasons import MediaError, Reason
from pipeline.stage import FrameSpec

Make = Callable[..., Path]
EVERY = FrameSpec(every_s=0.001)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as made:
        yield made


def index_of(pts: list[int], time_base: Fraction, width: int = 640, height: int = 360) -> VideoIndex:
    steps = np.diff(pts) if len(pts) > 1 else [1]
    return VideoIndex(
        pts=np.asarray(pts, dtype=np.int64),
        time_base=time_base,
        fps=Fraction(24),
        duration_s=float((pts[-1] - pts[0] + int(steps[-1])) * time_base),
        width=width,
        height=height,
        coded_width=width,
        coded_height=height,
        sar=Fraction(1),
        rotation_deg=0,
        interlaced=False,
        seekable=True,
        is_image=False,
        container="mov",
        codec="h264",
    )


def refusal(decoder: Decoder, path: Path | str) -> Reason:
    with pytest.raises(MediaError) as caught:
        decoder.probe(str(path))
    assert caught.value.message
    return caught.value.reason


# Timestamps, grid and sizes


def test_a_constant_rate_packs_to_almost_nothing() -> None:
    pts = np.arange(7, 172_800 * 1001 + 7, 1001, dtype=np.int64)
    assert len(pack_pts(pts)) < 2000  # 1.4 MB as they are
    np.testing.assert_array_equal(unpack_pts(pack_pts(pts)), pts)


@pytest.mark.parametrize("pts", [[0], [-5], [-3, 0, 4, 5, 2**40], [2**62 - 1, 2**62]])
def test_packing_keeps_every_timestamp(pts: list[int]) -> None:
    np.testing.assert_array_equal(unpack_pts(pack_pts(np.asarray(pts, dtype=np.int64))), pts)


def slow_grid(index: VideoIndex, every: Fraction) -> list[int]:
    """For each k the first frame at or after k x every, by the definition."""
    times = [Fraction(int(p - index.pts[0])) * index.time_base for p in index.pts]
    chosen = []
    k = 0
    while k * every <= times[-1]:
        chosen.append(next(i for i, t in enumerate(times) if t >= k * every))
        k += 1
    return sorted(set(chosen))


@pytest.mark.parametrize("every_s", [0.04, 0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    "pts",
    [
        list(range(0, 200)),  # 25 fps: the grid falls on frames
        [round(i * 1000 * 1001 / 30000) for i in range(120)],
        [5, 9, 40, 41, 300, 301, 302, 303, 900, 2000, 2001],
    ],
)
def test_the_grid_is_the_first_frame_at_or_after_each_step(pts: list[int], every_s: float) -> None:
    index = index_of(pts, Fraction(1, 25) if pts[1] == 1 else Fraction(1, 1000))
    want = slow_grid(index, Fraction(every_s).limit_denominator(1000))
    n = len(pts)
    assert grid_frames(index, every_s, 0, n) == want
    for start, end in [(0, 1), (1, n), (3, 8), (n - 1, n), (5, 5), (7, n - 2)]:
        assert grid_frames(index, every_s, start, end) == [f for f in want if start <= f < end]


def test_a_span_without_a_grid_frame_shows_its_middle() -> None:
    index = index_of(list(range(100)), Fraction(1, 25))
    assert shown_frames(index, VIEW, 30, 40) == [34]
    assert shown_frames(index, VIEW, 20, 60) == [25, 50]
    assert shown_frames(index, VIEW, 30, 31) == [30]
    assert shown_frames(index, MOTION, 30, 31) == []
    assert shown_frames(index, MOTION, 30, 32) == [30]
    assert shown_frames(index, MOTION, 20, 26) == [22]  # the grid's frame 25 has no follower in the span


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 31, 100, 6_000])
def test_few_of_many_are_spread_evenly_and_have_both_ends(count: int) -> None:
    few = thinned(range(count), 16)
    assert len(few) == len(set(few)) == min(count, 16)
    assert (few[0], few[-1]) == (0, count - 1)
    steps = np.diff(few)
    assert count == 1 or (steps.min() > 0 and steps.max() - steps.min() <= 1)
    assert thinned(range(count), None) == list(range(count))
    assert thinned(range(count), 1) == [(count - 1) // 2]


def test_a_spec_with_a_bound_shows_few_frames_of_ten_minutes() -> None:
    index = index_of(list(range(14_400)), Fraction(1, 24))
    few = shown_frames(index, FrameSpec(every_s=0.04, most=16), 0, 14_400)
    assert (len(few), few[0], few[-1]) == (16, 0, 14_399)
    assert shown_frames(index, FrameSpec(every_s=0.04, most=16), 7, 8) == [7]
    assert shown_frames(index, FrameSpec(every_s=1.0, most=3), 0, 240) == [0, 120, 216]


def test_sizes_keep_the_shape_and_never_grow() -> None:
    assert shown_size(index_of([0], Fraction(1), 1920, 1080), VIEW) == (640, 360)
    assert shown_size(index_of([0], Fraction(1), 1080, 1920), VIEW) == (360, 640)
    assert shown_size(index_of([0], Fraction(1), 320, 240), VIEW) == (320, 240)
    assert shown_size(index_of([0], Fraction(1), 1920, 1080), DETAIL) == (384, 384)
    assert shown_size(index_of([0], Fraction(1), 320, 240), DETAIL) == (240, 240)
    assert shown_size(index_of([0], Fraction(1), 320, 240), EVERY) == (320, 240)


# What is shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "fps", "size", "shape"),
    [
        (600, 1, (160, 96), (16, 96, 160, 3)),
        (3, 24, (2160, 3840), (3, 640, 360, 3)),
        (1, 24, (160, 96), (1, 96, 160, 3)),
    ],
)
def test_few_frames_of_any_clip(
    decoder: Decoder,
    make_video: Make,
    tmp_path: Path,
    count: int,
    fps: int,
    size: tuple[int, int],
    shape: tuple[int, ...],
) -> None:
    """Ten minutes, 4K portrait, and one frame: what a captioner is shown is as small."""
    path = str(make_video(tmp_path / "a.mp4", frames=count, fps=fps, size=size))
    index = VideoIndex.from_row(decoder.probe(path))
    (batch,) = decoder.read(path, index, [(0, count)], FrameSpec(0.04, 360, most=16))
    assert batch.images.shape == shape
    assert (batch.frames[0], batch.frames[-1]) == (0, count - 1)
    assert batch.times_s[-1] == pytest.approx((count - 1) / fps)


def test_probe_fills_the_columns(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=30, fps=Fraction(30000, 1001), bframes=2, audio=True)
    row = decoder.probe(str(path))
    given = {"video_id", "path", "sha256", "bytes", "extra", "status", "reason", "message"}
    assert set(row) == set(VIDEOS.names) - given
    assert (row["container"], row["codec"], row["pix_fmt"]) == ("mov", "h264", "yuv420p")
    assert (row["width"], row["height"], row["coded_width"], row["coded_height"]) == (160, 96, 160, 96)
    assert (row["fps_num"], row["fps_den"], row["vfr"]) == (30000, 1001, False)
    assert (row["frame_count"], row["bit_depth"], row["hdr"]) == (30, 8, False)
    assert row["duration_s"] == pytest.approx(30 * 1001 / 30000)
    assert (row["audio_streams"], row["audio_codec"]) == (1, "aac")
    assert (row["rotation_deg"], row["interlaced"], row["is_image"], row["seekable"]) == (
        0,
        False,
        False,
        True,
    )
    index = VideoIndex.from_row(row)
    assert index.times_s[-1] == pytest.approx(row["duration_s"])


def test_variable_rate_is_marked_and_its_average_exact(
    decoder: Decoder, make_video: Make, tmp_path: Path
) -> None:
    times = [0, 40, 80, 200, 240, 1000]
    row = decoder.probe(str(make_video(tmp_path / "v.mkv", frames=6, vfr_pts=times)))
    assert row["vfr"]
    assert Fraction(row["fps_num"], row["fps_den"]) == Fraction(5)
    np.testing.assert_array_equal(unpack_pts(row["pts"]), times)


@pytest.mark.parametrize("fps", [24, 25, Fraction(24000, 1001), Fraction(60000, 1001)])
def test_the_rate_is_exact_though_matroska_rounds(
    decoder: Decoder, make_video: Make, tmp_path: Path, fps: Any
) -> None:
    row = decoder.probe(str(make_video(tmp_path / "r.mkv", frames=50, fps=fps)))
    assert (Fraction(row["fps_num"], row["fps_den"]), row["vfr"]) == (Fraction(fps), False)


def test_hdr_is_marked(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    options = {"x264-params": "transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc"}
    row = decoder.probe(str(make_video(tmp_path / "h.mp4", frames=3, pix_fmt="yuv420p10le", options=options)))
    assert (row["hdr"], row["bit_depth"]) == (True, 10)


@pytest.mark.parametrize(
    ("matrix", "size"), [("bt709", (160, 96)), ("smpte170m", (160, 96)), (None, (160, 96))]
)
def test_colours_come_out_as_they_went_in(
    decoder: Decoder, make_video: Make, tmp_path: Path, matrix: str | None, size: tuple[int, int]
) -> None:
    import av
    from av.video.reformatter import Colorspace

    colour = (200, 40, 90)
    space = Colorspace.ITU709 if matrix == "bt709" else Colorspace.ITU601
    path = tmp_path / "c.mkv"
    picture = np.broadcast_to(np.asarray(colour, np.uint8), (size[1], size[0], 3)).copy()
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        if matrix is not None:
            stream.codec_context.colorspace = {"bt709": 1, "smpte170m": 6}[matrix]
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format="yuv444p", dst_colorspace=space, dst_color_range=1
        )
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    index = VideoIndex.from_row(decoder.probe(str(path)))
    shown = decoder.read(str(path), index, [(0, 1)], VIEW)[0].images[0]
    np.testing.assert_allclose(shown[48, 80], colour, atol=3)


def test_black_is_0_and_white_is_255_in_luma(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    def halves(_: int) -> Any:
        picture = np.zeros((96, 160, 3), np.uint8)
        picture[:, 80:] = 255
        return picture

    path = str(make_video(tmp_path / "l.mp4", frames=3, draw=halves, options={"crf": "1"}))
    index = VideoIndex.from_row(decoder.probe(path))
    shown = decoder.read(path, index, [(0, 3)], MOTION)[0]
    assert shown.images.shape == (1, 96, 160)
    assert shown.following is not None
    assert shown.images[0, :, :70].max() <= 2
    assert shown.images[0, :, 90:].min() >= 253
    assert shown.step_s is not None
    assert shown.step_s.tolist() == pytest.approx([1 / 24])


def test_the_patch_is_the_centre_at_the_sources_resolution(
    decoder: Decoder, make_video: Make, tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (400, 640, 1), dtype=np.uint8).repeat(3, axis=2)
    path = str(
        make_video(
            tmp_path / "d.mkv",
            frames=1,
            size=(640, 400),
            codec="ffv1",
            pix_fmt="yuv444p",
            draw=lambda _: noise,
        )
    )
    index = VideoIndex.from_row(decoder.probe(path))
    shown = decoder.read(path, index, [(0, 1)], DETAIL)[0].images[0]
    assert shown.shape == (384, 384, 3)
    np.testing.assert_allclose(shown.astype(int), noise[8:392, 128:512].astype(int), atol=2)


def test_fragments_are_the_middles_of_a_grids_cells(
    decoder: Decoder, make_video: Make, tmp_path: Path
) -> None:
    noise = np.random.default_rng(5).integers(0, 255, (50, 80, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    path = str(
        make_video(
            tmp_path / "f.mkv", frames=1, size=(320, 200), codec="ffv1", pix_fmt="bgr0", draw=lambda _: noise
        )
    )
    index = VideoIndex.from_row(decoder.probe(path))
    shown = decoder.read(path, index, [(0, 1)], FrameSpec(every_s=1, patch_px=16, fragments=3))[0].images[0]
    assert shown.shape == (48, 48, 3)
    for row in range(3):
        for column in range(3):
            top, left = row * 66 + 25, column * 106 + 45
            patch = shown[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            np.testing.assert_array_equal(patch, noise[top : top + 16, left : left + 16])


def test_fragments_of_a_small_picture_are_enlarged(
    decoder: Decoder, make_video: Make, tmp_path: Path
) -> None:
    path = str(make_video(tmp_path / "s.mp4", frames=1, size=(96, 64), rotation=90))
    index = VideoIndex.from_row(decoder.probe(path))
    for spec in (
        FrameSpec(every_s=1, patch_px=32, fragments=7),
        FrameSpec(1, patch_px=32, fragments=7, gray=True),
    ):
        assert decoder.read(path, index, [(0, 1)], spec)[0].images.shape[1:3] == (224, 224)


def test_turned_patches_and_views_are_upright(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    def lying(_: int) -> Any:
        upright = np.zeros((160, 96, 3), np.uint8)
        upright[:80] = 200  # light above dark
        return np.rot90(upright)

    path = str(make_video(tmp_path / "t.mp4", frames=2, rotation=90, draw=lying))
    index = VideoIndex.from_row(decoder.probe(path))
    for spec in (VIEW, FrameSpec(every_s=1, patch_px=64), FrameSpec(every_s=1, short_side_px=32)):
        picture = decoder.read(path, index, [(0, 1)], spec)[0].images[0].astype(int)
        third = len(picture) // 3
        assert picture[:third].mean() > 190
        assert picture[-third:].mean() < 10
    thumb = decoder.scan(path, index, 0, 1, 0).thumbs[0].astype(int)
    assert thumb[:12].mean() > 190
    assert thumb[-12:].mean() < 10


def test_thumbs_average_the_whole_picture(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    import cv2

    rng = np.random.default_rng(3)
    small = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    picture = cv2.resize(small, (1280, 720), interpolation=cv2.INTER_CUBIC)
    path = str(
        make_video(
            tmp_path / "th.mkv",
            frames=1,
            size=(1280, 720),
            codec="ffv1",
            pix_fmt="yuv444p",
            draw=lambda _: picture,
        )
    )
    index = VideoIndex.from_row(decoder.probe(path))
    thumb = decoder.scan(path, index, 0, 1, 0).thumbs[0].astype(int)
    averaged = cv2.resize(picture, (48, 27), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(thumb - averaged).mean() < 3


def test_the_proxy_is_what_reading_shows(
    decoder: Decoder, make_video: Make, barcode: Any, tmp_path: Path
) -> None:
    path = str(make_video(tmp_path / "p.mp4", frames=72, size=(640, 400), bframes=2))
    index = VideoIndex.from_row(decoder.probe(path))
    scan = decoder.scan(path, index, 0, 72, 0)
    assert [(s.layer, s.frame) for s in scan.samples if s.layer < 3] == [
        (0, 0), (1, 0), (2, 0), (1, 13), (0, 24), (1, 25), (1, 38), (0, 48), (2, 48), (1, 50), (1, 62),
    ]  # fmt: skip
    assert [s.frame for s in scan.samples if s.layer == 3][:14] == [
        0,
        2,
        4,
        6,
        8,
        10,
        12,
        14,
        16,
        18,
        20,
        22,
        24,
        25,
    ]
    for layer, spec in enumerate(PROXY):
        span = (10, 61)
        inside = [s for s in scan.samples if s.layer == layer]
        kept = batch_from_samples(inside, spec, index, span)
        read = decoder.read(path, index, [span], spec)[0]
        np.testing.assert_array_equal(kept.frames, read.frames)
        np.testing.assert_array_equal(kept.times_s, read.times_s)
        assert kept.images.shape == read.images.shape
        assert np.abs(kept.images.astype(int) - read.images).mean() < 1.5
        assert (kept.following is None) == (read.following is None)


def test_a_pair_whose_second_frame_is_outside_is_left_out(
    decoder: Decoder, make_video: Make, tmp_path: Path
) -> None:
    path = str(make_video(tmp_path / "q.mp4", frames=30))
    index = VideoIndex.from_row(decoder.probe(path))
    samples = [s for s in decoder.scan(path, index, 0, 30, 0).samples if s.layer == 1]
    batch = batch_from_samples(samples, MOTION, index, (5, 14))  # its only sample is frame 13
    assert batch.images.shape == (0, 96, 160)
    assert batch.following is not None
    assert batch.step_s is not None
    assert len(batch.following) == len(batch.step_s) == len(batch.frames) == 0
    last = decoder.read(path, index, [(29, 30)], MOTION)[0]
    assert last.images.shape == (0, 96, 160)


def test_a_damaged_sample_is_an_error() -> None:
    index = index_of(list(range(10)), Fraction(1, 25))
    with pytest.raises(MediaError) as caught:
        batch_from_samples([Sample(0, 0, 0.0, None, b"not a JPEG", None)], VIEW, index, (0, 10))
    assert caught.value.reason is Reason.DECODE_ERROR


def test_two_decoders_give_the_same_bytes(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    path = str(make_video(tmp_path / "s.webm", frames=30, codec="vp9"))
    index = VideoIndex.from_row(decoder.probe(path))
    first = decoder.scan(path, index, 0, 30, 0)
    with Decoder() as other:
        assert other.probe(path) == decoder.probe(path)
        second = other.scan(path, index, 0, 30, 0)
    np.testing.assert_array_equal(first.thumbs, second.thumbs)
    assert first.samples == second.samples


def test_a_file_that_changes_between_scans_is_read_anew(
    decoder: Decoder, make_video: Make, barcode: Any, tmp_path: Path
) -> None:
    path = tmp_path / "x.mp4"
    make_video(path, frames=30)
    index = VideoIndex.from_row(decoder.probe(str(path)))
    decoder.scan(str(path), index, 0, 10, 5)
    make_video(path, frames=30, draw=lambda number: barcode.draw(number + 1000, 160, 96))
    thumbs = decoder.scan(str(path), index, 10, 20, 5).thumbs
    assert [barcode.read(thumb) for thumb in thumbs] == list(range(1005, 1025))


# What is made of the child's answers


@pytest.mark.parametrize(
    ("build", "parts"),
    [
        (_probed, []),
        (_probed, [[]]),
        (_probed, [{}]),
        (partial(_scanned, count=2), [[np.zeros((1, 27, 48, 3), np.uint8), []]]),
        (partial(_scanned, count=1), [["picture", []]]),
        (partial(_scanned, count=1), [[np.zeros((1, 27, 48, 3), np.uint8), [{"layer": 0}]]]),
        (partial(_shown, wanted=[1, 2], shape=(2, 3)), [[1, np.zeros((2, 3), np.uint8)]]),
        (partial(_shown, wanted=[1], shape=(2, 3)), [[1, np.zeros((2, 4), np.uint8)]]),
        (partial(_shown, wanted=[1], shape=(2, 3)), [[1, "picture"]]),
        (partial(_encoded, count=2), [["decode_error", "damaged"]]),
        (partial(_encoded, count=1), [["no such reason", "x"]]),
        (partial(_encoded, count=1), [{"data": b"x"}]),
    ],
)
def test_answers_that_do_not_fit_are_noticed(build: Callable[[list[Any]], Any], parts: list[Any]) -> None:
    with pytest.raises(UNFIT):
        build(parts)


def test_a_probe_has_values_of_its_columns_types(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    row = decoder.probe(str(make_video(tmp_path / "a.mp4", frames=5)))
    assert _probed([row]) == row
    for wrong in ({"width": "160"}, {"frame_count": 2**70}, {"pts": "text"}, {"vfr": 3}):
        with pytest.raises(UNFIT):
            _probed([row | wrong])


# What is refused


def test_things_that_are_not_files(decoder: Decoder, tmp_path: Path) -> None:
    began = time.monotonic()
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "empty.mp4").touch()
    assert refusal(decoder, tmp_path / "fifo.mp4") is Reason.NOT_A_FILE
    assert refusal(decoder, tmp_path / "folder.mp4") is Reason.NOT_A_FILE
    assert refusal(decoder, tmp_path / "device.mp4") is Reason.NOT_A_FILE
    assert refusal(decoder, tmp_path / "loop.mp4") is Reason.NOT_A_FILE
    assert refusal(decoder, tmp_path / "empty.mp4") is Reason.EMPTY
    assert refusal(decoder, tmp_path / "missing.mp4") is Reason.NOT_FOUND
    assert refusal(decoder, str(tmp_path / "nu\0ll.mp4")) is Reason.NOT_FOUND
    assert refusal(decoder, "http://127.0.0.1:9/a.mp4") is Reason.NOT_FOUND
    assert time.monotonic() - began < 10


def test_a_link_to_a_file_is_the_file(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    make_video(tmp_path / "real.mp4", frames=5)
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    assert decoder.probe(str(tmp_path / "link.mp4"))["frame_count"] == 5


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_without_permission(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=5)
    path.chmod(0)
    assert refusal(decoder, path) is Reason.UNREADABLE


@pytest.mark.parametrize(
    "text",
    [
        "version https://example.org/spec/v1\noid sha256:12\nsize 12\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile /etc/passwd\n",
        "<?xml version='1.0'?><MPD></MPD>",
        "1\n00:00:00,000 --> 00:00:02,000\nHello\n\n",
    ],
)
def test_texts_are_not_media(decoder: Decoder, tmp_path: Path, text: str) -> None:
    path = tmp_path / "text.mp4"
    path.write_text(text * 20)
    assert refusal(decoder, path) is Reason.NOT_MEDIA


def test_sound_alone_is_no_video(decoder: Decoder, tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert refusal(decoder, path) is Reason.NO_VIDEO


def test_codecs_outside_the_list(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    path = make_video(tmp_path / "j.avi", frames=3, codec="asv1")
    assert refusal(decoder, path) is Reason.UNSUPPORTED_CODEC


def test_too_small_too_large_too_long(make_video: Make, tmp_path: Path) -> None:
    small = make_video(tmp_path / "s.mkv", frames=2, size=(16, 8), codec="ffv1")
    large = make_video(tmp_path / "l.mp4", frames=60)
    with Decoder() as decoder:
        assert refusal(decoder, small) is Reason.TOO_SMALL
    for limits in (Limits(max_pixels=160 * 96 - 1), Limits(max_frames=59), Limits(max_duration_s=2.4)):
        with Decoder(limits) as decoder:
            assert refusal(decoder, large) is Reason.TOO_LARGE


def test_a_gap_of_years(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    path = make_video(tmp_path / "g.mkv", frames=3, vfr_pts=[0, 40, 700_000])
    assert refusal(decoder, path) is Reason.BAD_TIMESTAMPS


def test_frames_in_backward_order(decoder: Decoder, tmp_path: Path) -> None:
    """Only what an open group of pictures may hold is left out in silence, not most of the film."""
    from benchmarks.hostile.corpus import base, retimed

    (tmp_path / "b.mkv").write_bytes(retimed(base("mkv"), lambda k: 2000 - 40 * k))
    assert refusal(decoder, tmp_path / "b.mkv") is Reason.BAD_TIMESTAMPS


def held(source: Path, path: Path, seconds: int) -> Path:
    """The same video, whose last frame says that it stands for so long."""
    import av

    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        packets = [packet for packet in given.demux(video=0) if packet.size]
        packets[-1].duration = int(seconds / packets[-1].time_base)
        for packet in packets:
            packet.stream = stream
            output.mux(packet)
    return path


@pytest.mark.parametrize("name", ["h.mp4", "h.mkv"])
@pytest.mark.parametrize("frames", [1, 2, 20])
def test_a_last_frame_that_stands_for_hours(
    decoder: Decoder, make_video: Make, tmp_path: Path, name: str, frames: int
) -> None:
    source = make_video(tmp_path / f"a{name}", frames=frames)
    row = decoder.probe(str(held(source, tmp_path / f"b{name}", 500)))
    assert row["duration_s"] == pytest.approx(500 + (frames - 1) / 24, abs=0.01)
    assert refusal(decoder, held(source, tmp_path / f"c{name}", 700)) is Reason.BAD_TIMESTAMPS
    with Decoder(Limits(max_duration_s=400.0)) as short:
        assert refusal(short, tmp_path / f"b{name}") is Reason.TOO_LARGE


def test_raw_streams_have_no_timestamps(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    assert refusal(decoder, make_video(tmp_path / "r.h264", frames=20, bframes=2)) is Reason.BAD_TIMESTAMPS


@pytest.mark.parametrize("name", ["t.mp4", "t.mkv", "t.avi", "t.flv"])
@pytest.mark.parametrize("share", [0.4, 0.8, 0.97])
def test_files_cut_short(decoder: Decoder, make_video: Make, tmp_path: Path, name: str, share: float) -> None:
    codec = "mpeg4" if name.endswith("avi") else "h264"
    options = {"movflags": "faststart"} if name.endswith("mp4") else None
    whole = make_video(tmp_path / name, frames=240, codec=codec, options=options)
    part = tmp_path / f"part-{name}"
    part.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    reason = refusal(decoder, part) if name != "t.flv" or share < 0.7 else Reason.TRUNCATED
    # The index of an MP4 stands at the end here: without it there is nothing to read at all.
    assert reason in ((Reason.NOT_MEDIA,) if name == "t.mp4" else (Reason.TRUNCATED, Reason.DECODE_ERROR))


def test_damage_is_an_error_and_not_other_frames(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    """One changed byte: the H.264 decoder paints over most of these, and marks the pictures."""
    rng = np.random.default_rng(5)
    noise = rng.integers(0, 255, (24, 96, 160, 3), dtype=np.uint8)
    path = make_video(tmp_path / "n.mp4", frames=24, draw=lambda k: noise[k], options={"preset": "fast"})
    whole = path.read_bytes()
    index = VideoIndex.from_row(decoder.probe(str(path)))
    noticed = []
    for place in rng.integers(len(whole) // 10, len(whole) * 9 // 10, 20):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            decoder.scan(str(path), index, 0, 24, 0)
        except MediaError as error:
            noticed.append(error.reason)
    assert set(noticed) == {Reason.DECODE_ERROR}
    assert len(noticed) >= 15


@dataclass(frozen=True)
class Part:
    """Half of a stream: what its frames are like."""

    width: int = 160
    height: int = 96
    pix_fmt: str = "yuv420p"
    options: str = ""


def joined(path: Path, barcode: Any, *parts: Part, frames: int = 24) -> Path:
    """MPEG-TS whose frames change on the way; frame k shows k."""
    import av

    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = parts[0].width, parts[0].height, parts[0].pix_fmt
        for place, part in enumerate(parts):
            coder = av.CodecContext.create("libx264", "w")
            coder.width, coder.height, coder.pix_fmt = part.width, part.height, part.pix_fmt
            coder.time_base = Fraction(1, 24)
            coder.options = {"preset": "ultrafast", "tune": "zerolatency", "x264-params": part.options}
            for number in range(place * frames, (place + 1) * frames):
                picture = barcode.draw(number, part.width, part.height)
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=part.pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 24)
                for packet in coder.encode(frame):
                    packet.stream = stream
                    output.mux(packet)
    return path


def test_a_size_that_changes(decoder: Decoder, barcode: Any, tmp_path: Path) -> None:
    path = joined(tmp_path / "z.ts", barcode, Part(), Part(192, 128))
    index = VideoIndex.from_row(decoder.probe(str(path)))
    with pytest.raises(MediaError) as caught:
        decoder.scan(str(path), index, 0, index.frame_count, 0)
    assert caught.value.reason is Reason.SIZE_CHANGES


@pytest.mark.parametrize("options", ["", "tff=1"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_pixel_format_that_changes(
    decoder: Decoder, barcode: Any, tmp_path: Path, options: str, turned: bool
) -> None:
    """8 bits and then 10, or the other way about: cut, thinned out and deinterlaced pictures stay what they are."""
    parts = [Part(640, 360, pix_fmt, options) for pix_fmt in ("yuv420p", "yuv420p10le")]
    path = str(joined(tmp_path / "f.ts", barcode, *(parts[::-1] if turned else parts), frames=8))
    index = VideoIndex.from_row(decoder.probe(path))
    assert (index.frame_count, index.interlaced) == (16, bool(options))
    scan = decoder.scan(path, index, 0, 16, 0)
    assert [barcode.read(thumb) for thumb in scan.thumbs] == list(range(16))
    for spec in (EVERY, FrameSpec(every_s=0.001, gray=True)):
        shown = decoder.read(path, index, [(0, 16)], spec)[0].images
        assert [barcode.read(picture) for picture in shown] == list(range(16))
    patches = decoder.read(path, index, [(0, 16)], FrameSpec(every_s=0.001, patch_px=200))[0].images
    whole = decoder.read(path, index, [(0, 16)], EVERY)[0].images
    np.testing.assert_allclose(patches.astype(int), whole[:, 80:280, 220:420].astype(int), atol=3)


def test_the_default_stream_is_read_and_cover_art_is_not_video(
    decoder: Decoder, barcode: Any, tmp_path: Path
) -> None:
    import av
    from av.stream import Disposition

    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as output:
        streams = []
        for size in ((96, 64), (160, 96)):
            stream = output.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            streams.append(stream)
        streams[0].disposition = Disposition(0)
        streams[1].disposition = Disposition.default
        for number in range(10):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(
                    barcode.draw(number, stream.width, stream.height), format="rgb24"
                )
                frame.pts, frame.time_base = number, Fraction(1, 24)
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))
    row = decoder.probe(str(path))
    assert (row["width"], row["height"], row["frame_count"]) == (160, 96, 10)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.png", "png", "rgb24"),
        ("a.jpg", "mjpeg", "yuvj420p"),
        ("a.webp", "libwebp", "yuv420p"),
        ("a.bmp", "bmp", "bgr24"),
    ],
)
def test_a_picture_is_a_video_of_one_frame_whatever_its_name(
    decoder: Decoder, make_video: Make, barcode: Any, tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    options = {"strict": "unofficial"} if codec == "mjpeg" else None
    path = make_video(
        tmp_path / name, frames=1, codec=codec, pix_fmt=pix_fmt, container="image2", options=options
    )
    path = path.rename(tmp_path / "picture.mp4")
    row = decoder.probe(str(path))
    assert (row["is_image"], row["frame_count"], row["width"], row["height"]) == (True, 1, 160, 96)
    shown = decoder.read(str(path), VideoIndex.from_row(row), [(0, 1)], VIEW)[0]
    assert barcode.read(shown.images[0]) == 0


def test_a_header_that_claims_millions_of_frames(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    path = make_video(tmp_path / "m.mp4", frames=20)
    data = bytearray(path.read_bytes())
    stsz = data.index(b"stsz")
    data[stsz + 8 : stsz + 16] = (100).to_bytes(4, "big") + (100_000_000).to_bytes(4, "big")
    path.write_bytes(bytes(data))
    assert refusal(decoder, path) in (
        Reason.TOO_LARGE,
        Reason.TRUNCATED,
        Reason.NO_FRAMES,
    )


def png(path: Path, width: int, height: int, rows: int) -> Path:
    """A black RGB picture of which only the first rows are there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(rows * (3 * width + 1)))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + data)
    return path


def test_pictures_that_would_fill_the_memory(decoder: Decoder, tmp_path: Path) -> None:
    assert refusal(decoder, png(tmp_path / "a.png", 60_000, 60_000, 3)) is Reason.TOO_LARGE
    gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
    gif += b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00;"
    (tmp_path / "a.gif").write_bytes(gif)
    assert refusal(decoder, tmp_path / "a.gif") is Reason.TOO_LARGE


# What a bad file may cost


def late(decoder: Decoder, path: Path) -> Reason | None:
    """Why a file is refused; None where it is not."""
    try:
        decoder.probe(str(path))
    except MediaError as error:
        return error.reason
    return None


def test_a_late_answer_ends_the_child_and_the_next_call_works(make_video: Make, tmp_path: Path) -> None:
    slow = png(tmp_path / "slow.png", 6000, 5000, 5000)
    quick = make_video(tmp_path / "a.mp4", frames=5)
    with Decoder(Limits(deadline_s=0.002, deadline_per_media_s=0.0)) as hasty:
        # On a busy machine the alarm itself may come too late; not ten times in a row.
        assert Reason.DECODER_TIMEOUT in (late(hasty, slow) for _ in range(10))
        assert isinstance(hasty.networkless, bool)  # a fresh child answers
    with Decoder(Limits(deadline_s=5.0, deadline_per_media_s=0.0)) as patient:
        assert patient.probe(str(slow))["width"] == 6000
        assert patient.probe(str(quick))["frame_count"] == 5


def test_the_deadline_rule() -> None:
    limits = Limits(deadline_s=2.0, deadline_per_media_s=3.0, deadline_cap_s=100.0)
    assert limits.deadline(1.5) == 6.5
    assert limits.deadline(1000) == 100.0


def test_a_crash_is_tried_once_more(make_video: Make, tmp_path: Path) -> None:
    path = str(make_video(tmp_path / "a.mp4", frames=40))
    with Decoder() as decoder:
        index = VideoIndex.from_row(decoder.probe(path))
        os.kill(child_of(os.getpid()), signal.SIGSEGV)
        assert len(decoder.scan(path, index, 0, 40, 0).thumbs) == 40


def test_a_child_that_keeps_dying_is_a_crash(make_video: Make, tmp_path: Path) -> None:
    path = str(make_video(tmp_path / "a.mp4", frames=40))
    stop = threading.Event()
    killer = threading.Thread(target=kill_children, args=(stop,))
    with Decoder() as decoder:
        killer.start()
        try:
            with pytest.raises(MediaError) as caught:
                decoder.probe(path)
        finally:
            stop.set()
            killer.join()
        assert caught.value.reason is Reason.DECODER_CRASHED
        assert "signal 11" in caught.value.message
        assert decoder.probe(path)["frame_count"] == 40


def child_of(parent: int) -> int:
    """The decoding process of this process."""
    return children_of(parent)[0]


def children_of(parent: int) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes()
            status = (place / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"pipeline.decode_child" in command and int(status[1]) == parent and status[0] != "Z":
            found.append(int(place.name))
    return found


def kill_children(stop: threading.Event) -> None:
    while not stop.wait(0.005):
        for child in children_of(os.getpid()):
            os.kill(child, signal.SIGSEGV)


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = png(tmp_path / "m.png", 6000, 5000, 5000)  # 90 MB
    with Decoder(Limits(memory_bytes=30 << 20)) as small:
        assert refusal(small, path) is Reason.DECODER_MEMORY
    with Decoder() as decoder:
        assert decoder.probe(str(path))["width"] == 6000


@pytest.mark.slow
def test_memory_runs_out_in_a_fresh_child_alone(make_video: Make, tmp_path: Path) -> None:
    """What one file has taken must not decide about the next; a picture that needs too much is refused twice alike."""
    large = png(tmp_path / "large.png", 5500, 5500, 5500)  # 91 MB
    path = make_video(tmp_path / "a.mp4", frames=24)
    with Decoder(Limits(memory_bytes=160 << 20)) as small:
        index = VideoIndex.from_row(small.probe(str(path)))
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
        path.write_bytes(bytes(data))
        assert small.probe(str(large))["width"] == 5500
        used = child_of(os.getpid())
        with pytest.raises(MediaError) as caught:
            small.scan(str(path), index, 0, 24, 0)
        assert caught.value.reason is Reason.DECODE_ERROR
        assert child_of(os.getpid()) != used  # so it was tried once more
    with Decoder(Limits(memory_bytes=60 << 20)) as smaller:
        assert [refusal(smaller, large) for _ in range(2)] == [Reason.DECODER_MEMORY] * 2


def test_the_child_dies_with_its_parent(make_video: Make, tmp_path: Path) -> None:
    path = str(make_video(tmp_path / "a.mp4", frames=5))
    program = textwrap.dedent(
        """
        import os, sys, time
        from pipeline.frames import Decoder
        decoder = Decoder()
        decoder.probe(sys.argv[1])
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    child = child_of(parent.pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 5
    while alive(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(child)


def alive(process: int) -> bool:
    """Whether the process runs; one that has ended may stay in /proc until somebody asks how."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_the_child_is_light_and_without_network(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    decoder.probe(str(make_video(tmp_path / "a.mp4", frames=5)))
    child = Path(f"/proc/{child_of(os.getpid())}")
    assert "torch" not in (child / "maps").read_text()
    apart = os.readlink(child / "ns" / "net") != os.readlink("/proc/self/ns/net")
    assert decoder.networkless is apart


def test_the_child_sees_no_secrets(decoder: Decoder, make_video: Make, tmp_path: Path) -> None:
    decoder.probe(str(make_video(tmp_path / "a.mp4", frames=5)))
    names = {
        line.split(b"=")[0]
        for line in Path(f"/proc/{child_of(os.getpid())}/environ").read_bytes().split(b"\0")
    }
    assert b"PYTEST_CURRENT_TEST" in {name.encode() for name in os.environ}
    assert b"PYTEST_CURRENT_TEST" not in names


def test_nothing_reaches_the_terminal(
    make_video: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make_video(tmp_path / "a.mp4", frames=40)
    path.write_bytes(path.read_bytes()[:-200])
    capfd.readouterr()
    with Decoder() as decoder:
        refusal(decoder, path)
    assert capfd.readouterr() == ("", "")


def test_the_module_is_light() -> None:
    program = "import sys, pipeline.frames; print([m for m in ('av', 'cv2', 'torch', 'decord') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_unknown_backends() -> None:
    with pytest.raises(ValueError, match="pyav, decord, not 'cv2'"):
        Decoder(backend="cv2")
