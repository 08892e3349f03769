from __future__ import annotations

import math
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.buckets import JITTER_RATIO, Bucket, Buckets, Misfit, bucket_for, buckets_from, target_fps

TABLES = [Buckets(resolution=size) for size in ("256p", "360p", "540p", "720p")]
ratios = st.floats(0, 0.45)
crops = st.builds(
    lambda left, top, right, low: (left, top, 1 - right, 1 - low), ratios, ratios, ratios, ratios
)


def frames_s(frames: int, fps: float) -> float:
    """How long so many frames are shown."""
    return frames / fps


@pytest.mark.parametrize(
    ("fps", "target"),
    [
        (16, 16),
        (20, 16),
        (23.976, 24),
        (24, 24),
        (25, 24),
        (29.97, 24),
        (30, 24),
        (32, 16),
        (48, 24),  # residue 0 either way: the higher rate
        (50, 24),  # 2 either way
        (59.94, 24),  # 12 either way
        (120, 24),  # 8 against 0
        (18, 16),
        (15.984, 16),
        (15, None),
        (12, None),
        (0, None),
        (math.nan, None),
    ],
)
def test_the_target_rate_leaves_the_least_residue(fps, target):
    assert target_fps(fps) == target


@pytest.mark.parametrize(
    ("resolution", "size"),
    [("256p", (448, 256)), ("360p", (640, 368)), ("540p", (960, 544)), ("720p", (1280, 720))],
)
def test_sizes_of_the_family(resolution, size):
    sizes = {aspect: (width, height) for aspect, width, height in Buckets(resolution=resolution).sizes}
    assert sizes["16x9"] == size
    assert sizes["9x16"] == size[::-1]
    assert sizes["1x1"][0] == sizes["1x1"][1]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.resolution)
def test_sizes_lie_on_the_grid_near_aspect_and_area(table):
    area = int(table.resolution[:-1]) ** 2 * 16 / 9
    for aspect, width, height in table.sizes:
        across, down = map(int, aspect.split("x"))
        assert width % 16 == height % 16 == 0
        assert width / height == pytest.approx(across / down, rel=0.03)
        assert width * height == pytest.approx(area, rel=0.06)


def test_neighbouring_aspects_cut_at_most_what_the_table_says():
    shapes = sorted(width / height for _, width, height in Buckets(resolution="720p").sizes)
    assert max(1 - math.sqrt(low / high) for low, high in pairwise(shapes)) < 0.14


@pytest.mark.parametrize(
    ("frames", "fps", "expected"),
    [
        (97, 24, "t097"),
        (96, 24, "t081"),
        (10_000, 24, "t097"),
        (17, 24, "t017"),
        (16, 24, Misfit.TOO_SHORT),
        (97, 23.976, "t097"),
        (121, 30, "t097"),  # 97 frames at 24 span 4 s: those of the first and the 121st frame at 30
        (120, 30, "t081"),
        (241, 60, "t097"),
        (25, 30, "t017"),
        (20, 12.5, Misfit.FPS_TOO_LOW),
    ],
)
def test_the_longest_count_that_the_frames_span(frames, fps, expected):
    found = bucket_for(frames_s(frames, fps), fps, 1920, 1080, Buckets())
    assert (found if isinstance(found, Misfit) else found.name[:4]) == expected


@pytest.mark.parametrize(
    ("width", "height", "crop", "expected"),
    [
        (1920, 1080, (0, 0, 1, 1), "16x9"),
        (1080, 1920, (0, 0, 1, 1), "9x16"),
        (720, 1560, (0, 0, 1, 1), "9x16"),  # a 9:19.5 phone
        (1920, 1080, (0, 0.128, 1, 0.872), "21x9"),  # 2.39:1 inside 16:9
        (1920, 1080, (0.125, 0, 0.875, 1), "4x3"),
        (1000, 1000, (0, 0, 1, 1), "1x1"),
        (3000, 1000, (0, 0, 1, 1), Misfit.ASPECT),
        (1000, 3000, (0, 0, 1, 1), Misfit.ASPECT),
        (854, 480, (0, 0, 1, 1), Misfit.TOO_SMALL),
        (960, 540, (0, 0, 1, 1), "16x9"),  # 544 lines out of 540
    ],
)
def test_the_aspect_that_cuts_least(width, height, crop, expected):
    found = bucket_for(5.0, 24, width, height, Buckets(resolution="540p"), crop)
    assert (found if isinstance(found, Misfit) else found.name) == (
        expected if isinstance(expected, Misfit) else f"t097-ar{expected}"
    )


def test_a_bucket_says_its_whole_shape():
    found = bucket_for(5.0, 29.97, 1920, 1080, Buckets(resolution="540p"))
    assert found == Bucket("t097-ar16x9", 97, 960, 544, 24)


def test_images_take_the_bucket_of_one_frame():
    table = Buckets(frame_counts=(1, 17), fps=(16, 24))
    assert bucket_for(0.0, 0.0, 640, 480, table, is_image=True) == Bucket("t001-ar4x3", 1, 384, 288, 24)
    assert bucket_for(0.0, 0.0, 640, 480, Buckets(frame_counts=(17,)), is_image=True) is Misfit.NO_IMAGES
    assert bucket_for(1 / 24, 24, 640, 480, table) is Misfit.TOO_SHORT  # a video of one frame is not an image


def test_of_several_aspects_that_would_do_the_one_that_cuts_least():
    table = Buckets(max_crop_ratio=0.7)
    names = {
        size: getattr(bucket_for(5.0, 24, *size, table), "name", None)
        for size in ((1920, 1080), (1440, 1080), (1080, 1080), (810, 1080), (1080, 1920), (2520, 1080))
    }
    assert list(names.values()) == [
        f"t097-ar{aspect}" for aspect in ("16x9", "4x3", "1x1", "3x4", "9x16", "21x9")
    ]


@given(
    frames=st.integers(1, 4000),
    fps=st.one_of(st.floats(0.5, 300), st.sampled_from([23.976, 24, 25, 29.97, 30, 50, 59.94, 60])),
    width=st.integers(16, 8192),
    height=st.integers(16, 8192),
    crop=crops,
    table=st.sampled_from(TABLES),
    is_image=st.booleans(),
)
def test_whatever_comes_the_bounds_hold(frames, fps, width, height, crop, table, is_image):
    found = bucket_for(frames_s(frames, fps), fps, width, height, table, crop, is_image)
    if isinstance(found, Misfit):
        return
    assert found.frames % 4 == 1
    assert (found.frames == 1) == is_image
    assert found.fps in table.fps
    assert found.width % 16 == found.height % 16 == 0
    shown_width, shown_height = width * (crop[2] - crop[0]), height * (crop[3] - crop[1])
    scale = max(found.width / shown_width, found.height / shown_height)  # to cover
    assert scale <= table.max_upscale_ratio + 1e-9
    assert (
        1 - found.width * found.height / (shown_width * shown_height * scale**2)
        <= table.max_crop_ratio + 1e-9
    )
    if not is_image:
        assert found.fps <= fps * 1.003
        last_shown_s = (found.frames - 1) / found.fps
        assert last_shown_s <= (frames - 1 + JITTER_RATIO) / fps + 1e-9
        longer = [count for count in table.clip_frames if count > found.frames]
        assert all((count - 1) / found.fps > (frames - 1) / fps for count in longer)


@given(fps=st.floats(16, 1000), targets=st.sampled_from([(16, 24), (24, 16), (24,), (12, 15, 30)]))
def test_no_reachable_target_has_less_residue(fps, targets):
    chosen = target_fps(fps, targets)
    rate = round(fps) if abs(fps - round(fps)) <= 0.002 * fps else fps
    residues = {target: math.fmod(rate, target) for target in targets if target <= rate}
    assert (chosen is None) == (not residues)
    assert chosen is None or residues[chosen] == min(residues.values())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"size": "256p"}, "unknown key size; the keys are resolution, frame_counts"),
        ({"resolution": "256"}, "resolution is '256', not a short side such as '540p'"),
        ({"resolution": 256}, "resolution is 256, not text"),
        ({"resolution": "32p"}, "resolution is 32p, less than 64 pixels"),
        ({"frame_counts": [1, 16]}, r"frame_counts has 16, which is not 4k\+1"),
        ({"frame_counts": []}, r"frame_counts is \[\]: it needs at least one value"),
        ({"frame_counts": [17, 17]}, "none twice"),
        ({"frame_counts": [1, True]}, "frame_counts is .* not a list of int"),
        ({"frame_counts": 17}, "frame_counts is 17, not a list of int"),
        ({"frame_counts": [-3]}, "frame_counts has -3"),
        ({"aspects": ["16:9"]}, "aspects has '16:9', which is not a width x height"),
        ({"aspects": ["0x9"]}, "aspects has '0x9'"),
        ({"fps": [0]}, "fps has 0, which is not a rate"),
        ({"fps": [23.976]}, "not a list of int"),
        ({"max_upscale_ratio": 0.9}, "max_upscale_ratio is 0.9, less than 1"),
        ({"max_upscale_ratio": math.nan}, "max_upscale_ratio is nan"),
        ({"max_upscale_ratio": "1"}, "max_upscale_ratio is '1', not a number"),
        ({"max_crop_ratio": 1.0}, r"max_crop_ratio is 1.0, not in \[0, 1\)"),
    ],
)
def test_wrong_settings_are_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        buckets_from(settings)


def test_settings_are_read_as_written():
    table = buckets_from({"resolution": "360p", "frame_counts": [1, 49], "fps": [24], "max_crop_ratio": 0})
    assert table == Buckets("360p", (1, 49), fps=(24,), max_crop_ratio=0.0)


@pytest.mark.parametrize("crop", [(0.5, 0, 0.5, 1), (0.6, 0, 0.4, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1)])
def test_a_crop_without_area_is_an_error(crop):
    with pytest.raises(ValueError, match="has no area"):
        bucket_for(5.0, 24, 100, 100, Buckets(), crop)


def test_it_imports_nothing_heavy():
    code = (
        "import sys, pipeline.buckets; "
        "print([name for name in ('numpy', 'pyarrow', 'torch', 'cv2', 'av', 'ray') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_hundred_thousand_clips_take_a_few_seconds():
    table = Buckets()
    start = time.process_time()
    for number in range(100_000):
        bucket_for(1 + number % 50, 25.0, 1920, 1080, table)
    assert time.process_time() - start < 10


def test_the_tables_of_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "buckets.md").read_text()
    for table in TABLES:
        cells = " | ".join(f"{width}x{height}" for _, width, height in table.sizes)
        assert f"| {table.resolution} | {cells} |" in page
    rates, targets = (
        [cell.strip() for cell in line.split("|")[2:-1]]
        for line in page.splitlines()
        if line.startswith(("| source fps", "| target"))
    )
    assert [str(target_fps(float(rate)) or "none") for rate in rates] == targets
    assert all(f"`{misfit}`" in page for misfit in Misfit)
