from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clip import BOUNDARIES, CLIPS, SHOTS, span_id
from pipeline.segment import (
    CONTEXT,
    DROPPED,
    STRIDE,
    Boundary,
    Segment,
    Shot,
    Signals,
    boundaries,
    clips,
    shots,
    signals,
    tables,
)
from pipeline.transnet import TransNet

FPS = 25
VIDEO = {"video_id": "v" * 20, "fps_num": FPS, "fps_den": 1, "width": 64, "height": 36, "is_image": False}


def times(frames: int, fps: float = FPS) -> npt.NDArray[np.float64]:
    return np.arange(frames + 1) / fps


def quiet(frames: int) -> Signals:
    """Signals of a video in which nothing happens."""
    nothing = np.zeros(frames, np.float32)
    return Signals(nothing, nothing, nothing, nothing, nothing + 100)


def seen(
    frames: int,
    *,
    one: dict[int, float] | None = None,
    many: dict[int, float] | None = None,
    jump: dict[int, tuple[float, float]] | None = None,
    black: tuple[tuple[int, int], ...] = (),
) -> Signals:
    """Signals of a video in which the detectors see this, by frame; `jump` is (content, adaptive)."""
    found = Signals(*(getattr(quiet(frames), name).copy() for name in Signals.__dataclass_fields__))
    for frame, value in (one or {}).items():
        found.transnet[frame] = value
    for frame, value in (many or {}).items():
        found.transnet_many[frame] = value
    for frame, (content, adaptive) in (jump or {}).items():
        found.content[frame] = content
        found.adaptive[frame] = adaptive
    for start, end in black:
        found.luma_mean[start:end] = 2
    return found


def spread(start: int, end: int, value: float = 0.9) -> dict[int, float]:
    return dict.fromkeys(range(start, end), value)


def edges(found: Signals, policy: Segment | None = None) -> list[Boundary]:
    return boundaries(found, times(len(found.transnet)), policy or Segment())


def test_a_sure_cut_is_kept_at_the_first_frame_of_the_new_shot() -> None:
    [boundary] = edges(seen(100, one={49: 0.5}, jump={50: (60, 12)}))
    assert boundary == (50, 50, "cut", 0.5, 12.0, True)


def test_a_cut_seen_twice_lies_where_the_picture_jumps_most() -> None:
    [boundary] = edges(seen(100, one={49: 0.9, 50: 0.8}, jump={51: (60, 12)}))
    assert (boundary.frame, boundary.kind) == (51, "cut")


@pytest.mark.parametrize(
    ("content", "adaptive", "kept"), [(27, 3, True), (26, 3, False), (27, 2.9, False), (0, 0, False)]
)
def test_a_half_sure_cut_needs_a_witness(content: float, adaptive: float, kept: bool) -> None:
    [boundary] = edges(seen(100, one={49: 0.2}, jump={50: (content, adaptive)}))
    assert boundary.kept is kept


def test_what_one_detector_alone_sees_is_a_candidate() -> None:
    [boundary] = edges(seen(100, jump={50: (200, 255)}))
    assert boundary == (50, 50, "cut", 0.0, 255.0, False)
    assert edges(seen(100, one={49: 0.19}, jump={50: (14, 255)})) == []


def test_a_gradual_transition_spans_its_frames() -> None:
    [boundary] = edges(seen(100, one={45: 0.2}, many=spread(40, 52)))
    assert boundary[:3] == (41, 52, "gradual")
    assert boundary.kept


def test_a_gradual_transition_that_only_the_many_hot_head_sees_is_not_kept() -> None:
    [boundary] = edges(seen(100, one={45: 0.19}, many=spread(40, 52)))
    assert not boundary.kept


def test_a_fade_to_black_and_back_is_one_boundary() -> None:
    found = seen(200, one={50: 0.6, 80: 0.7}, many=spread(45, 56) | spread(75, 86), black=((56, 76),))
    [boundary] = edges(found)
    assert boundary[:4] == (46, 86, "gradual", pytest.approx(0.7))
    bright = replace(found, luma_mean=found.luma_mean + 20)
    assert [b[:2] for b in edges(bright)] == [(46, 56), (76, 86)]


def test_a_long_black_stretch_is_a_shot_of_its_own() -> None:
    found = seen(300, one={50: 0.9, 200: 0.9}, black=((51, 201),))
    assert [b[:3] for b in edges(found)] == [(51, 51, "cut"), (201, 201, "cut")]


def test_black_at_both_ends_belongs_to_the_first_and_last_transition() -> None:
    found = seen(300, one={20: 0.9, 280: 0.9}, black=((0, 21), (281, 300)))
    assert [b[:3] for b in edges(found)] == [(0, 21, "gradual"), (281, 300, "gradual")]
    assert shots(edges(found), 300) == [(21, 281)]


def test_shots_tile_the_video_without_its_transitions() -> None:
    kept = Boundary(50, 50, "cut", 0.9, 9, True)
    gone = Boundary(70, 70, "cut", 0.3, 9, False)
    gradual = Boundary(100, 120, "gradual", 0.9, 9, True)
    assert shots([kept, gone, gradual], 200) == [(0, 50), (50, 100), (120, 200)]
    assert shots([], 200) == [(0, 200)]


def test_clips_are_trimmed_where_their_shot_meets_a_boundary() -> None:
    made = clips([Shot(0, 100), Shot(100, 200)], times(200), Segment(trim_frames=3))
    assert [(c.start_frame, c.end_frame, c.reason) for c in made] == [
        (0, 97, None),
        (97, 100, "trimmed"),
        (100, 103, "trimmed"),
        (103, 200, None),
    ]


@pytest.mark.parametrize(
    ("frames", "parts"), [(50, [50]), (250, [250]), (251, [126, 125]), (700, [234, 233, 233])]
)
def test_a_long_shot_is_split_into_the_fewest_equal_parts(frames: int, parts: list[int]) -> None:
    made = clips([Shot(0, frames)], times(frames), Segment(min_clip_s=2, max_clip_s=10))
    assert [c.end_frame - c.start_frame for c in made] == parts
    assert all(c.reason is None for c in made)


def test_a_variable_rate_is_split_by_time() -> None:
    slow = np.concatenate([np.arange(100) / 10, 10 + np.arange(501) / 50])  # 10 s at 10 fps, then 10 s at 50
    [one, two] = clips([Shot(0, 600)], slow, Segment(min_clip_s=2, max_clip_s=10))
    assert (one.end_frame, two.start_frame) == (100, 100)


def test_a_frame_longer_than_a_clip_may_last_stays_whole() -> None:
    slides = np.array([0.0, 30.0, 60.0, 61.0])
    made = clips([Shot(0, 3)], slides, Segment())
    assert [(c.start_frame, c.end_frame, c.reason) for c in made] == [
        (0, 1, None),
        (1, 2, None),
        (2, 3, "too_short"),
    ]


def test_a_strange_timeline_is_split_all_the_same() -> None:
    held = (
        np.arange(8) * 10.0005
    )  # pictures held a little longer than a clip may last, each begun by two frames
    slow = np.append(np.stack([held, held + 0.001], axis=1).reshape(-1), 8 * 10.0005)
    made = clips([Shot(0, 16)], slow, Segment(min_clip_s=2, max_clip_s=10))
    assert [c.end_frame for c in made] == list(range(1, 17))
    assert [c.reason for c in made] == ["too_short", None] * 8


def test_an_hour_of_a_rate_that_does_not_divide_a_clip_is_split_evenly() -> None:
    made = clips([Shot(0, 107_892)], times(107_892, 30000 / 1001), Segment(min_clip_s=2, max_clip_s=10))
    assert len(made) == 361
    assert {c.end_frame - c.start_frame for c in made} == {298, 299}
    assert all(c.reason is None for c in made)


@given(st.lists(st.sampled_from([0.001, 0.04, 1.0, 4.9, 5.0, 9.9995, 10.0, 10.0005, 25.0]), min_size=1))
@settings(max_examples=200, deadline=None)
def test_whatever_the_timeline_no_part_is_too_long_but_a_frame(steps: list[float]) -> None:
    timeline = np.concatenate([[0.0], np.cumsum(steps)])
    made = clips([Shot(0, len(steps))], timeline, Segment(min_clip_s=2, max_clip_s=10))
    assert [c.start_frame for c in made] == [0, *(c.end_frame for c in made[:-1])]
    assert made[-1].end_frame == len(steps)
    for part in made:
        lasts = timeline[part.end_frame] - timeline[part.start_frame]
        assert lasts <= 10 or part.end_frame - part.start_frame == 1


def test_a_short_shot_is_dropped_whole_with_its_reason() -> None:
    made = clips([Shot(0, 100), Shot(100, 149), Shot(149, 300)], times(300), Segment(max_clip_s=20))
    assert [c[1:] for c in made if c.reason == "too_short"] == [(100, 149, "too_short")]
    assert len([c for c in made if c.reason is None]) == 2


def test_an_image_is_one_clip() -> None:
    edge, shot, clip, lost = tables(VIDEO, np.array([0.0, 0.0]), quiet(1), Segment())
    assert (edge.num_rows, shot.num_rows, clip.num_rows, lost.num_rows) == (0, 1, 1, 0)
    assert clip.to_pylist()[0] | {"start_frame": 0, "end_frame": 1} == clip.to_pylist()[0]


def test_tables_have_the_schemas_of_a_run() -> None:
    found = seen(300, one={99: 0.9, 180: 0.9}, many=spread(170, 190), jump={100: (50, 20), 60: (20, 4)})
    made = tables(VIDEO, times(300), found, Segment())
    assert [t.schema for t in made] == [BOUNDARIES, SHOTS, CLIPS, DROPPED]
    edge, shot, clip, lost = (t.to_pylist() for t in made)
    assert [(b["frame"], b["end_frame"], b["kept"]) for b in edge] == [
        (60, 60, False),
        (100, 100, True),
        (171, 190, True),
    ]
    assert [s["shot_id"] for s in shot] == [
        span_id(VIDEO["video_id"], a, b) for a, b in [(0, 100), (100, 171), (190, 300)]
    ]
    assert [(c["start_frame"], c["end_frame"], c["shot_id"]) for c in clip] == [
        (0, 98, shot[0]["shot_id"]),
        (102, 169, shot[1]["shot_id"]),
        (192, 300, shot[2]["shot_id"]),
    ]
    assert clip[1]["start_s"] == 102 / 25
    assert clip[1]["fps"] == 25.0
    assert [(d["start_frame"], d["end_frame"], d["kind"], d["reason"]) for d in lost] == [
        (98, 100, "transition", "trimmed"),
        (100, 102, "transition", "trimmed"),
        (169, 171, "transition", "trimmed"),
        (171, 190, "transition", "transition"),
        (190, 192, "transition", "trimmed"),
    ]


def test_tables_want_a_signal_a_frame() -> None:
    with pytest.raises(ValueError, match="signals of 9 frames for a video of 10"):
        tables(VIDEO, times(10), quiet(9), Segment())


@given(
    frames=st.integers(1, 400),
    places=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 40), st.booleans(), st.booleans())),
    trim=st.integers(0, 4),
    fps=st.sampled_from([5.0, 24.0, 60.0]),
)
@settings(max_examples=150, deadline=None)
def test_every_frame_is_in_one_clip_or_dropped_once(
    frames: int, places: list[tuple[int, int, bool, bool]], trim: int, fps: float
) -> None:
    found = seen(frames)
    for start, length, gradual, black in places:
        found.transnet[start : start + 1] = 0.8
        if gradual:
            found.transnet_many[start : start + length] = 0.9
        if black:
            found.luma_mean[start : start + length] = 0
    policy = Segment(trim_frames=trim)
    edge, shot, clip, lost = (t.to_pylist() for t in tables(VIDEO, times(frames, fps), found, policy))
    spans = sorted((row["start_frame"], row["end_frame"]) for row in [*clip, *lost])
    assert [a for a, _ in spans] == [0, *(b for _, b in spans[:-1])]
    assert spans[-1][1] == frames
    for row in clip:
        assert frames == 1 or policy.min_clip_s <= row["end_s"] - row["start_s"] <= policy.max_clip_s
        assert any(s["start_frame"] <= row["start_frame"] < row["end_frame"] <= s["end_frame"] for s in shot)
    assert all(b["frame"] <= b["end_frame"] <= frames for b in edge)


@dataclass(frozen=True)
class Blind:
    """Stands where TransNet would, and sees nothing."""

    def predict(self, thumbs: Any, first_frame: int, start: int, end: int, frame_count: int) -> Any:
        return np.zeros((2, end - start), np.float32)


def noise(frames: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(frames, 27, 48, 3): smooth random pictures, a new one every 30 frames, with grain."""
    rng = np.random.default_rng(seed)
    scenes = rng.integers(20, 236, (-(-frames // 30), 1, 1, 3)).repeat(30, axis=0)[:frames]
    return (scenes + rng.integers(-9, 10, (frames, 27, 48, 3))).clip(0, 255).astype(np.uint8)


def look(net: Any, thumbs: npt.NDArray[np.uint8], first: int, start: int, end: int, count: int) -> Signals:
    return signals(net, thumbs, first, start, end, count)


def test_signals_are_those_of_pyscenedetect() -> None:
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector, ContentDetector
    from scenedetect.stats_manager import StatsManager

    thumbs = noise(100)
    found = look(Blind(), thumbs, 0, 0, 100, 100)
    stats = StatsManager()
    cuts = []
    detectors = [ContentDetector(min_scene_len=1), AdaptiveDetector(min_scene_len=1)]
    for detector in detectors:
        detector.stats_manager = stats
    for number, thumb in enumerate(thumbs):
        for detector in detectors:
            found_now = detector.process_frame(
                FrameTimecode(number, 25.0), np.ascontiguousarray(thumb[:, :, ::-1])
            )
            if detector is detectors[1]:
                cuts += [cut.frame_num for cut in found_now]
    assert cuts == [30, 60, 90]
    content = [stats.get_metrics(n, ["content_val"])[0] for n in range(1, 100)]
    assert np.array_equal(found.content[1:], np.array(content, np.float32))
    assert found.content[0] == 0  # the frame before the first is taken to be the first
    ratio = [stats.get_metrics(n, ["adaptive_ratio (w=2)"])[0] for n in range(2, 98)]
    assert np.array_equal(found.adaptive[2:98], np.array(ratio, np.float32))
    assert [int(n) for n in np.flatnonzero((found.adaptive >= 3) & (found.content >= 15))] == cuts


def test_luma_is_that_of_bt601() -> None:
    thumbs = np.zeros((3, 27, 48, 3), np.uint8)
    thumbs[1] = 255
    thumbs[2, :, :, 0] = 200
    found = look(Blind(), thumbs, 0, 0, 3, 3)
    assert found.luma_mean.tolist() == [0.0, 255.0, pytest.approx(0.299 * 200)]


@pytest.mark.slow
def test_spans_give_exactly_the_signals_of_one_pass() -> None:
    count = STRIDE + 90
    thumbs = noise(count, seed=3)
    net = TransNet.load()
    together = look(net, thumbs, 0, 0, count, count)
    first = look(net, thumbs[: STRIDE + CONTEXT], 0, 0, STRIDE, count)
    second = look(net, thumbs[STRIDE - CONTEXT :], STRIDE - CONTEXT, STRIDE, count, count)
    for name in Signals.__dataclass_fields__:
        parts = np.concatenate([getattr(first, name), getattr(second, name)])
        assert parts.dtype == np.float32
        assert np.array_equal(parts, getattr(together, name)), name
    assert [b.frame for b in edges(together) if b.kept] == list(range(30, count, 30))


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_the_shortest_videos_have_signals(frames: int) -> None:
    found = look(Blind(), noise(frames), 0, 0, frames, frames)
    assert all(len(getattr(found, name)) == frames for name in Signals.__dataclass_fields__)
    assert shots(edges(found), frames) == [(0, frames)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_clip_s": 6.0},
        {"min_clip_s": 0.0},
        {"agree_min": 0.6},
        {"agree_min": 0.0},
        {"trim_frames": -1},
        {"gradual_frames": 1},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Segment(**wrong)


def test_another_setting_is_another_fingerprint() -> None:
    assert Segment().fingerprint() == Segment().fingerprint()
    assert Segment().fingerprint() != Segment(trim_frames=3).fingerprint()
