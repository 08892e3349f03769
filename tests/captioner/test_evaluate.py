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
    folded,
    matched,
    wilson,
)
from captioner.generate import Answer, Finish, Prompt
from captioner.judging import ByClaims, ByMeaning, ByModel, ByWords
from captioner.lexicon import emotions, motions, places
from captioner.meaning import WEIGHTS, Meaning, load, tokens
from captioner.schema import Caption, Subject, Types
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
        "type": (3, 1.0, 1.0, 1.0),
        "sub_type": (3, pytest.approx(2 / 3), 1.0, 0.667),
        "appearance": (1, 1.0, 1.0, 1.0),
        "action": (2, 0.5, 1.0, 0.5),
        "main_subject": (2, 1.0, 1.0, 1.0),
    }
    assert list(found) == [name for name in FIELDS if name in found]
    assert (scored.missing, scored.extra) == (1, 1)
    whole = average(scored)
    assert whole is not None
    assert whole.mean == pytest.approx((1 / 3 + 0 + 0 + 0 + 1 + 2 / 3 + 1 + 0.5) / 8)
    assert whole.low < whole.mean < whole.high


def test_the_truth_is_right_about_itself() -> None:
    scored = evaluate(TRUE, "truth", TRUE, JUDGE)
    assert {rate.right for rate in scored.rates().values()} == {1.0}
    nothing = evaluate(TRUE, "none", {}, JUDGE)
    assert {(rate.right, rate.said) for rate in nothing.rates().values()} == {(0.0, 0.0)}
    assert nothing.missing == 3
    gap = difference(scored, nothing)
    assert gap is not None
    assert (gap.mean, gap.low, gap.high) == (1.0, 1.0, 1.0)
    same = difference(nothing, nothing)
    assert same is not None
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)


def test_other_words_for_a_name_can_count_as_the_same() -> None:
    def names(kind: str, sub_type: str) -> tuple[str, str]:
        return folded(kind, "woman" if sub_type == "Girl" else sub_type)

    rates = evaluate(TRUE, "e", SAID, JUDGE, names).rates()
    assert rates["sub_type"].right == 1.0


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
    ]


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
    ],
)
def test_motions_are_read_from_words(text: str, claims: set[str]) -> None:
    assert motions(text) == claims


def test_emotions_and_places_are_read_from_words() -> None:
    assert emotions("Neutral, then a slight smile") == {"neutral", "happy"}
    assert emotions("She is not happy") == emotions("没有笑") == emotions("Eyes closed") == set()
    assert emotions("她很惊讶") == {"surprised"}
    assert places("Foreground, slightly left of center") == {"foreground", "left", "center"}
    assert places("画面左侧") == {"left"}


def test_claims_decide_where_there_are_some() -> None:
    pairs = [
        ("pans left", "pans right"),
        ("pans left, then zooms in", "zooms in"),
        ("smiling", "a smile"),
        ("odd look", "odd look"),
    ]
    assert JUDGE.scores("camera_motion", pairs) == [0.0, 0.5, 0.0, 1.0]
    assert JUDGE.scores("expression", pairs[2:]) == [1.0, 1.0]
    assert JUDGE.scores("action", [("walks left", "walks right")]) == [1.0]  # no claims are read of an action


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


def test_paraphrases_mean_the_same_and_contradictions_do_not(meaning: Meaning) -> None:
    judge = ByMeaning(meaning)
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
    "dogwood": ("yes, though in part no", None),
    "elm": ("I cannot say", None),
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
    assert len(generator.asked) == 5 + 2  # only what was not judged is asked again
    (prompt,) = [one for one in generator.asked if "cedar" in one.user]
    texts = json.loads(prompt.user.partition("```json\n")[2].partition("\n```")[0])
    assert texts == {"truth": "what is true", "said": "cedar"}
    true = {str(n): caption(environment=f"place {n}") for n in range(5)}
    said = {str(n): caption(environment=word) for n, word in enumerate(VERDICTS)}
    rate = evaluate(true, "e", said, judge).rates()["environment"]
    assert (rate.items, rate.unjudged, rate.right) == (3, 2, 0.5)
