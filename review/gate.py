"""The gate's answer: pass, fail or not enough, and what stands behind it.

Two rules, one of them frozen in the plan. *fixed*: the exact 95 % bound of the whole sample decides (Clopper and
Pearson 1934; of small pools hypergeometric, see review.exact; of unequal weights with the effective size of Korn and
Graubard 1998, see pipeline.tuning). What is not judged, skipped, called bad by one of two readers, or to be read twice
and read once counts as bad when the gate is to pass and as good when it is to fail; so an answer given early is the
answer at the end, whatever comes, and looking early costs nothing. *sequential*: e-values decide, at any look (Ville's
inequality; Ramdas et al. 2023, see review.evidence).

By either rule nothing passes whose readers overlooked the planted faults: of those, the plan says how many must be
noticed, and one that is not read yet is not noticed yet.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.tuning import bound, weighted_share
from review.agreement import Agreement, agreement
from review.evidence import ENOUGH, Seen, for_fail, for_pass
from review.exact import fails, passes, upper
from review.plan import Item, Plan
from review.store import ItemState

State = Literal["pass", "fail", "not_enough"]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """What the readings make of one item of the sample."""

    item: Item
    judged: bool
    """Somebody has seen it and said something, be it that they cannot say."""
    bad: bool
    """It is bad, whatever is still to come."""
    may_be_bad: bool
    """It is not yet known to be good."""
    split: bool = False
    """One reader calls it bad and another good, and a third is to say."""


@dataclass(frozen=True)
class StratumAnswer:
    """One part of the sample by itself."""

    name: str
    judged: int
    bad: int
    bound: float
    """At most so much of it is bad, with 95 % confidence, by what is judged."""
    alarm: bool
    """By itself this part fails the limit."""


@dataclass(frozen=True)
class Sensitivity:
    """How many of the planted faults the readers noticed."""

    planted: int
    """Of those that are settled."""
    caught: int
    at_least: float
    """Readers notice at least this share, with 95 % confidence."""
    missed: Mapping[str, int]
    """By kind of fault."""
    open: int = 0
    """Planted faults that are not settled yet."""
    needed: int = 0
    """So many must be caught, or nothing passes."""

    @property
    def enough(self) -> bool:
        """The readers have noticed what they had to."""
        return self.caught >= self.needed


@dataclass(frozen=True)
class Answer:
    """Everything that a gate says."""

    state: State
    sentence: str
    gate: str
    pool: str
    limit: float
    rule: str
    n: int
    judged: int
    bad: int
    unsure: int
    """Judged, and yet neither good nor bad: each waits for another reader."""
    split: int
    """Of those, the ones that one reader calls bad and another good."""
    waiting: int
    """Items of the whole plan, planted and rejected ones too, that another reader must settle."""
    share: float
    """Estimated share of bad ones among the population, weighted by stratum, by what is judged."""
    bound: float
    """The share is at most this, with 95 % confidence, by the judged items, what is unsure counted as bad. To pass, the
    fixed rule counts the unjudged as bad too."""
    effective: float
    """Equally weighted items that would say as much as the judged ones (Korn and Graubard 1998)."""
    for_pass: float
    for_fail: float
    """E-values: ENOUGH settles it, at any look."""
    strata: tuple[StratumAnswer, ...]
    agreement: Agreement
    sensitivity: Sensitivity
    corrected: float | None
    """`share` over the caught share (Rogan and Gladen 1978, specificity 1); None while nothing planted was caught."""
    corrected_bound: float | None
    """`bound` over the least sensitivity."""
    snapshot: Mapping[str, str]
    attempt: int
    """Which sample of the same snapshot it is: of many samples one passes by luck."""
    plan: str
    """Digest of the plan."""
    events: int
    """Seq of the last event that it has seen."""

    def to_json(self) -> bytes:
        """Its one canonical text: what gate.json holds."""
        plain = dataclasses.asdict(self)
        return (
            json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        )


@dataclass(frozen=True)
class Banner:
    """What may be shown while people review."""

    judged: int
    n: int
    bad: int
    unsure: int
    for_pass: float
    for_fail: float
    """E-values: ENOUGH settles it."""
    enough: float
    state: State
    """What the gate would answer now."""
    sampled: State
    """The same, whatever became of the planted faults: who judges may see this one, and learns nothing of them."""


def outcomes(plan: Plan, states: Sequence[ItemState]) -> tuple[Outcome, ...]:
    """What became of each item of the sample, in the plan's order: what was drawn from a stratum, and nothing
    else."""
    by_id = {state.item_id: state for state in states}
    return tuple(_outcome(plan, item, by_id[item.item_id]) for item in plan.items if item.stratum)


def _outcome(plan: Plan, item: Item, state: ItemState) -> Outcome:
    """What the readings make of one item; a skip says nothing."""
    said = [reading.verdict for reading in state.readings if reading.verdict != "skip"]
    called_bad, called_good = said.count("bad"), said.count("good")
    bad = called_bad >= plan.readers
    # An item that is read twice by plan may still be called bad, and against a bad verdict stand two good ones.
    good = not bad and called_good >= (2 if item.double or called_bad else 1)
    split = called_bad > 0 and called_good > 0 and not bad and not good
    return Outcome(item, bool(state.readings), bad, not good, split)


def answer(plan: Plan, states: Sequence[ItemState], events: int) -> Answer:
    """The gate's answer to these verdicts; `states` are those of every item of the plan."""
    found = outcomes(plan, states)
    judged = [one for one in found if one.judged]
    unsure = sum(one.may_be_bad and not one.bad for one in judged)
    split = sum(one.split for one in judged)
    bad = sum(one.bad for one in judged)
    share, _ = _share(plan, judged, worst=False)
    worst, effective = _share(plan, judged, worst=True)
    e_pass, e_fail = evidence(plan, found)
    sensitivity = _sensitivity(plan, states)
    state = _seen_well(decide(plan, found), sensitivity)
    if not judged:
        most = 1.0
    elif _even(plan):
        most = upper(bad + unsure, len(judged), _population(plan))
    else:
        most = bound(worst, effective)
    caught = sensitivity.caught / sensitivity.planted if sensitivity.planted else 0.0
    return Answer(
        state=state,
        sentence=_sentence(
            plan, state, Counts(len(judged), len(found), bad, unsure, split), most, sensitivity
        ),
        gate=plan.gate,
        pool=plan.pool,
        limit=plan.limit,
        rule=plan.rule,
        n=len(found),
        judged=len(judged),
        bad=bad,
        unsure=unsure,
        split=split,
        waiting=waiting(plan, states),
        share=share,
        bound=most,
        effective=effective,
        for_pass=e_pass,
        for_fail=e_fail,
        strata=_strata(plan, judged),
        agreement=_agreement(plan, states),
        sensitivity=sensitivity,
        corrected=min(1.0, share / caught) if caught else None,
        corrected_bound=min(1.0, most / sensitivity.at_least) if sensitivity.at_least else None,
        snapshot=plan.snapshot,
        attempt=plan.attempt,
        plan=plan.digest,
        events=events,
    )


def waiting(plan: Plan, states: Sequence[ItemState]) -> int:
    """Items of the whole plan that somebody has read and that another reader must settle."""
    by_id = {state.item_id: state for state in states}
    found = (_outcome(plan, item, by_id[item.item_id]) for item in plan.items)
    return sum(one.judged and one.may_be_bad and not one.bad for one in found)


def deciding(answers: Sequence[Answer]) -> Answer:
    """Of the answers of several samples of the same clips, in the order in which they were drawn, the one that counts.

    It is the last, unless one failed before it that no later one, by the same limit or a lower, has passed: else a gate
    that failed would be rid of by drawing again and judging nothing, or by asking for less.
    """
    passed_by = 1.0
    for one in reversed(answers):
        if one.state == "fail" and one.limit < passed_by:
            return one
        if one.state == "pass":
            passed_by = min(passed_by, one.limit)
    return answers[-1]


def banner(plan: Plan, states: Sequence[ItemState]) -> Banner:
    """The live numbers; they may be looked at after every verdict."""
    found = outcomes(plan, states)
    judged = [one for one in found if one.judged]
    e_pass, e_fail = evidence(plan, found)
    bad = sum(one.bad for one in judged)
    unsure = sum(one.may_be_bad and not one.bad for one in judged)
    sampled = decide(plan, found)
    state = _seen_well(sampled, _sensitivity(plan, states))
    return Banner(len(judged), len(found), bad, unsure, e_pass, e_fail, ENOUGH, state, sampled)


# --- the two rules


def _seen_well(state: State, sensitivity: Sensitivity) -> State:
    """The answer, but no pass by readers who overlook what was planted. What they found bad is bad all the same."""
    return "not_enough" if state == "pass" and not sensitivity.enough else state


def decide(plan: Plan, found: Sequence[Outcome]) -> State:
    """The plan's rule applied to what became of its sample."""
    if not found:
        return "not_enough"
    if plan.rule == "sequential":
        e_pass, e_fail = evidence(plan, found)
        return "pass" if e_pass >= ENOUGH else "fail" if e_fail >= ENOUGH else "not_enough"
    if _even(plan):
        population = _population(plan)
        most, least = sum(one.may_be_bad for one in found), sum(one.bad for one in found)
        passed = passes(most, len(found), plan.limit, population)
        failed = fails(least, len(found), plan.limit, population)
    else:
        share, effective = _share(plan, found, worst=True)
        passed = passes(share * effective, effective, plan.limit)
        share, effective = _share(plan, found, worst=False)
        failed = fails(share * effective, effective, plan.limit)
    return "pass" if passed else "fail" if failed else "not_enough"


def _even(plan: Plan) -> bool:
    """Every item of the sample stands for as many clips, so that they can be counted."""
    return len({round(weight, 9) for weight in _weights(plan).values()}) == 1


def _population(plan: Plan) -> int:
    """Clips that the sample stands for."""
    return sum(stratum.clips for stratum in plan.strata)


def evidence(plan: Plan, found: Sequence[Outcome]) -> tuple[float, float]:
    """The e-values, to pass and to fail, of the sample's judged beginning: as far in the plan's order as none is left
    out. Which items are judged sooner may depend on how bad they are; the plan's order does not."""
    seen: dict[str, list[Outcome]] = {stratum.name: [] for stratum in plan.strata}
    for one in found:
        if not one.judged:
            break
        seen[one.item.stratum].append(one)
    worst = [
        Seen(sum(one.may_be_bad for one in seen[stratum.name]), len(seen[stratum.name]), stratum.clips)
        for stratum in plan.strata
    ]
    best = [
        Seen(sum(one.bad for one in seen[stratum.name]), len(seen[stratum.name]), stratum.clips)
        for stratum in plan.strata
    ]
    return for_pass(worst, plan.limit), for_fail(best, plan.limit)


def _weights(plan: Plan) -> dict[str, float]:
    """By stratum, how many clips of the population one of the sample stands for."""
    return {stratum.name: stratum.clips / stratum.drawn for stratum in plan.strata if stratum.drawn}


def _share(plan: Plan, found: Sequence[Outcome], worst: bool) -> tuple[float, float]:
    """The weighted share of bad ones, and the number of equally weighted items that would say as much."""
    weights = _weights(plan)
    flags: Flags = np.array([one.may_be_bad if worst else one.bad for one in found], np.bool_)
    values: Floats = np.array([weights[one.item.stratum] for one in found], np.float64)
    return weighted_share(flags, values) or (0.0, 0.0)


# --- what is reported beside it


def _strata(plan: Plan, judged: Sequence[Outcome]) -> tuple[StratumAnswer, ...]:
    """Each stratum by itself, in the plan's order, from its judged items."""
    answers = []
    for stratum in plan.strata:
        ones = [one for one in judged if one.item.stratum == stratum.name]
        bad, unsure = sum(o.bad for o in ones), sum(o.may_be_bad and not o.bad for o in ones)
        most = upper(bad + unsure, len(ones), stratum.clips)
        alarm = fails(bad, len(ones), plan.limit, stratum.clips)
        answers.append(StratumAnswer(stratum.name, len(ones), bad, most, alarm))
    return tuple(answers)


def _agreement(plan: Plan, states: Sequence[ItemState]) -> Agreement:
    """How far the first two readers agree on the items that the plan has read twice, planted ones apart."""
    double = {item.item_id for item in plan.items if item.double and item.planted is None}
    pairs = []
    for state in states:
        # A third reader comes where two differ: to count that reading would show all pairs at odds.
        first = [r for r in state.readings if r.verdict != "skip"][:2]
        if state.item_id in double and len(first) == 2:
            one, other = sorted((r.reviewer, r.verdict == "bad") for r in first)
            pairs.append((one[1], other[1]))
    return agreement(pairs)


def _sensitivity(plan: Plan, states: Sequence[ItemState]) -> Sensitivity:
    """How many of the settled planted faults were noticed; those not settled yet are counted apart."""
    by_id = {state.item_id: state for state in states}
    planted = caught = waiting = 0
    missed: dict[str, int] = {}
    for item in plan.items:
        if item.planted is None:
            continue
        outcome = _outcome(plan, item, by_id[item.item_id])
        if outcome.may_be_bad and not outcome.bad:
            waiting += 1
            continue
        planted += 1
        caught += outcome.bad
        if not outcome.bad:
            missed[item.planted.kind] = missed.get(item.planted.kind, 0) + 1
    at_least = 1 - bound((planted - caught) / planted, planted) if planted else 0.0
    return Sensitivity(planted, caught, at_least, missed, waiting, plan.to_notice)


@dataclass(frozen=True)
class Counts:
    """What the sample comes to."""

    judged: int
    n: int
    bad: int
    unsure: int
    split: int

    def __str__(self) -> str:
        text = f"{self.judged} of {self.n} judged, {self.bad} bad"
        if self.unsure:
            text += f", {self.unsure} unsure" + (f" ({self.split} split)" if self.split else "")
        return text


def _sentence(plan: Plan, state: State, about: Counts, most: float, planted: Sensitivity) -> str:
    """The answer in one sentence, for people; `most` is the bound. Where it is not enough it says what is missing."""
    limit = f"{100 * plan.limit:g} %"
    if state == "pass":
        return f"pass: at most {limit} of the clips are bad ({about}; at most {100 * most:.3g} % with 95 % confidence)"
    if state == "fail":
        return f"fail: more than {limit} of the clips are bad ({about})"
    if most <= plan.limit and not planted.enough:
        total = planted.planted + planted.open
        noticed = f"of {total} planted faults {planted.caught} were noticed, and {planted.needed} must be"
        left = f" ({planted.open} are not settled)" if planted.open else ": who misses them proves nothing"
        return f"not enough: {about}; {noticed}{left}"
    if about.judged < about.n or about.unsure:
        return f"not enough: {about}; at most {100 * most:.3g} % are bad, the limit is {limit}"
    return (
        f"not enough: {about}; at most {100 * most:.3g} % are bad, the limit is {limit}: "
        "mend the data, or plan a larger sample"
    )
