"""Clips to look at: what counts as a disagreement, and that no video or concept takes the whole list."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.pick import Candidate, clashes, distance, pick
from captioner.schema import Caption, Subject, Types

EMPTY = Caption(
    subjects=(),
    shot_type="",
    shot_angle="",
    shot_position="",
    camera_motion="",
    environment="",
    lighting="",
)


def person(expression: str, main: bool = True) -> Subject:
    return Subject(
        TYPES=Types(type="Human", sub_type="Man"),
        appearance="",
        action="",
        expression=expression,
        position="",
        is_main_subject=main,
    )


def candidate(
    clip: str, said: Caption, video: str = "v", concept: str = "", **experts: tuple[str, float]
) -> Candidate:
    return Candidate(clip, video, concept, experts, said)


@pytest.mark.parametrize(
    ("field", "expert", "model", "apart"),
    [
        ("shot_type", "close_up", "medium_shot", 1.0),
        ("shot_type", "close_up", "close_up", 0.0),
        ("camera_motion", "The camera pans left.", "It pans to the right.", 1.0),
        ("camera_motion", "The camera pans left.", "The camera trucks left", 0.0),
        ("camera_motion", "The camera pans left, then zooms in.", "It zooms in", 0.5),
        ("camera_motion", "The camera is static.", "A busy street", 0.0),
        # a claim without a side is no other claim than the same with one
        ("camera_motion", "The camera pans slowly to the right.", "The camera pans across the city", 0.0),
        ("camera_motion", "The camera pans to the right.", "It tracks the runner to the right", 0.0),
        ("camera_motion", "The camera zooms in, then pans left.", "The camera pans", 0.5),
        ("camera_motion", "The camera tilts up.", "It tracks the runner", 1.0),
        ("expression", "He looks sad.", "Smiling", 1.0),
        ("expression", "He looks happy.", "Smiling", 0.0),
    ],
)
def test_how_far_two_answers_are_apart(field: str, expert: str, model: str, apart: float) -> None:
    assert distance(field, expert, model) == apart


def test_a_clash_weighs_as_much_as_the_expert_is_sure() -> None:
    said = EMPTY.model_copy(
        update={"shot_type": "medium_shot", "camera_motion": "Static", "subjects": (person("Sad"),)}
    )
    found = clashes(
        candidate(
            "a",
            said,
            shot_type=("close_up", 0.75),
            shot_angle=("eye_level", 0.9),  # the model is silent
            camera_motion=("The camera pans left.", 0.5),
            expression=("He is happy.", 0.9),
        )
    )
    assert [(one.field, one.weight) for one in found] == [
        ("expression", 0.9),
        ("shot_type", 0.75),
        ("camera_motion", 0.5),
    ]
    assert str(found[1]) == "shot_type: expert 'close_up', model 'medium_shot' (0.75)"


def test_of_two_people_it_is_not_known_whose_face_the_expert_saw() -> None:
    said = EMPTY.model_copy(update={"subjects": (person("Sad"), person("", main=False))})
    assert clashes(candidate("a", said, expression=("He is happy.", 0.9))) == ()
    woman = person("", main=False).model_copy(update={"TYPES": Types(type="Woman", sub_type="")})
    two = said.model_copy(update={"subjects": (person("Sad"), woman)})
    assert clashes(candidate("a", two, expression=("He is happy.", 0.9))) == ()


WRONG = EMPTY.model_copy(update={"shot_type": "medium_shot"})


def many(count: int, videos: int, concepts: int) -> list[Candidate]:
    """Clips that all disagree, the first ones most; all of the most surely wrong are of video 0."""
    return [
        candidate(
            f"{n:04d}",
            WRONG,
            video=f"v{0 if n < count // 2 else n % videos}",
            concept=f"c{0 if n < count // 2 else n % concepts}",
            shot_type=("close_up", 1 - n / (2 * count)),
        )
        for n in range(count)
    ]


def test_no_video_and_no_concept_takes_the_whole_list() -> None:
    found = pick(many(2_000, 80, 8), 200)
    assert len(found) == 200
    assert max(Counter(one.video_id for one in found).values()) <= 10
    assert max(Counter(one.concept for one in found).values()) <= 50
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert found[0].clip_id == "0000"


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(1, 5)), max_size=250),
    st.sampled_from([1, 3, 40]),
)
def test_holding_few_picks_the_same_as_sorting_all(rows: list[tuple[int, int, int]], most: int) -> None:
    clips = [
        candidate(f"{n:04d}", WRONG, video=f"v{v}", concept=f"c{c}", shot_type=("close_up", sure / 5))
        for n, (v, c, sure) in enumerate(rows)
    ]
    ranked = sorted(
        clips,
        key=lambda one: (-one.experts["shot_type"][1], hashlib.sha256(f"0\n{one.clip_id}".encode()).digest()),
    )
    a_video = max(1, int(0.05 * most))
    a_concept = max(1, -(-2 * most // max(1, len({one.concept for one in clips}))))
    videos: Counter[str] = Counter()
    concepts: Counter[str] = Counter()
    taken: set[str] = set()
    for of_video, of_concept in ((a_video, a_concept), (a_video, most), (most, a_concept), (most, most)):
        for one in ranked:
            free = videos[one.video_id] < of_video and concepts[one.concept] < of_concept
            if one.clip_id not in taken and len(taken) < most and free:
                taken.add(one.clip_id)
                videos[one.video_id] += 1
                concepts[one.concept] += 1
    assert [one.clip_id for one in pick(iter(clips), most)] == [
        one.clip_id for one in ranked if one.clip_id in taken
    ]


def test_concepts_and_at_last_videos_fill_what_the_others_leave() -> None:
    one_concept = pick(many(400, 80, 1), 40)
    assert len(one_concept) == 40
    assert max(Counter(one.video_id for one in one_concept).values()) == 2  # a twentieth of 40
    film = pick(many(1_000, 1, 4), 200)
    assert len(film) == 200
    assert max(Counter(one.concept for one in film).values()) == 100  # twice an even share
    assert [one.clip_id for one in pick(many(400, 1, 4), 3)] == ["0000", "0001", "0201"]


def test_short_videos_are_spread_before_a_film_fills_the_rest() -> None:
    film = [candidate(f"f{n:03d}", WRONG, video="film", shot_type=("close_up", 0.9)) for n in range(500)]
    short = [candidate(f"s{n:03d}", WRONG, video=f"v{n}", shot_type=("close_up", 0.1)) for n in range(30)]
    found = Counter(one.video_id for one in pick([*film, *short], 100))
    assert (found["film"], len(found)) == (70, 31)


def test_where_all_agree_there_is_nothing_to_look_at() -> None:
    assert pick([candidate("a", WRONG, shot_type=("medium_shot", 1.0))], 10) == []


def test_the_order_of_the_clips_does_not_matter_and_the_seed_breaks_ties() -> None:
    clips = [candidate(f"{n}", WRONG, video=f"v{n}", shot_type=("close_up", 0.5)) for n in range(50)]
    assert pick(clips, 10) == pick(clips[::-1], 10)
    assert pick(clips, 10, seed=1) != pick(clips, 10)
