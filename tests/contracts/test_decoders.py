"""One suite for every decoder backend: right frames or a refusal, and never anything else.

docs/decoders.md says which of the two each backend gives for each case; the same test holds the page to it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.frames import BACKENDS, PROXY, Decoder, Scan, VideoIndex, batch_from_samples
from pipeline.reasons import MediaError, Reason
from pipeline.stage import FrameSpec

PAGE = Path(__file__).parents[2] / "docs" / "decoders.md"
EVERY = FrameSpec(every_s=0.001)
"""Every frame of anything under 1000 frames a second."""
JITTER_MS = [
    0,
    40,
    80,
    81,
    300,
    301,
    420,
    900,
    1400,
    1401,
    1440,
    1480,
    2000,
    2100,
    2180,
    2220,
    2300,
    3000,
    3040,
    3080,
]


@dataclass(frozen=True)
class Bench:
    """What a case works with."""

    decoder: Decoder
    make: Callable[..., Path]
    barcode: Any
    folder: Path

    def opened(self, name: str, **settings: Any) -> tuple[str, VideoIndex]:
        return self.indexed(self.make(self.folder / name, **settings))

    def indexed(self, path: Path) -> tuple[str, VideoIndex]:
        return str(path), VideoIndex.from_row(self.decoder.probe(str(path)))

    def check(self, path: str, index: VideoIndex, times_s: Any) -> None:
        """Frames, timestamps, spans and chunks of a video whose frame k shows k upright."""
        count = len(times_s)
        assert index.frame_count == count
        rounded = 0.0005 if index.time_base == Fraction(1, 1000) else 1e-9
        np.testing.assert_allclose(index.times_s[:-1], times_s, rtol=0, atol=rounded)
        whole = self.decoder.read(path, index, [(0, count)], EVERY)[0]
        assert [self.barcode.read(picture) for picture in whole.images] == list(range(count))
        assert whole.images.shape == (count, index.height, index.width, 3)
        np.testing.assert_array_equal(whole.times_s, index.times_s[:-1])
        spans = [(0, 1), (count - 3, count), (count // 3, count // 2), (count // 2 - 1, count // 2)]
        for (start, end), part in zip(spans, self.decoder.read(path, index, spans, EVERY), strict=True):
            np.testing.assert_array_equal(part.images, whole.images[start:end])
            np.testing.assert_array_equal(part.frames, np.arange(start, end))
        self.check_chunks(path, index)

    def check_chunks(self, path: str, index: VideoIndex) -> None:
        """Scans in chunks, in order and in reverse, equal to one pass."""
        count = index.frame_count
        whole = self.decoder.scan(path, index, 0, count, 0)
        assert whole.first_frame == 0
        assert [self.barcode.read(thumb) for thumb in whole.thumbs] == list(range(count))
        for size, context in ((5, 2), (7, 0), (count - 1, 3)):
            chunks = [(start, min(count, start + size)) for start in range(0, count, size)]
            for start, end in [*chunks, *reversed(chunks)]:
                part = self.decoder.scan(path, index, start, end, context)
                assert_part(part, whole, start, end, context)


def assert_part(part: Scan, whole: Scan, start: int, end: int, context: int) -> None:
    low, high = max(0, start - context), min(len(whole.thumbs), end + context)
    assert part.first_frame == low
    np.testing.assert_array_equal(part.thumbs, whole.thumbs[low:high])
    assert part.samples == [sample for sample in whole.samples if start <= sample.frame < end]


def regular(frames: int, fps: int | Fraction = 24) -> list[float]:
    return [float(k / Fraction(fps)) for k in range(frames)]


def codec_case(name: str, **settings: Any) -> Callable[[Bench], None]:
    def case(bench: Bench) -> None:
        path, index = bench.opened(name, frames=40, **settings)
        bench.check(path, index, regular(40))

    return case


def variable_rate(bench: Bench) -> None:
    path, index = bench.opened("v.mp4", frames=len(JITTER_MS), vfr_pts=JITTER_MS, bframes=2)
    bench.check(path, index, [ms / 1000 for ms in JITTER_MS])


def rotated(bench: Bench) -> None:
    for turn in (90, 180, 270):

        def sideways(number: int, turn: int = turn) -> Any:
            width, height = (160, 96) if turn == 180 else (96, 160)
            return np.rot90(bench.barcode.draw(number, width, height), turn // 90)

        path, index = bench.opened(f"r{turn}.mp4", frames=20, rotation=turn, draw=sideways)
        assert (index.width, index.height) == ((160, 96) if turn == 180 else (96, 160))
        bench.check(path, index, regular(20))


def pixel_aspect(bench: Bench) -> None:
    path, index = bench.opened("s.mp4", frames=20, sar=Fraction(4, 3))
    assert (index.width, index.height) == (213, 96)
    bench.check(path, index, regular(20))


def odd_size(bench: Bench) -> None:
    path, index = bench.opened("o.mp4", frames=20, size=(163, 97), pix_fmt="yuv444p")
    assert (index.width, index.height) == (163, 97)
    bench.check(path, index, regular(20))


def ten_bits(bench: Bench) -> None:
    path, index = bench.opened("t.mp4", frames=20, pix_fmt="yuv420p10le", bframes=2)
    bench.check(path, index, regular(20))
    picture = bench.decoder.read(path, index, [(5, 6)], EVERY)[0].images[0]
    assert abs(int(picture.max()) - 208) <= 3
    assert abs(int(picture.min()) - 48) <= 3


def interlaced(bench: Bench) -> None:
    """A bar that moves from field to field is torn into a comb where fields are woven, and whole where they are not."""

    def torn(number: int) -> Any:
        picture = bench.barcode.draw(number, 160, 96)
        picture[:48] = 48
        for field in (0, 1):
            left = 3 * (2 * number + field)
            picture[field:48:2, left : left + 40] = 208
        return picture

    path, index = bench.opened("i.mp4", frames=20, options={"x264-params": "tff=1"}, draw=torn)
    assert index.interlaced
    numbers = bench.decoder.read(path, index, [(0, 20)], EVERY)[0].images[:, 48:]
    assert [bench.barcode.read(picture) for picture in numbers] == list(range(20))
    bars = bench.decoder.read(path, index, [(2, 18)], EVERY)[0].images[:, 8:40, :, 0].astype(int)
    comb = np.abs(np.diff(bars, axis=1)).mean(axis=(1, 2))
    woven = np.abs(np.diff(torn(5)[8:40, :, 0].astype(int), axis=0)).mean()
    assert comb.max() < woven / 4
    whole = bench.decoder.scan(path, index, 0, 20, 0)
    for start, end in [(0, 7), (7, 14), (14, 20), (9, 13), (3, 8)]:
        assert_part(bench.decoder.scan(path, index, start, end, 2), whole, start, end, 2)


def image(bench: Bench) -> None:
    path, index = bench.opened("p.png", frames=1, codec="png", pix_fmt="rgb24", container="image2")
    assert index.is_image
    shown = bench.decoder.read(path, index, [(0, 1)], PROXY[0])[0]
    assert [bench.barcode.read(picture) for picture in shown.images] == [0]
    scan = bench.decoder.scan(path, index, 0, 1, 5)
    assert scan.thumbs.shape == (1, 27, 48, 3)
    assert [(sample.layer, sample.frame) for sample in scan.samples] == [(0, 0), (1, 0), (2, 0), (3, 0)]


def cut_short(bench: Bench) -> None:
    whole = bench.make(bench.folder / "whole.mp4", frames=40, bframes=2, options={"movflags": "faststart"})
    for share in (0.5, 0.9):
        part = bench.folder / "part.mp4"
        part.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
        with pytest.raises(MediaError) as caught:
            bench.decoder.probe(str(part))
        assert caught.value.reason in (Reason.TRUNCATED, Reason.NOT_MEDIA)


def ends_early(bench: Bench) -> None:
    """An edit list that shows a part of what is there, as a trim on a phone writes it."""
    path = bench.make(bench.folder / "trim.mp4", frames=40, bframes=2)
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 12
    length = int.from_bytes(data[place : place + 4], "big")
    data[place : place + 4] = (length // 2).to_bytes(4, "big")
    path.write_bytes(bytes(data))
    name, index = bench.indexed(path)
    assert 20 <= index.frame_count < 40
    bench.check(name, index, regular(index.frame_count))


def by_time(bench: Bench) -> None:
    path, index = bench.opened("bt.mp4", frames=60, fps=Fraction(30000, 1001), bframes=2)
    half = FrameSpec(every_s=0.5, short_side_px=48)
    shown = bench.decoder.read(path, index, [(0, 60), (10, 60), (16, 20)], half)
    # 0.5 s lies between frames 14 and 15, 1.0 s between 29 and 30, 1.5 s between 44 and 45 at 29.97 fps.
    assert [bench.barcode.read(picture) for picture in shown[0].images] == [0, 15, 30, 45]
    assert [bench.barcode.read(picture) for picture in shown[1].images] == [15, 30, 45]
    assert [bench.barcode.read(picture) for picture in shown[2].images] == [17]
    assert shown[0].images.shape == (4, 48, 80, 3)
    np.testing.assert_allclose(
        shown[1].times_s, [5 * 1001 / 30000, 20 * 1001 / 30000, 35 * 1001 / 30000], atol=1e-9
    )


def by_index(bench: Bench) -> None:
    path, index = bench.opened("bi.mkv", frames=90, gop=20, bframes=2)
    order = [(7, 8), (60, 61), (88, 90), (41, 43)]
    shown = bench.decoder.read(path, index, order, EVERY)
    assert [[bench.barcode.read(p) for p in batch.images] for batch in shown] == [
        [7],
        [60],
        [88, 89],
        [41, 42],
    ]


def pairs(bench: Bench) -> None:
    path, index = bench.opened("pr.mp4", frames=60, bframes=2)
    motion = PROXY[1]
    scan = bench.decoder.scan(path, index, 0, 60, 0)
    for span in ((0, 60), (12, 13), (0, 13), (20, 30), (13, 37)):
        inside = [s for s in scan.samples if s.layer == 1 and span[0] <= s.frame < span[1]]
        direct = bench.decoder.read(path, index, [span], motion)[0]
        assert direct.following is not None
        assert [bench.barcode.read(p) + 1 for p in direct.images] == [
            bench.barcode.read(p) for p in direct.following
        ]
        if inside:
            kept = batch_from_samples(inside, motion, index, span)
            assert kept.images.shape[1:] == direct.images.shape[1:]
            assert all(frame + 1 < span[1] for frame in kept.frames)
            assert kept.step_s is not None
            np.testing.assert_allclose(kept.step_s, 1 / 24, atol=1e-9)


CASES: dict[str, Callable[[Bench], None]] = {
    "H.264 in MP4": codec_case("a.mp4"),
    "H.264 in MP4, B-frames": codec_case("b.mp4", bframes=3, gop=30),
    "H.264 in MP4, open GOP": codec_case(
        "c.mp4", bframes=3, gop=10, options={"preset": "medium", "x264-params": "open-gop=1:scenecut=0"}
    ),
    "H.264 in Matroska": codec_case("d.mkv", bframes=2),
    "H.264 in MPEG-TS": codec_case("e.ts", bframes=2),
    "H.264 in AVI": codec_case("f.avi", bframes=2),
    "H.264 in FLV": codec_case("f.flv", bframes=2),
    "HEVC in MP4": codec_case("g.mp4", codec="hevc", bframes=3),
    "HEVC in MP4, open GOP": codec_case(
        "h.mp4", codec="hevc", bframes=3, gop=10, options={"x265-params": "open-gop=1:scenecut=0"}
    ),
    "HEVC in Matroska": codec_case("i.mkv", codec="hevc", bframes=3),
    "VP8 in WebM": codec_case("j.webm", codec="libvpx"),
    "VP9 in WebM": codec_case("k.webm", codec="vp9"),
    "AV1 in MP4": codec_case("l.mp4", codec="av1"),
    "AV1 in WebM": codec_case("m.webm", codec="av1"),
    "MPEG-4 in MP4": codec_case("n.mp4", codec="mpeg4", bframes=2),
    "MPEG-4 in AVI": codec_case("o.avi", codec="mpeg4", bframes=2),
    "MPEG-2 in MPEG-PS": codec_case("p.mpg", codec="mpeg2video", bframes=2),
    "Variable frame rate": variable_rate,
    "Rotation 90, 180, 270": rotated,
    "Pixel aspect": pixel_aspect,
    "Odd sizes": odd_size,
    "10 bits": ten_bits,
    "Interlaced, made progressive": interlaced,
    "Edit list that ends early": ends_early,
    "Missing tail is noticed": cut_short,
    "Still image": image,
    "Sampling by time": by_time,
    "Sampling by index": by_index,
    "Frame pairs": pairs,
}


PROBED = ("Missing tail is noticed",)
"""Cases that end with probing, which is PyAV's whatever the backend."""


def page_table() -> dict[str, dict[str, str]]:
    """The table of the page: for each case, what each backend gives."""
    _, table = PAGE.read_text().split("\n| case |", 1)
    lines = ("| case |" + table.split("\n\n", 1)[0]).splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


@pytest.fixture(scope="module", params=BACKENDS)
def decoder(request: pytest.FixtureRequest) -> Iterator[tuple[str, Decoder]]:
    backend: str = request.param
    if backend == "decord" and importlib.util.find_spec("decord") is None:
        pytest.skip("the extra `decord` is not installed")
    with Decoder(backend=backend) as made:
        yield backend, made


@pytest.mark.parametrize("name", CASES)
def test_right_or_refused_as_the_page_says(
    name: str, decoder: tuple[str, Decoder], make_video: Callable[..., Path], barcode: Any, tmp_path: Path
) -> None:
    backend, made = decoder
    reason = None
    try:
        CASES[name](Bench(made, make_video, barcode, tmp_path))
    except MediaError as error:
        reason = error.reason
    assert reason in (None, Reason.UNSUPPORTED_CODEC, Reason.DECODE_ERROR)
    given = "right" if name not in PROBED or backend == "pyav" else "probe"
    assert page_table()[name][backend] == (given if reason is None else "refused")
    assert reason is None or backend != "pyav"


def test_the_page_has_every_case_and_backend_and_no_other() -> None:
    table = page_table()
    assert list(table) == list(CASES)
    assert all(list(row) == list(BACKENDS) for row in table.values())
