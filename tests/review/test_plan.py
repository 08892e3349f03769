"""Plans: how many clips, why, and that nothing moves once they are frozen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from review.exact import passes
from review.plan import Item, Plan, PlanError, Plant, Settings, Stratum, read, size, unchanged
from review.reasons import Gate

PLAN = Plan(
    gate="pretrain",
    pool="540p",
    limit=0.15,
    confidence=0.95,
    power=0.9,
    expected=0.05,
    readers=2,
    seed=3,
    snapshot={"pool": "0a1b2c3d"},
    strata=(Stratum("all", 100, 1),),
    items=(
        Item("i1", "c1", "all", 0.01, double=True),
        Item("i2", "c2", "", 1.0, planted=Plant("cut_inside", "c9", 0.4)),
        Item("i3", "c3", "", 0.5, "rejected"),
    ),
    notes=("why",),
)


def test_a_plan_is_read_as_it_was_written() -> None:
    assert read(PLAN.to_json()) == PLAN
    assert read(PLAN.to_json()).digest == PLAN.digest
    assert replace(PLAN, seed=4).digest != PLAN.digest
    assert PLAN.n == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace("0.15", "0.16"), None),
        (lambda text: text.replace('"seed": 3', '"seed":  3'), "changed by hand"),
        (lambda text: text[:-20], "cannot be read"),
        (lambda text: text.replace('"seed": 3', '"sneed": 3'), "cannot be read"),
        (lambda text: text.replace('"format": 1', '"format": 2'), "format 2, this version reads 1"),
        (lambda text: "[" * 100_000, "cannot be read"),
    ],
)
def test_what_is_no_plan_is_refused(change, why) -> None:  # type: ignore[no-untyped-def]
    data = change(PLAN.to_json().decode()).encode()
    if why is None:
        assert read(data).digest != PLAN.digest  # the verdicts beside it name the plan they were given to
        return
    with pytest.raises(PlanError, match=why):
        read(data)


def test_a_frozen_value_does_not_become_another() -> None:
    unchanged(PLAN, {"limit": 0.15, "readers": 2, "rule": "fixed", "seed": None})
    with pytest.raises(PlanError, match=r"frozen with limit 0\.15, and it cannot become 0\.2"):
        unchanged(PLAN, {"limit": 0.2})


def test_the_paper_s_rates_are_raised_to_what_can_conclude() -> None:
    pre = size(Settings("pretrain", "540p"), 100_000)
    assert (pre.n, pre.one_stratum) == (85, False)
    assert size(Settings("pretrain", "540p", most_strata=1), 100_000).n == 76
    assert (
        "0.01 % of 100,000 clips would be 10; to conclude that at most 15 % are bad takes 19 clips without a"
        in pre.notes[0]
    )
    assert (
        "85 clips with at most 7 bad: a pool of which 5 % is bad then passes with a chance of 93.8 %"
        in pre.notes[1]
    )
    post = size(Settings("posttrain", "sft"), 100_000)
    assert post.n == 478
    assert size(Settings("posttrain", "sft", most_strata=1), 100_000).n == 436
    assert (
        "0.1 % of 100,000 clips would be 100; to conclude that at most 3 % are bad takes 99" in post.notes[0]
    )


def test_of_a_large_pool_the_paper_s_rate_asks_for_more() -> None:
    assert size(Settings("pretrain", "540p"), 10**7).n == 1000
    assert size(Settings("posttrain", "sft"), 10**6).n == 1000


def test_a_small_pool_is_one_stratum_and_takes_fewer() -> None:
    for population in (1, 10, 100, 1000):
        found = size(Settings("posttrain", "sft"), population)
        assert found.one_stratum
        assert 1 <= found.n <= population
    assert size(Settings("posttrain", "sft"), 1000).n == 308
    with pytest.raises(PlanError, match="the pool is empty"):
        size(Settings("pretrain", "540p"), 0)


@pytest.mark.parametrize(
    ("gate", "population", "sentence"),
    [
        ("posttrain", 1, "the only clip is read: it passes when none is bad"),
        ("pretrain", 3, "all 3 clips are read: it passes when none is bad"),
        ("pretrain", 7, "all 7 clips are read: it passes when at most 1 is bad"),
    ],
)
def test_of_a_tiny_pool_all_is_read_and_said_so(gate: Gate, population: int, sentence: str) -> None:
    found = size(Settings(gate, "tiny"), population)
    assert (found.n, found.notes) == (population, (sentence,))
    for bad in range(population + 1):
        state = passes(bad, population, Settings(gate).allowed, population)
        assert state is (bad <= (1 if "at most 1" in sentence else 0))


def test_the_chance_of_a_small_pool_is_of_as_many_bad_ones_as_it_may_have() -> None:
    found = size(Settings("posttrain", "small", limit=0.015, expected=0.012), 100)
    assert found.n < 100
    assert "a pool of which 1 % is bad" in found.notes[1]
    share = float(found.notes[1].rsplit(" of ", 1)[1].removesuffix(" %"))
    assert share >= 90


def test_with_one_reader_nothing_is_read_twice_unless_there_are_more() -> None:
    alone = Settings("pretrain", "540p", readers=1)
    assert (alone.twice, Settings("pretrain", "540p").twice) == (0.0, 0.2)
    assert replace(alone, double_ratio=0.2).twice == 0.2
    said = "nothing is read twice: how far readers agree is not measured"
    assert size(alone, 1000).notes[-1] == said
    assert said not in size(replace(alone, double_ratio=0.2), 1000).notes


def test_a_given_n_is_taken_and_said_where_it_cannot_conclude() -> None:
    found = size(Settings("pretrain", "540p", n=12), 10_000)
    assert found.n == 12
    assert found.notes[-1] == "so few cannot conclude, whatever is found"
    assert size(Settings("pretrain", "540p", n=500), 40).n == 40


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0.0}, {"limit": 1.0}, {"expected": 0.15}, {"power": 1.0}, {"readers": 3}, {"n": 0}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Settings("pretrain", **wrong)  # type: ignore[arg-type]


def test_the_canonical_text_is_sorted_and_ends_in_a_newline() -> None:
    plain = json.loads(PLAN.to_json())
    assert list(plain) == sorted(plain)
    assert PLAN.to_json().endswith(b"}\n")
