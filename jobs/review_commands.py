"""What the commands of reviewing do and say: `rushes review`, `gate`, `review-export` and `review-import`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobs.config import ConfigError
from jobs.pools import Pools
from jobs.progress import printable
from jobs.review import Review, Reviews, Standing
from jobs.review_labels import names_of, read_labels, write_labels
from jobs.review_tasks import write_tasks
from jobs.run import Run
from jobs.truth import write_truth
from review import plan as plans
from review.evidence import ENOUGH
from review.gate import Answer, waiting
from review.plan import Settings
from review.reasons import Gate
from review.store import ItemState

MUCH = 1_000_000
"""Evidence beyond this is not told apart."""


def _evidence(value: float) -> str:
    """An e-value in few digits."""
    return f"{value:.3g}" if value < MUCH else f"over {MUCH:,}"


def show(found: Answer) -> str:
    """A gate's answer in lines."""
    about = f"{found.gate} gate" + (f" of {found.pool}" if found.pool else "")
    if found.attempt > 1:
        about += f", sample {found.attempt} of the same clips"
    lines = [
        f"{about}: {found.sentence}",
        f"estimated share of bad ones {found.share:.2%}, at most {found.bound:.2%}"
        f" ({found.effective:.0f} equally weighted items would say as much)",
        f"evidence at any look: {_evidence(found.for_pass)} to pass, {_evidence(found.for_fail)} to fail;"
        f" {ENOUGH:g} settles it",
    ]
    lines += [
        f"  {one.name}: {one.judged} judged, {one.bad} bad, at most {one.bound:.1%}"
        + ("  ABOVE THE LIMIT BY ITSELF" if one.alarm else "")
        for one in found.strata
    ]
    agreed, planted = found.agreement, found.sensitivity
    if found.waiting:
        lines.append(
            f"{found.waiting:,} items wait for another reader: `rushes review` with --reviewer and their name"
        )
    for name, estimate in (
        ("positive agreement", agreed.positive),
        ("AC1", agreed.ac1),
        ("kappa", agreed.kappa),
    ):
        if estimate is not None:
            lines.append(
                f"{name} {estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f}), {agreed.pairs} items"
            )
    if planted.planted:
        lines.append(
            f"planted faults noticed: {planted.caught} of {planted.planted}, so at least {planted.at_least:.0%}"
            + "".join(f"; {count} {kind} missed" for kind, count in sorted(planted.missed.items()))
        )
    if planted.planted and not planted.caught:
        lines.append("the share cannot be corrected for what readers overlook: nothing planted was noticed")
    if found.corrected is not None and found.corrected_bound is not None:
        lines.append(
            f"share if they overlook as much of the rest: {found.corrected:.2%}, at most {found.corrected_bound:.2%}"
        )
    return "\n".join(map(printable, lines))


@dataclass(frozen=True)
class Asked:
    """What `rushes review` was told; None where nothing was said."""

    gate: Gate
    pool: str | None = None
    limit: float | None = None
    expected: float | None = None
    power: float | None = None
    n: int | None = None
    strata: int | None = None
    readers: int | None = None
    rule: plans.Rule | None = None
    seed: int | None = None
    anew: bool = False
    clips: Path | None = None
    several: bool = False
    """More than one person is to review."""

    def settings(self, pool: str, seed: int) -> Settings:
        """The plan's settings. ConfigError: a value makes no sense."""
        plain = Settings(self.gate, pool)
        try:
            return replace(
                plain,
                limit=self.limit,
                expected=self.expected,
                n=self.n,
                power=plain.power if self.power is None else self.power,
                most_strata=plain.most_strata if self.strata is None else self.strata,
                readers=plain.readers if self.readers is None else self.readers,
                double_ratio=plans.DOUBLE if self.several else None,
                rule=self.rule or plain.rule,
                seed=seed if self.seed is None else self.seed,
            )
        except ValueError as error:
            raise ConfigError(str(error)) from None

    @property
    def given(self) -> dict[str, Any]:
        """What was said of values that a plan has."""
        names = ("limit", "expected", "power", "n", "readers", "rule", "seed")
        said = {name: getattr(self, name) for name in names} | {"most_strata": self.strata}
        return {name: value for name, value in said.items() if value is not None}


def begin(run: Run, asked: Asked) -> Review:
    """The review that is asked for, its plan frozen. ConfigError, NotReady or PlanError: it cannot be."""
    reviews = Reviews(Pools(run))
    if asked.clips is not None:
        return reviews.picked(asked.clips, asked.gate, asked.readers or 1)
    pool = reviews.named(asked.gate, asked.pool)
    return reviews.plan(asked.settings(pool, run.config.seed), asked.given, asked.anew)


def about(review: Review) -> str:
    """A plan in lines."""
    plan = review.plan
    planted = sum(item.planted is not None for item in plan.items)
    rejected = sum(item.side == "rejected" for item in plan.items)
    lines = [f"{review.folder}: {len(plan.items)} items"]
    if plan.strata:
        lines[0] += (
            f", {plan.n} of the sample, {rejected} rejected by the rules, {planted} with a planted fault"
        )
        lines += plan.notes
        lines += [f"  {one.name}: {one.drawn} of {one.clips:,}" for one in plan.strata]
    if plan.to_notice:
        lines.append(f"readers must notice {plan.to_notice} of the {planted} planted faults for a pass")
    if plan.attempt > 1:
        lines.append(
            f"this is sample {plan.attempt} of the same clips: the more are drawn, the likelier one passes by luck"
        )
    return "\n".join(map(printable, lines))


def lonely(plan: plans.Plan, states: Sequence[ItemState], reviewers: Sequence[str]) -> str:
    """What nobody here can settle, where only one person reads; empty: nothing of the kind."""
    names = {*reviewers, *(one.reviewer for state in states for one in state.readings)}
    twice = plan.readers > 1 or any(item.double for item in plan.items)
    if not plan.strata or not twice or len(names) > 1:
        return ""
    sentence = "one reader cannot settle every clip of this gate: name a second with --reviewer"
    count = waiting(plan, states)
    return f"{sentence} ({count:,} items wait for them)" if count else sentence


def serve(run: Run, review: Review, reviewers: Sequence[str], port: int, browser: bool) -> None:
    """The page, until it is stopped. ConfigError: it cannot be served here."""
    try:
        from jobs.review_serve import sit
        from review.serve import ServeError
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise ConfigError(f"the page needs {error.name}: pip install '.[review]'") from None
    with review.open() as store:
        lacks = lonely(review.plan, store.states(), reviewers)
        if lacks:
            run.progress.say(lacks)
        try:
            sit(run, review.plan, store, review.folder, reviewers, port, browser, run.progress.say)
        except ServeError as error:
            raise ConfigError(str(error)) from None


def conclude(run: Run, gate: Gate, pool: str | None) -> tuple[Answer, Standing]:
    """The answer of a gate's plan, and what all its samples come to for the run as it is now."""
    reviews = Reviews(Pools(run))
    named = reviews.named(gate, pool)
    found = reviews.answer(gate, named)
    return found, reviews.standing(gate, named)


def exported(
    run: Run,
    gate: Gate | None,
    pool: str | None,
    file: Path,
    truth: bool = False,
    previews: Path | None = None,
) -> str:
    """Writes a review's verdicts (`truth`: the captions that it makes true) to a file; a sentence about it."""
    tasks = file.suffix == ".json" and not truth
    if previews is not None and not tasks:
        raise ConfigError(f"--previews is for the tasks of Label Studio, a .json file: not for {file}")
    reviews = Reviews(Pools(run))
    review = reviews.one(gate, pool)
    if tasks:
        return write_tasks(run, review, file, previews)
    if truth:
        found = write_truth(reviews, review, file)
        confirmed = len(found.rows) - found.corrected
        late = (
            f"; {found.outdated} called good are left out: captions were made anew" if found.outdated else ""
        )
        return f"{file}: {found.corrected} captions corrected and {confirmed} confirmed{late}"
    return f"{file}: {write_labels(review, file)} of {review.folder.name}"


def imported(
    run: Run, gate: Gate | None, pool: str | None, file: Path, reviewers: Sequence[str]
) -> tuple[list[str], bool]:
    """Takes a file's verdicts into a review; sentences about it, and whether a row was refused."""
    names = names_of(reviewers)
    found = read_labels(Reviews(Pools(run)).one(gate, pool), file, names, time.time())
    return [
        *map(printable, found.refused),
        f"{found.taken} taken, {found.known} there already, {len(found.refused)} refused",
    ], bool(found.refused)
