"""The gate: what decides, that it errs no more than it says, and what is reported beside the answer."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from pipeline.tuning import weighted_share
from review.evidence import ENOUGH
from review.exact import fails, passes, powerful
from review.gate import Outcome, answer, banner, decide, deciding, outcomes
from review.plan import Item, Plan, Plant, Rule, Stratum
from review.sample import allocate
from review.store import ItemState, Reading


def plan_of(
    strata: Sequence[Stratum],
    limit: float = 0.15,
    rule: Rule = "fixed",
    readers: int = 2,
    more: Sequence[Item] = (),
    double: int = 0,
) -> Plan:
    """A plan of these strata; the first `double` items of each are read twice."""
    items = [
        Item(
            f"{one.name}{number}",
            f"{one.name}{number}",
            one.name,
            one.drawn / one.clips,
            double=number < double,
        )
        for one in strata
        for number in range(one.drawn)
    ]
    return Plan(
        "pretrain",
        "540p",
        limit,
        0.95,
        0.9,
        limit / 3,
        readers,
        0,
        {"pool": "x"},
        tuple(strata),
        (*items, *more),
        rule,
    )


def said(item: str, *verdicts: str) -> ItemState:
    """The state of an item with these verdicts of ann, bob and cem; "bad" with a reason."""
    readings = tuple(
        Reading(who, verdict, ("logo",) if verdict == "bad" else (), seq, 0.0, 1.0)  # type: ignore[arg-type]
        for seq, (who, verdict) in enumerate(zip(("ann", "bob", "cem"), verdicts, strict=False), 1)
    )
    return ItemState(item, readings)


def states(plan: Plan, bad: int, judged: int | None = None) -> list[ItemState]:
    """The first `bad` items of the sample called bad by two people, the others good, up to `judged`."""
    found = []
    for number, item in enumerate(plan.items):
        if judged is not None and number >= judged:
            found.append(ItemState(item.item_id))
        elif number < bad:
            found.append(said(item.item_id, "bad", "bad"))
        else:
            found.append(said(item.item_id, "good"))
    return found


LARGE = (Stratum("all", 10**6, 437),)


def test_pass_fail_and_not_enough() -> None:
    plan = plan_of(LARGE, 0.03)
    assert [answer(plan, states(plan, bad), 1).state for bad in (0, 7, 8, 19, 20)] == [
        "pass",
        "pass",
        "not_enough",
        "not_enough",
        "fail",
    ]
    found = answer(plan, states(plan, 7), 9)
    assert (found.judged, found.bad, found.unsure, found.n, found.events) == (437, 7, 0, 437, 9)
    assert found.share == pytest.approx(7 / 437)
    assert 0.0295 < found.bound <= 0.03
    assert found.sentence.startswith("pass: at most 3 % of the clips are bad (437 of 437 judged, 7 bad")
    undecided = answer(plan, states(plan, 10), 9)
    assert "mend the data, or plan a larger sample" in undecided.sentence


def test_nothing_is_known_before_the_first_verdict() -> None:
    plan = plan_of(LARGE, 0.03)
    found = answer(plan, states(plan, 0, 0), 0)
    assert (found.state, found.bound, found.share, found.for_pass) == ("not_enough", 1.0, 0.0, 1.0)
    assert found.corrected is None
    json.loads(found.to_json())


def test_the_naive_bound_would_pass_early_and_the_gate_does_not() -> None:
    """100 good ones would pass 3 % if one had planned to stop there; the plan says 437."""
    plan = plan_of(LARGE, 0.03)
    found = answer(plan, states(plan, 0, 100), 1)
    assert found.bound < 0.03
    assert found.state == "not_enough"
    # Once the rest cannot change it any more, the answer is given: all that is left may be bad.
    assert answer(plan, states(plan, 0, 429), 1).state == "not_enough"
    assert answer(plan, states(plan, 0, 430), 1).state == "pass"
    assert answer(plan, states(plan, 20, 21), 1).state == "fail"


def test_what_is_not_known_counts_against_passing_and_against_failing() -> None:
    plan = plan_of((Stratum("all", 10**6, 59),))
    base = states(plan, 4)
    assert answer(plan, base, 1).state == "pass"
    for unsure in (said("all9", "bad"), said("all9", "skip"), said("all9", "skip", "bad"), ItemState("all9")):
        found = answer(plan, [*base[:9], unsure, *base[10:]], 1)
        assert found.state == "not_enough", unsure
        assert found.unsure == bool(unsure.readings)
    many = [said(item.item_id, "bad") for item in plan.items]
    assert answer(plan, many, 1).state == "not_enough"  # nobody has confirmed one of them


def test_readers_at_odds_wait_for_a_third_who_decides() -> None:
    plan = plan_of((Stratum("all", 10**6, 59),), double=10)
    base = [said(item.item_id, "good", "good") for item in plan.items]
    for verdicts, state, split, bad in (
        (("bad", "good"), "not_enough", 5, 0),
        (("good", "bad"), "not_enough", 5, 0),
        (("good",), "not_enough", 0, 0),  # read twice by plan, and the second may say bad
        (("bad", "good", "good"), "pass", 0, 0),
        (("bad", "good", "bad"), "not_enough", 0, 5),
    ):
        found = answer(plan, [*(said(f"all{number}", *verdicts) for number in range(5)), *base[5:]], 1)
        assert (found.state, found.split, found.bad) == (state, split, bad), verdicts
    at_odds = answer(plan, [said(item.item_id, "bad", "good") for item in plan.items], 1)
    assert (at_odds.state, at_odds.unsure, at_odds.split, at_odds.bound) == ("not_enough", 59, 59, 1.0)
    assert "0 bad, 59 unsure (59 split)" in at_odds.sentence
    assert (at_odds.agreement.pairs, at_odds.agreement.differ) == (10, 10)
    decided = answer(plan, [said(item.item_id, "bad", "good", "good") for item in plan.items], 1)
    assert (decided.state, decided.agreement.pairs, decided.agreement.differ) == ("pass", 10, 10)


@pytest.mark.parametrize("rule", ["fixed", "sequential"])
def test_readers_who_overlook_what_was_planted_pass_nothing(rule: Rule) -> None:
    planted = [Item(f"p{n}", f"q{n}", "", 1.0, planted=Plant("logo", None)) for n in range(9)]
    plan = plan_of((Stratum("all", 10**6, 152),), rule=rule, more=planted)
    sample = states(plan, 0)[:152]
    for caught, read, state in (
        (0, 9, "not_enough"),
        (4, 9, "not_enough"),
        (4, 4, "not_enough"),
        (5, 5, "pass"),
    ):
        marks = [said(f"p{n}", "bad", "bad") if n < caught else said(f"p{n}", "good") for n in range(read)]
        every = [*sample, *marks, *(ItemState(f"p{n}") for n in range(read, 9))]
        found = answer(plan, every, 1)
        assert (found.state, banner(plan, every).state) == (state, state), (caught, read)
        assert (found.sensitivity.caught, found.sensitivity.open, found.sensitivity.needed) == (
            caught,
            9 - read,
            5,
        )
        if state != "pass":
            assert f"of 9 planted faults {caught} were noticed, and 5 must be" in found.sentence
    bad = [said(item.item_id, "bad", "bad") for item in plan.items[:152]]
    assert answer(plan, [*bad, *(said(f"p{n}", "good") for n in range(9))], 1).state == "fail"


def test_with_one_reader_the_first_verdict_counts() -> None:
    plan = plan_of((Stratum("all", 10**6, 59),), readers=1, double=1)
    base = [said(item.item_id, "bad" if 0 < number < 5 else "good") for number, item in enumerate(plan.items)]
    assert answer(plan, base, 1).state == "not_enough"  # the first is to be read twice
    assert answer(plan, [said("all0", "good", "good"), *base[1:]], 1).state == "pass"
    assert answer(plan, [said("all0", "good", "bad"), *base[1:]], 1).bad == 5


def test_small_pools_use_their_size() -> None:
    plan = plan_of((Stratum("all", 200, 69),), 0.03)
    assert answer(plan, states(plan, 0), 1).state == "pass"
    assert answer(plan_of((Stratum("all", 10**6, 69),), 0.03), states(plan, 0), 1).state == "not_enough"
    whole = plan_of((Stratum("all", 40, 40),), 0.03)
    assert [answer(whole, states(whole, bad), 1).state for bad in (0, 1, 2)] == ["pass", "pass", "fail"]
    assert answer(whole, states(whole, 1), 1).bound == 1 / 40


# --- how often it errs


def binomial(k: np.ndarray, n: int, p: float) -> np.ndarray:
    """(len(k),) chances of k of n."""
    log = np.array([math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in k.tolist()])
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.exp(log + np.where(k > 0, k * np.log(p), 0) + np.where(k < n, (n - k) * np.log1p(-p), 0))
    return np.asarray(found)


def settled(limit: float, drawn: tuple[int, int], sizes: tuple[int, int]) -> Mapping[str, np.ndarray]:
    """The counts of bad ones in two strata with which the fixed rule passes, and those with which it fails."""
    weights = np.repeat([sizes[0] / drawn[0], sizes[1] / drawn[1]], drawn)
    found: dict[str, list[tuple[int, int]]] = {"pass": [], "fail": []}
    most = [min(n, math.ceil(8 * limit * n) + 12) for n in drawn]
    for one, other in itertools.product(range(most[0] + 1), range(most[1] + 1)):
        bad = np.zeros(sum(drawn), np.bool_)
        bad[:one] = bad[drawn[0] : drawn[0] + other] = True
        share, effective = weighted_share(bad, weights) or (0.0, 0.0)
        if passes(share * effective, effective, limit):
            found["pass"].append((one, other))
        elif fails(share * effective, effective, limit):
            found["fail"].append((one, other))
    return {key: np.array(value) for key, value in found.items()}


@pytest.mark.parametrize("first", [0.6, 0.8, 0.95])
def test_a_pool_at_its_limit_passes_or_fails_one_time_in_twenty_at_most_however_its_bad_ones_lie(
    first: float,
) -> None:
    """Exactly, by every count of two strata with a floor of 30, and for every split of the bad ones between them."""
    limit = 0.15
    sizes = (round(first * 10**6), 10**6 - round(first * 10**6))
    drawn = tuple(allocate({"a": sizes[0], "b": sizes[1]}, powerful(limit, limit / 3, 0.9).n, 30).values())
    worst = dict.fromkeys(("pass", "fail"), 0.0)
    counts = settled(limit, (drawn[0], drawn[1]), sizes)
    for rate in np.linspace(0, min(1, limit / first), 25).tolist():
        other = (limit - first * rate) / (1 - first)
        for answered, found in counts.items() if other <= 1 else ():
            chances = binomial(found[:, 0], drawn[0], rate) * binomial(found[:, 1], drawn[1], other)
            worst[answered] = max(worst[answered], float(chances.sum()))
    assert 0.02 < worst["pass"] <= 0.0501
    assert 0.02 < worst["fail"] <= 0.0501


def simulated(plan: Plan, rates: Mapping[str, float], trials: int, seed: int, looks: Sequence[int]) -> float:
    """Share of trials in which the gate says pass at some look."""
    dice = np.random.default_rng(seed)
    passed = 0
    for _ in range(trials):
        found = []
        for one in plan.strata:
            whole = np.zeros(one.clips, np.bool_)
            whole[: round(rates[one.name] * one.clips)] = True
            found += dice.choice(whole, one.drawn, replace=False).tolist()
        # Verdicts come in any order; the sequential rule is about the plan's own, which is random as it is.
        order = np.arange(len(found)) if plan.rule == "sequential" else dice.permutation(len(found))
        for look in looks:
            seen = set(order[:look].tolist())
            made = [
                Outcome(item, number in seen, number in seen and bad, number not in seen or bad)
                for number, (item, bad) in enumerate(zip(plan.items, found, strict=True))
            ]
            if decide(plan, made) == "pass":
                passed += 1
                break
    return passed / trials


STRATA = (Stratum("a", 6000, 100), Stratum("b", 2500, 42), Stratum("c", 1500, 30))


@pytest.mark.slow
@pytest.mark.parametrize(
    "rates",
    [
        {"a": 0.15, "b": 0.15, "c": 0.15},
        {"a": 0.25, "b": 0.0, "c": 0.0},
        {"a": 0.0, "b": 0.36, "c": 0.4},
    ],
)
def test_peeking_at_strata_passes_no_more_often(rates: dict[str, float]) -> None:
    """Each of these pools is at its limit of 15 %."""
    assert sum(one.clips * rates[one.name] for one in STRATA) == pytest.approx(0.15 * 10_000)
    trials = 400
    share = simulated(plan_of(STRATA), rates, trials, 5, (60, 100, 140, 160, 172))
    assert share <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


@pytest.mark.slow
def test_the_power_is_as_planned() -> None:
    """A pool at a third of its limit passes nine times of ten."""
    strata = tuple(
        Stratum(name, clips, n)
        for (name, n), clips in zip(
            allocate({"a": 60_000, "b": 1_000, "c": 500}, 85, 30).items(), (60_000, 1_000, 500), strict=True
        )
    )
    share = simulated(
        plan_of(strata), dict.fromkeys("abc", 0.05), 300, 6, (sum(one.drawn for one in strata),)
    )
    assert share >= 0.9 - 3 * math.sqrt(0.9 * 0.1 / 300)


@pytest.mark.slow
def test_the_sequential_rule_errs_no_more_often_and_stops_early() -> None:
    plan = plan_of((Stratum("all", 20_000, 152),), rule="sequential")
    looks = range(10, 153, 6)
    at_limit = simulated(plan, {"all": 0.15}, 300, 7, looks)
    assert at_limit <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert simulated(plan, {"all": 0.03}, 60, 8, looks) > 0.9


def test_the_sequential_rule_looks_at_the_plan_s_order_alone() -> None:
    """Items that were judged out of turn say nothing until those before them are judged."""
    plan = plan_of((Stratum("all", 10**6, 152),), rule="sequential")
    every = states(plan, 0)
    assert answer(plan, every, 1).state == "pass"
    found = answer(plan, [ItemState("all0"), *every[1:]], 1)
    assert (found.state, found.for_pass) == ("not_enough", 1.0)
    assert answer(plan, states(plan, 0, 20), 1).for_pass < ENOUGH
    assert answer(plan, states(plan, 30, 60), 1).state == "fail"


# --- what is reported beside it


def test_strata_are_weighted_and_one_that_fails_by_itself_is_named() -> None:
    plan = plan_of((Stratum("big", 90_000, 90), Stratum("small", 1_000, 40)))
    found = [
        said(item.item_id, "bad", "bad") if item.item_id in BAD else said(item.item_id, "good")
        for item in plan.items
    ]
    made = answer(plan, found, 1)
    assert made.share == pytest.approx((1000 * 20 / 40) / 91_000)
    assert made.state == "pass"
    assert [(one.name, one.judged, one.bad, one.alarm) for one in made.strata] == [
        ("big", 90, 0, False),
        ("small", 40, 20, True),
    ]
    assert made.effective < 130


BAD = {f"small{number}" for number in range(20)}


def test_planted_items_measure_the_readers_and_never_the_pool() -> None:
    planted = [
        Item(f"p{number}", f"q{number}", "", 1.0, planted=Plant("logo" if number < 8 else "cut_inside", None))
        for number in range(10)
    ]
    rejected = [Item("r", "s", "", 0.1, "rejected")]
    plan = plan_of((Stratum("all", 10**6, 59),), more=[*planted, *rejected])
    caught = [said(item.item_id, "bad", "bad") for item in planted[:8]]
    missed = [said("p8", "good"), said("p9", "bad")]
    base = states(plan, 3)[:59]
    found = answer(plan, [*base, *caught, *missed, said("r", "bad", "bad")], 1)
    assert (found.n, found.bad) == (59, 3)
    sensitivity = found.sensitivity
    assert (sensitivity.planted, sensitivity.caught, sensitivity.missed) == (9, 8, {"cut_inside": 1})
    assert sensitivity.at_least == pytest.approx(0.571, abs=1e-3)  # Clopper-Pearson of 8 of 9
    assert found.corrected == pytest.approx(3 / 59 / (8 / 9))
    assert found.corrected_bound == pytest.approx(found.bound / sensitivity.at_least)


def test_agreement_is_of_items_given_to_two_whatever_was_said() -> None:
    plan = plan_of((Stratum("all", 10**6, 59),), double=10)
    found = [
        said(item.item_id, "good", "good") if number < 10 else said(item.item_id, "bad", "good")
        for number, item in enumerate(plan.items)
    ]
    agreement = answer(plan, found, 1).agreement
    assert (agreement.pairs, agreement.differ) == (10, 0)


def test_the_banner_is_the_gate_s_own_numbers() -> None:
    plan = plan_of((Stratum("all", 10**6, 152),), rule="sequential")
    some = states(plan, 2, 60)
    shown, found = banner(plan, some), answer(plan, some, 1)
    assert (shown.judged, shown.n, shown.bad, shown.for_pass, shown.for_fail, shown.state) == (
        found.judged,
        found.n,
        found.bad,
        found.for_pass,
        found.for_fail,
        found.state,
    )


def test_a_failure_counts_until_a_later_sample_passes_by_no_looser_limit() -> None:
    first = (Stratum("all", 10**6, 59),)
    failed = answer(plan_of(first), states(plan_of(first), 59), 1)
    passed = answer(plan_of(first), states(plan_of(first), 0), 1)
    unread = answer(plan_of(first), states(plan_of(first), 0, 0), 1)
    loose = answer(plan_of(first, 0.5), states(plan_of(first, 0.5), 0), 1)
    for answers, counts in (
        ([failed], failed),
        ([failed, unread], failed),
        ([failed, unread, passed], passed),
        ([failed, passed, unread], unread),
        ([passed, failed, unread], failed),
        ([failed, loose], failed),
        ([failed, loose, passed], passed),
        ([passed, unread], unread),
    ):
        assert deciding(answers) is counts


def test_a_list_of_clips_is_no_sample() -> None:
    plan = Plan("pretrain", "picked", 0.5, 0.95, 0.9, 0.0, 1, 0, {}, (), (Item("i", "c", "", 1.0),))
    assert outcomes(plan, [ItemState("i")]) == ()
    assert answer(plan, [said("i", "good")], 1).state == "not_enough"
