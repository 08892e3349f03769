"""Evaluation: every field's rate from known captions, who is matched with whom, intervals, and judges."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captioner.assignment import best_pairs
from captioner.evaluate import (
    FIELDS,
    average,
    compared,
    difference,
    evaluate,
    firm,
    folded,
    matched,
)
from captioner.generate import Answer, Finish, Prompt
from captioner.intervals import wilson
from captioner.judging import ByClaims, ByMeaning, ByModel, ByWords, Pair, Score
from captioner.lexicon import CLAIMS, agreement, emotions, motions, places
from captioner.meaning import WEIGHTS, Meaning, load, tokens
from captioner.schema import Caption, Subject, Types
from captioner.scoreboard import lines, troubles
from pipeline import weights as weighing


def subject(kind: str, sub_type: str, main: bool = True, **texts: str) -> Subject:
    said = {"appearance": "", "action": "", "expression": "", "position": ""} | texts
    return Subject(TYPES=Types(type=kind, sub_type=sub_type), is_main_subject=main, **said)


def caption(*subjects: Subject, **fields: str) -> Caption:
    names = ("shot_type", "shot_angle", "shot_position", "camera_motion", "environment", "lighting")
    return Caption(subjects=subjects, **(dict.fromkeys(names, "") | fields))  # type: ignore[arg-type]


JUDGE = ByClaims(ByWords())
TRUE = {
    "a": caption(
        subject("Human", "Woman", appearance="a red coat", action="walks along the beach"),
        subject("Animal", "Dog", main=False, action="runs"),
        shot_type="close_up",
        shot_angle="eye_level",
        camera_motion="The camera pans left.",
    ),
    "b": caption(subject("Human", "Man", expression="smiling"), shot_type="other"),
    "c": caption(shot_type="long_shot", camera_motion="Static"),
}
SAID = {
    "a": caption(
        subject("Animal", "Dog", main=False, action="runs"),
        subject("Human", "Girl", appearance="a red coat", action="sits at a table"),
        subject("Vehicles", "Car", main=False),
        shot_type="close_up",
        camera_motion="It pans to the right.",
    ),
    "b": caption(subject("Human", "Man", expression="He looks sad."), shot_type="full_shot"),
    "not in the truth": caption(),
}


def test_every_rate_is_what_was_counted_by_hand() -> None:
    scored = evaluate(TRUE, "e", SAID, JUDGE)
    found = {
        name: (rate.items, rate.right, round(rate.said, 3), round(rate.right_of_said, 3))
        for name, rate in scored.rates().items()
    }
    assert found == {
        "shot_type": (3, pytest.approx(1 / 3), 0.667, 0.5),  # right, wrong, not said
        "shot_angle": (1, 0.0, 0.0, 0.0),  # not said is not right, and is no wrong either
        "camera_motion": (2, 0.0, 0.5, 0.0),
        "expression": (1, 0.0, 1.0, 0.0),
        "type": (3, 0.75, 1.0, 0.75),  # one was made up
        "sub_type": (3, 0.5, 1.0, 0.5),
        "appearance": (1, 1.0, 1.0, 1.0),
        "action": (2, 0.5, 1.0, 0.5),
        "main_subject": (2, 1.0, 1.0, 1.0),
    }
    assert list(found) == [name for name in FIELDS if name in found]
    assert (scored.missing, scored.extra) == (1, 1)
    whole = average(scored)
    assert whole is not None
    assert whole.mean == pytest.approx((1 / 3 + 0 + 0 + 0 + 0.75 + 0.5) / 6)
    assert {name for name, rate in scored.rates().items() if rate.alike} == {"appearance", "action"}
    assert scored.rates()["type"].made_up == 1
    assert whole.low < whole.mean < whole.high


def test_the_truth_is_right_about_itself() -> None:
    scored = evaluate(TRUE, "truth", TRUE, JUDGE)
    assert {rate.right for rate in scored.rates().values()} == {1.0}
    nothing = evaluate(TRUE, "none", {}, JUDGE)
    assert {(rate.right, rate.said) for rate in nothing.rates().values()} == {(0.0, 0.0)}
    assert nothing.missing == 3
    gap = difference(scored, nothing)
    assert gap is not None
    assert gap.mean == 1.0
    assert gap.low < 0.8 < gap.high == 1.0  # three clips leave doubt
    same = difference(nothing, nothing)
    assert same is not None
    assert same.mean == 0.0
    assert same.low < 0.0 < same.high


def test_other_words_for_a_name_can_count_as_the_same() -> None:
    def names(kind: str, sub_type: str) -> tuple[str, str]:
        return folded(kind, "woman" if sub_type == "Girl" else sub_type)

    rates = evaluate(TRUE, "e", SAID, JUDGE, names).rates()
    assert rates["sub_type"].right == 0.75


def test_subjects_are_matched_so_that_the_whole_fits_best() -> None:
    """Against every permutation: no order of the subjects changes who is meant."""
    true = [
        subject("Human", "Woman", position="On the left", action="waves"),
        subject("Human", "Woman", main=False, position="On the right"),
        subject("Animal", "Cat", main=False),
    ]
    said = [
        subject("Human", "Woman", position="Right side of the frame"),
        subject("Human", "Person", main=False, position="Left, waves", action="waves"),
        subject("Animal", "Dog", main=False),
        subject("Furniture", "Chair", main=False),
    ]
    wanted = {0: 1, 1: 0, 2: 2}
    for order in permutations(range(4)):
        pairs = matched(true, [said[n] for n in order])
        assert {n: said.index(other) for n, (_, other) in enumerate(pairs) if other} == wanted


@settings(max_examples=40)
@given(
    st.integers(1, 5).flatmap(
        lambda rows: st.integers(1, 5).flatmap(
            lambda columns: st.lists(
                st.lists(st.integers(0, 6), min_size=columns, max_size=columns), min_size=rows, max_size=rows
            )
        )
    )
)
def test_the_best_pairs_are_those_of_all_that_there_are(worth: list[list[int]]) -> None:
    rows, columns = len(worth), len(worth[0])
    found = best_pairs(worth)
    assert len({row for row, _ in found}) == len({column for _, column in found}) == min(rows, columns)
    if rows <= columns:
        every = (
            sum(worth[n][c] for n, c in enumerate(order)) for order in permutations(range(columns), rows)
        )
    else:
        every = (
            sum(worth[r][n] for n, r in enumerate(order)) for order in permutations(range(rows), columns)
        )
    assert sum(worth[row][column] for row, column in found) == max(every)


def test_what_has_nothing_in_common_is_no_pair() -> None:
    pairs = matched([subject("Human", "Woman")], [subject("Vehicles", "Car")])
    assert [other for _, other in pairs] == [None]
    items, extra = compared("c", caption(subject("Human", "Man")), caption(subject("Food", "Cake")))
    assert extra == 1
    assert [(item.field, item.said) for item in items] == [
        ("type", ""),
        ("sub_type", ""),
        ("main_subject", ""),
        ("type", "food"),
        ("sub_type", "cake"),
    ]
    assert [item.true for item in items[3:]] == ["", ""]


KINDS = ("Woman", "Man", "Child", "Nurse")
MOODS = ("happy", "sad", "angry", "afraid", "surprised", "disgusted", "neutral")
SIDES = ("left", "right", "top", "bottom")
MOVES = ("pans left", "pans right", "tilts up", "tilts down", "zooms in", "zooms out")


def shown(kinds: tuple[str, ...], mood: str, side: str, move: str) -> Caption:
    people = (
        subject("Human", kind, main=n == 0, expression=mood, position=side) for n, kind in enumerate(kinds)
    )
    return caption(*people, camera_motion=f"The camera {move}.")


def test_who_names_everything_earns_no_more_than_who_guesses() -> None:
    random = np.random.default_rng(0)

    def one_of(words: tuple[str, ...]) -> str:
        return words[random.integers(len(words))]

    true, guesses = (
        {str(n): shown((one_of(KINDS),), one_of(MOODS), one_of(SIDES), one_of(MOVES)) for n in range(80)}
        for _ in range(2)
    )
    hedges = dict.fromkeys(true, shown(KINDS, ", ".join(MOODS), ", ".join(SIDES), ", ".join(MOVES)))
    guesser, hedger = (evaluate(true, "e", said, JUDGE) for said in (guesses, hedges))
    found = {name: round(rate.right, 3) for name, rate in hedger.rates().items()}
    assert (found["type"], found["sub_type"]) == (0.25, 0.25)  # all four are named, and three are made up
    assert (found["expression"], found["position"]) == (round(1 / 7, 3), 0.25)
    assert found["camera_motion"] == round(1 / 6, 3)
    one, other = average(hedger), average(guesser)
    assert one
    assert other
    assert one.mean < other.mean + 0.03


@dataclass
class Failing:
    """A Judge that answers for the first texts of each field alone."""

    answers: int
    name: str = "failing"
    sure: bool = True

    def scores(self, field_name: str, pairs: Iterable[Pair]) -> list[Score]:
        return [1.0 if n < self.answers else None for n, _ in enumerate(pairs)]


def test_what_a_judge_fails_to_say_is_not_counted_against_who_spoke() -> None:
    """Of eight things six are said; three quarters are right, however many of them the judge answers on."""
    true = {str(n): caption(environment=f"place {n}", shot_type="close_up") for n in range(8)}
    said = {n: caption(environment="" if int(n) > 5 else "place", shot_type="close_up") for n in true}
    for answers in (6, 4, 3):
        scored = evaluate(true, "e", said, Failing(answers))
        rate = scored.rates()["environment"]
        assert (rate.right, rate.said, rate.unjudged) == (pytest.approx(0.75), 0.75, 6 - answers)
        assert troubles([scored]) == []
    few = evaluate(true, "e", said, Failing(2))
    assert "environment" not in few.rates()
    assert troubles([few]) == [
        "e: environment: 2 of 6 texts could be judged, too few for an accuracy",
    ]


def test_an_average_says_its_fields_and_engines_share_them() -> None:
    who = subject("Human", "Man", appearance="a hat")
    true = {str(n): caption(who, shot_type="close_up", camera_motion="a lively way") for n in range(4)}
    odd = {n: caption(who, shot_type="long_shot", camera_motion="odd") for n in true}
    well, badly = (evaluate(true, name, said, JUDGE) for name, said in (("well", true), ("badly", odd)))
    assert firm(well) == ("shot_type", "camera_motion", "type", "sub_type")
    assert firm(well, badly) == ("shot_type", "type", "sub_type")  # the truth claims nothing of the camera
    text = list(lines([well, badly], "j"))
    assert any(
        line.startswith("average of 3 of 9") and "100.0 " in line and " 66.7 " in line for line in text
    )
    (lacking,) = [line for line in text if line.startswith("not in the average")]
    assert "camera motion (too little judged); appearance (only ~); shot angle" in lacking
    assert any(line.startswith("appearance") and "~100.0" in line for line in text)
    assert "B less A: -33.3 points" in "".join(text)


def test_a_few_clips_that_are_all_right_leave_doubt() -> None:
    for count, low, high in ((2, 0.1, 0.5), (30, 0.85, 0.95)):
        true = {str(n): caption(shot_type="close_up") for n in range(count)}
        found = average(evaluate(true, "e", true, JUDGE))
        assert found is not None
        assert found.mean == found.high == 1.0
        assert low < found.low < high


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    # Newcombe 1998, table I, method 3
    for right, count, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
    ):
        assert wilson(right / count, count) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert wilson(1.0, 29) == (pytest.approx(0.8830, abs=5e-5), 1.0)


def test_an_interval_of_the_average_holds_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    held = 0
    for _ in range(40):
        true = {str(n): caption(shot_type="close_up") for n in range(40)}
        said = {n: caption(shot_type="close_up" if random.random() < 0.7 else "long_shot") for n in true}
        found = average(evaluate(true, "e", said, JUDGE))
        assert found is not None
        held += found.low <= 0.7 <= found.high
    assert held >= 33  # of 38 expected; under 33 comes once in a hundred


# --- judges


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("The camera pans slowly to the left.", {"pan left"}),
        ("the camera tilts up and then pans right", {"tilt up", "pan right"}),
        ("The camera holds still, then zooms slowly in.", {"zoom in"}),
        ("Pans left, then up", {"pan left", "tilt up"}),
        ("The camera does not move.", {"still"}),
        ("The camera remains steady.", {"still"}),
        ("Stable shot", {"still"}),
        ("A steady, static frame", {"still"}),
        ("The camera stays steady on her face.", {"still"}),
        ("The camera remains steady while the man walks away.", {"still"}),
        ("The camera remains steady, with no movement.", {"still"}),
        ("A steady pan to the left", {"pan left"}),
        ("The camera pans left, then remains steady.", {"pan left"}),
        ("The camera moves along the road at a steady pace.", set()),
        ("The camera moves along the road, steady and smooth.", set()),
        ("A steady walk through the hall", set()),
        ("The camera is not steady.", set()),
        ("A steady stream of cars", set()),
        ("镜头保持稳定", {"still"}),
        ("镜头平稳推进", {"dolly in"}),
        ("None", {"still"}),
        ("No movement.", {"still"}),
        ("无", {"still"}),
        ("N/A", set()),
        ("Handheld, following the man", {"handheld", "follow"}),
        ("moves closer to the subject", {"dolly in"}),
        ("The camera moves slowly to the left.", {"truck left"}),
        ("The camera whips to the right.", {"pan right"}),
        ("The camera rises while tilting down", {"pedestal up", "tilt down"}),
        ("镜头向右摇", {"pan right"}),
        ("镜头缓慢推近", {"dolly in"}),
        ("固定镜头", {"still"}),
        ("A lively street", set()),
        ("", set()),
        # what is denied
        ("No camera shake.", set()),
        ("The camera does not pan; it holds still.", {"still"}),
        ("The camera is static, no pan, tilt or zoom.", {"still"}),
        ("The camera is not static.", set()),
        ("Pans left without shaking", {"pan left"}),
        ("No movement other than a slow zoom in", {"zoom in"}),
        ("镜头没有晃动", set()),
        # who moves
        ("The camera is static; the car moves left.", {"still"}),
        ("Static shot of a car moving left", {"still"}),
        ("Pans right as the man walks to the left", {"pan right"}),
        ("Pans left over a car that moves right", {"pan left"}),
        ("The truck moves left.", set()),
        ("The woman stands still", set()),
        ("镜头固定，汽车左移", {"still"}),
        # which way
        ("Pans from the left to the right", {"pan right"}),
        ("Zooms out in one smooth motion", {"zoom out"}),
        ("Rolls counterclockwise", {"roll counterclockwise"}),
        ("Moves slowly to the left, down and in", {"truck left", "pedestal down", "dolly in"}),
    ],
)
def test_motions_are_read_from_words(text: str, claims: set[str]) -> None:
    assert motions(text) == claims


def test_emotions_and_places_are_read_from_words() -> None:
    assert emotions("Neutral, then a slight smile") == {"neutral", "happy"}
    assert emotions("She is not happy") == emotions("没有笑") == emotions("Eyes closed") == set()
    assert emotions("她很惊讶") == {"surprised"}
    assert emotions("No longer sad but happy") == {"happy"}
    assert emotions("Fearless") == emotions("Something happens") == emotions("Under a blanket") == set()
    assert places("Foreground, slightly left of center") == {"foreground", "left", "center"}
    assert places("画面左侧") == {"left"}


def test_claims_decide_where_there_are_some() -> None:
    pairs = [
        ("pans left", "pans right"),
        ("pans left, then zooms in", "zooms in"),
        ("smiling", "a smile"),
        ("odd look", "odd look"),
        ("pans left", "a lively street"),
    ]
    assert JUDGE.scores("camera_motion", pairs) == [0.0, 0.5, None, 1.0, 0.0]
    assert JUDGE.scores("expression", pairs[2:4]) == [1.0, 1.0]
    assert ByClaims(Failing(1)).scores("camera_motion", pairs) == [0.0, 0.5, 1.0, 1.0, None]
    assert JUDGE.scores("action", [("walks left", "walks right")]) == [1.0]  # no claims are read of an action


@pytest.mark.parametrize(
    ("name", "true", "said", "score"),
    [
        ("camera_motion", "Pans left, then right", "Pans right, then left", 0.5),
        ("camera_motion", "Pans left, then right", "Pans left and right", 1.0),
        ("camera_motion", "Pans left, then zooms in", "Pans left, then tilts up", 1 / 3),
        ("expression", "Neutral, then smiling", "Smiling, then neutral", 0.5),
        ("expression", "Smiling", "Smiling or sad", 0.5),
        ("position", "On the left", "Left, right, top, bottom", 0.25),
    ],
)
def test_claims_in_another_order_and_claims_too_many_cost(
    name: str, true: str, said: str, score: float
) -> None:
    assert agreement(CLAIMS[name](true), CLAIMS[name](said)) == pytest.approx(score)


@pytest.fixture(scope="module")
def meaning() -> Meaning:
    catalogue, cache = weighing.load_catalogue(), weighing.default_cache()
    return load(*(weighing.find(name, catalogue, cache) for name in WEIGHTS))


SAME = (
    ("Long black hair, a red coat", "A woman in a red jacket with dark hair"),
    ("Holding a cup of coffee", "Drinks coffee from a mug"),
    ("Inside a car", "Interior of a vehicle with dark upholstery"),
    ("A brown dog runs over the grass", "The dog sprints across a lawn"),
    ("Soft natural light from the left", "Daylight comes in gently from the left side"),
)
OTHER = (
    ("Walking along the beach", "She sits at a desk"),
    ("Inside a car", "A kitchen with white tiles"),
    ("A brown dog runs over the grass", "A white cat sleeps on a chair"),
    ("He cooks food in a pan", "He repairs a car"),
)


OPPOSITE = (
    ("He opens the door.", "He closes the door."),
    ("A woman in a red dress.", "A woman in a blue dress."),
    ("Bright daylight.", "Dim, dark night."),
)


def test_likeness_tells_topics_apart_and_is_sure_of_nothing(meaning: Meaning) -> None:
    judge = ByMeaning(meaning)
    assert judge.scores("action", OPPOSITE) == [1.0] * 3  # why it counts in no average
    assert [one.sure for one in (judge, ByWords(), ByClaims(judge))] == [False] * 3
    assert judge.scores("action", SAME) == [1.0] * 5
    assert judge.scores("action", OTHER) == [0.0] * 4
    assert judge.scores("action", [*SAME, *OTHER])[4] == judge.scores("action", SAME[4:])[0]
    assert judge.scores("action", [("她在海滩上行走", "她在海滩上走"), ("行走", "睡觉")]) == [1.0, 0.0]
    assert sum(score or 0 for score in ByWords().scores("action", SAME)) < 3  # shared words see less


def test_the_tokens_are_those_of_the_reference(meaning: Meaning) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    path = weighing.find(WEIGHTS[1], weighing.load_catalogue(), weighing.default_cache())
    reference = tokenizers.Tokenizer.from_file(str(path))
    reference.no_padding()
    for text in (
        "A woman's café-dress: naïve!! 3.5m @home",
        "她在海滩 walking",
        "straße ﬁne _under_score__ a_b",
        "x" * 120,
        "emoji 😀 ok\u200dz",
        "",
        "İstanbul ½ ² ①",
        "A woman walks. " * 60,
    ):
        assert tokens(text, meaning.vocabulary) == reference.encode(text).ids


@dataclass
class Scripted:
    """Answers by what is in the prompt, the last one first."""

    texts: dict[str, str]
    name: str = "scripted/1"
    asked: list[Prompt] = field(default_factory=list)

    def generate(self, prompts: Iterable[Prompt]) -> Iterator[Answer]:
        for prompt in reversed(list(prompts)):
            self.asked.append(prompt)
            text = next(answer for said, answer in self.texts.items() if said in prompt.user)
            yield Answer(prompt.key, "", text, Finish.STOP)

    def close(self) -> None: ...


VERDICTS: dict[str, tuple[str, Any]] = {
    "alder": ("yes", 1.0),
    "birch": ("Part.", 0.5),
    "cedar": ("<think>yes or no?</think> no", 0.0),
    "dogwood": ("\n\n**Yes**, because nothing says no.", 1.0),
    "elm": ("I cannot say", None),
    "fir": ("Answer: partially.", 0.5),
    "gorse": ("<think>yes, it", None),
    "hazel": ("Nothing to say, yes", None),
}


def test_a_model_judges_and_what_it_does_not_answer_is_unjudged(tmp_path: Path) -> None:
    generator = Scripted({word: answer for word, (answer, _) in VERDICTS.items()})
    judge = ByModel(generator, tmp_path / "cache.jsonl")
    pairs = [("what is true", word) for word in VERDICTS]
    expected = [score for _, score in VERDICTS.values()]
    assert judge.scores("action", pairs) == expected
    assert judge.name.startswith("scripted/1 judge_en/1-")
    with (tmp_path / "cache.jsonl").open("a") as file:
        file.write('{"key": "torn')
    assert judge.scores("action", pairs) == expected
    assert len(generator.asked) == 8 + 3  # only what was not judged is asked again
    assert {one.max_tokens for one in generator.asked} == {2_048}  # room to think
    (prompt,) = [one for one in generator.asked if "cedar" in one.user]
    texts = json.loads(prompt.user.partition("```json\n")[2].partition("\n```")[0])
    assert texts == {"truth": "what is true", "said": "cedar"}
    true = {str(n): caption(environment=f"place {n}") for n in range(8)}
    said = {str(n): caption(environment=word) for n, word in enumerate(VERDICTS)}
    rate = evaluate(true, "e", said, judge).rates()["environment"]
    assert (rate.items, rate.unjudged, rate.right, rate.alike) == (5, 3, 0.6, False)
