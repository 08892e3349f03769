"""Right frames: every index of every codec, container, group of pictures and clock, read alone and in batches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.frames import Decoder, VideoIndex
from pipeline.stage import FrameSpec

EVERY = FrameSpec(every_s=0.001)
SEED = 20261120
FRAMES = 60
STEPS_MS = [40, 40, 1, 219, 7, 33, 480, 500, 1, 39, 40, 600, 100, 80, 40, 80, 780, 3, 37, 41] * 3
UNEVEN_MS = [sum(STEPS_MS[:number]) for number in range(FRAMES)]
OPEN = {"preset": "medium", "x264-params": "open-gop=1:scenecut=0"}


@dataclass(frozen=True)
class Case:
    """One way to write a film; `settings` are those of the fixture `make_video`."""

    suffix: str
    codec: str = "h264"
    bframes: int = 0
    gop: int = 12
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        return f"{self.codec}{self.suffix} bf{self.bframes} gop{self.gop} {self.note}".strip()


def uneven(suffix: str, codec: str = "h264", bframes: int = 0) -> Case:
    return Case(suffix, codec, bframes, 12, {"vfr_pts": UNEVEN_MS}, "uneven")


def intra(suffix: str, codec: str, pix_fmt: str, note: str = "", **settings: Any) -> Case:
    return Case(suffix, codec, 0, 1, {"pix_fmt": pix_fmt, **settings}, note)


def turned(degrees: int) -> Case:
    return Case(".mp4", bframes=2, settings={"rotation": degrees}, note=f"turned {degrees}")


CASES: tuple[Case, ...] = (
    *(
        Case(suffix, bframes=bf, gop=gop)
        for suffix in (".mp4", ".mkv", ".ts")
        for bf in (0, 3)
        for gop in (1, 12, 250)
    ),
    *(
        Case(suffix, bframes=3, gop=10, settings={"options": OPEN}, note="open")
        for suffix in (".mp4", ".mkv", ".ts")
    ),
    *(Case(suffix, bframes=2) for suffix in (".mov", ".flv", ".avi", ".mxf", ".3gp", ".m4v")),
    Case(".mp4", bframes=3, settings={"options": {"movflags": "frag_keyframe+empty_moov"}}, note="fragments"),
    Case(
        ".mp4",
        bframes=3,
        settings={"options": {"preset": "medium", "x264-params": "b-pyramid=strict:ref=5"}},
        note="pyramid",
    ),
    Case(".mp4", bframes=2, settings={"options": {"x264-params": "tff=1"}}, note="interlaced"),
    Case(".ts", bframes=2, settings={"options": {"x264-params": "bff=1"}}, note="interlaced"),
    *(Case(suffix, "hevc", bf) for suffix in (".mp4", ".mkv", ".ts") for bf in (0, 3)),
    *(
        Case(suffix, "hevc", 3, 10, {"options": {"x265-params": "open-gop=1:scenecut=0"}}, "open")
        for suffix in (".mp4", ".mkv")
    ),
    Case(".mp4", "hevc", 3, settings={"pix_fmt": "yuv420p10le"}, note="10 bits"),
    *(Case(suffix, "libvpx") for suffix in (".webm", ".mkv", ".ivf")),
    Case(
        ".webm", "libvpx", settings={"options": {"auto-alt-ref": "1", "lag-in-frames": "16"}}, note="hidden"
    ),
    *(Case(suffix, "vp9") for suffix in (".webm", ".mkv", ".mp4", ".ivf")),
    *(Case(suffix, "av1") for suffix in (".mp4", ".webm", ".mkv", ".ivf")),
    *(Case(suffix, "mpeg4", bf) for suffix in (".avi", ".mp4", ".mkv") for bf in (0, 2)),
    *(Case(suffix, "mpeg2video", bf) for suffix in (".ts", ".mpg", ".mkv") for bf in (0, 2)),
    Case(".mxf", "mpeg2video", 2, settings={"fps": 25}),
    Case(".mpg", "mpeg1video", 0, settings={"fps": 25}),
    Case(".avi", "msmpeg4"),
    Case(".asf", "msmpeg4v2"),
    Case(".wmv", "wmv1"),
    Case(".wmv", "wmv2"),
    Case(".flv", "flv"),
    *(
        intra(suffix, "mjpeg", "yuvj420p", options={"strict": "unofficial"})
        for suffix in (".avi", ".mov", ".mkv")
    ),
    intra(".mov", "prores_ks", "yuv422p10le"),
    intra(".mkv", "prores_ks", "yuv422p10le"),
    intra(".mov", "dnxhd", "yuv422p", "dnxhr", size=(256, 144), options={"profile": "dnxhr_lb"}),
    intra(".mkv", "ffv1", "yuv420p"),
    intra(".avi", "ffv1", "yuv420p"),
    intra(".avi", "huffyuv", "yuv422p"),
    intra(".avi", "ffvhuff", "yuv420p"),
    intra(".mov", "qtrle", "rgb24"),
    intra(".avi", "rawvideo", "yuv420p"),
    intra(".mov", "png", "rgb24"),
    intra(".gif", "gif", "rgb8", fps=25),
    *(uneven(suffix, bframes=bf) for suffix in (".mp4", ".mkv", ".ts") for bf in (0, 2)),
    uneven(".webm", "vp9"),
    uneven(".mp4", "hevc", 3),
    uneven(".mp4", "av1"),
    *map(turned, (90, 180, 270)),
    Case(".mp4", bframes=3, settings={"fps": Fraction(30000, 1001)}, note="29.97"),
    Case(".mkv", bframes=3, settings={"fps": Fraction(24000, 1001)}, note="23.976"),
    Case(".ts", bframes=3, settings={"fps": Fraction(60000, 1001)}, note="59.94"),
    Case(".mp4", settings={"fps": 240}, note="240 fps"),
    Case(".mp4", settings={"fps": 1}, note="1 fps"),
    Case(".mp4", bframes=2, settings={"audio": True}, note="with sound"),
    Case(".mkv", bframes=2, settings={"audio": True}, note="with sound"),
)
FEW = (
    "h264.mp4 bf3 gop250",
    "h264.mp4 bf2 gop12 uneven",
    "h264.ts bf3 gop12",
    "h264.mxf bf2 gop12",
    "hevc.mkv bf3 gop10 open",
    "mpeg4.avi bf2 gop12",
    "mpeg2video.mpg bf2 gop12",
)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as made:
        yield made


@dataclass(frozen=True)
class Counted:
    """Frames that were asked for, and those that were not the ones that came."""

    asked: int
    wrong: Sequence[tuple[int, int]]
    """(asked for, shown)."""


def counted(
    decoder: Decoder, make: Callable[..., Path], barcode: Any, folder: Path, case: Case, singles: int
) -> Counted:
    """All indices in one shuffled read of spans, and `singles` of them each alone, in a shuffled order."""
    draw = None
    if (degrees := case.settings.get("rotation", 0)) != 0:
        width, height = (160, 96) if degrees == 180 else (96, 160)

        def draw(number: int) -> Any:
            return np.rot90(barcode.draw(number, width, height), degrees // 90)

    path = str(
        make(
            folder / f"x{case.suffix}",
            frames=FRAMES,
            codec=case.codec,
            bframes=case.bframes,
            gop=case.gop,
            draw=draw,
            container={".ivf": "ivf", ".m4v": "mp4"}.get(case.suffix),
            **case.settings,
        )
    )
    index = VideoIndex.from_row(decoder.probe(path))
    assert index.frame_count == FRAMES
    order = list(range(FRAMES))
    random.Random(f"{SEED} {case}").shuffle(order)
    spans = [(number, number + 1) for number in order]
    shown = [
        (span[0], batch) for span, batch in zip(spans, decoder.read(path, index, spans, EVERY), strict=True)
    ]
    for span in spans[:singles]:
        shown += [(span[0], batch) for batch in decoder.read(path, index, [span], EVERY)]
    found = [(number, barcode.read(batch.images[0])) for number, batch in shown if len(batch.images) == 1]
    assert len(found) == FRAMES + singles
    return Counted(len(found), [(number, seen) for number, seen in found if number != seen])


@pytest.mark.parametrize("name", FEW)
def test_a_few_kinds_of_film(
    decoder: Decoder, make_video: Callable[..., Path], barcode: Any, tmp_path: Path, name: str
) -> None:
    (case,) = (case for case in CASES if str(case) == name)
    assert counted(decoder, make_video, barcode, tmp_path, case, 6).wrong == []


@pytest.mark.promise
@pytest.mark.timeout(1500)
def test_every_index_of_every_kind_of_film(
    decoder: Decoder,
    make_video: Callable[..., Path],
    barcode: Any,
    tmp_path: Path,
    record: Callable[[str, str], None],
) -> None:
    assert len({str(case) for case in CASES}) == len(CASES)
    asked, wrong = 0, {}
    for place, case in enumerate(CASES):
        folder = tmp_path / str(place)
        folder.mkdir()
        result = counted(decoder, make_video, barcode, folder, case, FRAMES)
        asked += result.asked
        if result.wrong:
            wrong[str(case)] = result.wrong
    assert not wrong
    record(
        "right frames",
        f"0 wrong of {asked:,}: {len(CASES)} kinds of film, every index, alone and in a batch, shuffled",
    )
