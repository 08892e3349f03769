"""Faces followed over time, and what is said of their expressions."""

from __future__ import annotations

from typing import Any

import pytest

from captioner.experts.boxes import Box
from captioner.experts.expression import ExpressionExpert, changes, intensity, lasting, track_of
from captioner.experts.facetracks import EMOTIONS, face_tracks, moments_of
from pipeline.clip import Clip
from pipeline.stage import checked

WIDTH, HEIGHT = 1280, 720
Rows = list[dict[str, Any]]


def shown(
    time_s: float, emotion: str, score: float = 0.9, x: float = 0.5, height: float = 0.3, turned: bool = False
) -> dict[str, Any]:
    """A face with one likely emotion; the rest is neutral's, or happy's where that is the one."""
    probabilities = [0.0] * 7
    probabilities[EMOTIONS.index("happy" if emotion == "neutral" else "neutral")] = 1 - score
    probabilities[EMOTIONS.index(emotion)] = score
    y, wide = 0.4, height * 0.75 * HEIGHT / WIDTH
    nose = x + (0.4 if turned else 0.0) * wide
    eyes = [x - 0.2 * wide, y - 0.2 * height, x + 0.2 * wide, y - 0.2 * height]
    points = [*eyes, nose, y, x - 0.15 * wide, y + 0.25 * height, x + 0.15 * wide, y + 0.25 * height]
    box = {"x0": x - wide / 2, "y0": y - height / 2, "x1": x + wide / 2, "y1": y + height / 2}
    return {
        "time_s": time_s,
        "frame": round(24 * time_s),
        "score": 0.9,
        **box,
        "landmarks": points,
        "probabilities": probabilities,
    }


def measure(faces: Rows, expert: ExpressionExpert | None = None) -> dict[str, Any]:
    frames = sorted({one["frame"] for one in faces})
    upstream = {"emotions": {"emotion_engine": "fer", "emotion_frames": frames, "emotions": faces}}
    clip = Clip("c", "s", "v", 0, 192, 0.0, 8.0, 24.0, WIDTH, HEIGHT, upstream=upstream)
    expert = expert or ExpressionExpert()
    return dict(checked(expert.columns, expert.measure(expert.load(), clip, None)))


def test_a_face_that_smiles_throughout() -> None:
    row = measure([shown(t, "happy") for t in range(4)])
    assert row["expression"] == "The person looks happy."
    assert (row["expression_emotion"], row["expression_change"]) == ("happy", "")
    assert row["expression_confidence"] == pytest.approx(0.9)
    assert row["expression_intensity"] == pytest.approx(0.9)
    (track,) = row["expression_tracks"]
    assert (track["start_s"], track["end_s"], len(track["moments"])) == (0.0, 3.0, 4)
    assert track["height_ratio"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("emotion", "sentence"),
    [
        ("angry", "The person looks angry."),
        ("disgust", "The person looks disgusted."),
        ("fear", "The person looks afraid."),
        ("happy", "The person looks happy."),
        ("sad", "The person looks sad."),
        ("surprise", "The person looks surprised."),
        ("neutral", "The person looks neutral."),
    ],
)
def test_each_emotion_has_its_sentence_and_its_bar(emotion: str, sentence: str) -> None:
    assert measure([shown(t, emotion) for t in range(3)])["expression"] == sentence
    doubtful = measure([shown(t, emotion, 0.78) for t in range(3)])["expression"]
    assert doubtful == ("" if emotion in {"angry", "disgust", "fear", "surprise"} else sentence)
    assert measure([shown(t, emotion, 0.55) for t in range(3)])["expression"] == ""


def test_slight_is_said_of_a_slight_emotion() -> None:
    row = measure([shown(t, "happy", 0.7) for t in range(3)])
    assert row["expression"] == "The person looks slightly happy."
    assert measure([shown(t, "neutral", 0.7) for t in range(3)])["expression_intensity"] is None


def test_a_change_is_told_in_its_order() -> None:
    names = ["neutral", "neutral", "happy", "happy", "happy", "happy"]
    row = measure([shown(t, name) for t, name in enumerate(names)])
    assert row["expression"] == "The person looks neutral, then happy."
    assert row["expression_change"] == "neutral, then happy"
    assert row["expression_emotion"] == "happy"
    assert row["expression_confidence"] == pytest.approx(0.9)


def test_a_moment_of_doubt_is_no_phase_and_four_phases_are_no_story() -> None:
    doubt = [
        shown(0, "happy"),
        shown(1, "sad", 0.65),
        shown(2, "happy"),
        shown(3, "happy"),
        shown(4, "happy"),
    ]
    assert measure(doubt)["expression"] == "The person looks happy."
    names = ["happy", "sad", "happy", "sad", "happy", "sad"]
    row = measure([shown(t, name) for t, name in enumerate(names)])
    assert (row["expression"], row["expression_change"], row["expression_confidence"]) == ("", "", None)


def test_profiles_and_unsure_moments_count_against_it() -> None:
    half = [shown(t, "happy", turned=t % 2 == 0) for t in range(4)]
    assert measure(half)["expression"] == ""
    assert measure(half, ExpressionExpert(agree_min=0.5))["expression"] == "The person looks happy."
    assert measure(half, ExpressionExpert(yaw_max=9.0))["expression"] == "The person looks happy."


def test_a_face_of_one_moment_among_several_says_nothing() -> None:
    fleeting = [shown(0, "happy", height=0.35), shown(1, "sad", x=0.1), shown(2, "sad", x=0.9)]
    assert [track["sentence"] for track in measure(fleeting)["expression_tracks"]] == ["", "", ""]
    assert measure(fleeting[:1])["expression"] == "The person looks happy."
    alone = measure(fleeting, ExpressionExpert(moments_min=1))
    assert alone["expression"] == "The person looks happy."


def test_a_clip_without_faces_says_nothing() -> None:
    row = measure([])
    assert (row["expression"], row["expression_tracks"], row["expression_confidence"]) == ("", [], None)


def test_two_people_are_two_tracks_the_larger_one_first() -> None:
    faces = []
    for t in range(4):
        faces += [shown(t, "sad", x=0.2 + 0.02 * t, height=0.2), shown(t, "happy", x=0.8 - 0.02 * t)]
    row = measure(faces)
    assert [track["sentence"] for track in row["expression_tracks"]] == [
        "The person looks happy.",
        "The person looks sad.",
    ]
    assert row["expression_emotion"] == "happy"


def test_a_face_elsewhere_of_another_size_or_much_later_is_someone_else() -> None:
    def count(*faces: dict[str, Any]) -> int:
        return len(face_tracks(moments_of({"emotions": list(faces)}), WIDTH / HEIGHT, 2.5))

    assert count(shown(0, "sad"), shown(1, "sad", x=0.55)) == 1
    assert count(shown(0, "sad"), shown(1, "sad", x=0.9)) == 2
    assert count(shown(0, "sad"), shown(1, "sad", height=0.5)) == 2
    assert count(shown(0, "sad"), shown(2, "sad")) == 1
    assert count(shown(0, "sad"), shown(3, "sad")) == 2


def test_people_who_come_near_each_other_keep_their_tracks() -> None:
    faces = [shown(t, name, x=x) for t in range(3) for name, x in (("happy", 0.45 + 0.02 * t), ("sad", 0.6))]
    tracks = face_tracks(moments_of({"emotions": faces}), WIDTH / HEIGHT, 2.5)
    assert [
        {EMOTIONS[one.probabilities.index(max(one.probabilities))] for one in track} for track in tracks
    ] == [
        {"happy"},
        {"sad"},
    ]


def test_the_helpers_count_what_they_say() -> None:
    assert lasting(["happy", "", "happy"], 0.6) == "happy"
    assert lasting(["happy", "", ""], 0.6) == ""
    assert lasting([], 0.6) == ""
    assert changes(["sad", "", "sad", "happy"], [0.6, 0.3, 0.6, 0.7], 0.85) == ["sad"]
    assert changes(["sad", "sad", "happy"], [0.6, 0.6, 0.9], 0.85) == ["sad", "happy"]
    assert changes(["sad", "sad", "happy", "sad", "sad"], [0.6] * 5, 0.85) == ["sad"]
    assert intensity([], [], "neutral") is None


def test_a_track_belongs_to_the_subject_that_holds_its_face() -> None:
    faces = []
    for t in range(4):
        faces += [shown(t, "sad", x=0.2, height=0.2), shown(t, "happy", x=0.8, height=0.2)]
    tracks = measure(faces)["expression_tracks"]
    right = [Box(24 * t, "person", 0.9, 0.65, 0.2, 0.95, 1.0) for t in (1, 3)]
    found = track_of(right, tracks)
    assert found is not None
    assert found["emotion"] == "happy"
    both = [Box(24 * t, "person", 0.9, 0.0, 0.2, 1.0, 1.0) for t in (1, 3)]
    assert track_of(both, tracks) is None
    feet = [Box(24 * t, "person", 0.9, 0.65, 0.0, 0.95, 0.45) for t in (1, 3)]
    assert track_of([*feet, *right], tracks) is not None
    legs = [Box(24 * t, "person", 0.9, 0.65, -0.6, 0.95, 0.45) for t in (1, 3)]
    assert track_of(legs, tracks) is None  # the face would be at its lower end
    elsewhere = [Box(7, "person", 0.9, 0.65, 0.2, 0.95, 1.0)]
    assert track_of(elsewhere, tracks) is None
