"""`rushes tune`: thresholds that labels would support, as a table and as lines for a recipe. It changes nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.config import ConfigError
from jobs.labels import Label
from pipeline import recipe as recipes
from pipeline.recipe import Recipe, Rule
from pipeline.tuning import CONFIDENCE, Flags, Floats, Operator, Point, Tuned, tune

NOT_TUNED = ("duplicate_rank",)
"""Which copy stands for the others: that is not more or less of anything."""


@dataclass(frozen=True)
class Tuning:
    """One threshold of one rule, tuned with all other rules as they are."""

    rule: Rule
    tuned: Tuned
    reasons: tuple[tuple[str, int], ...]
    """Of the bad clips that the suggested threshold keeps (the present one where none is suggested), the most often
    given first."""


@dataclass(frozen=True)
class Proposal:
    """What labels say of a recipe's thresholds."""

    recipe: Recipe
    limit: float
    clips: int
    """Labelled clips of this run."""
    bad: int
    elsewhere: int
    """Labelled clips that this run does not have."""
    tunings: tuple[Tuning, ...]


def propose(
    recipe: Recipe, batches: Iterable[pa.Table], known: Mapping[str, Label], column: str | None, limit: float
) -> Proposal:
    """Tunes each numeric threshold of a recipe, or those of one column; `batches` have the recipe's columns."""
    wanted = [
        (number, rule, operator)
        for number, rule in enumerate(recipe.rules)
        for operator in _operators(rule)
        if column in (None, rule.column) and not _superseded(rule, operator, recipe.rules[number + 1 :])
    ]
    if not wanted:
        about = "with a number" if column is None else f"with a number about {column}"
        raise ConfigError(f"{recipe.name} has no rule {about}; its columns are {', '.join(recipe.columns)}")
    ids = pa.array(sorted(known), pa.string())
    rows = [
        batch.filter(pc.is_in(batch.column("clip_id"), value_set=ids)).select(["clip_id", *recipe.columns])
        for batch in batches
    ]
    if not sum(found.num_rows for found in rows):
        raise ConfigError(f"none of the {len(known)} labelled clips is in this run")
    table = pa.concat_tables(rows)
    of_rows = [known[clip_id] for clip_id in table.column("clip_id").to_pylist()]
    failed = recipes.failures(recipe, table)
    tunings = tuple(
        _tuning(table, of_rows, failed, number, rule, operator, limit) for number, rule, operator in wanted
    )
    bad = sum(label.bad for label in of_rows)
    return Proposal(recipe, limit, len(of_rows), bad, len(known) - len(of_rows), tunings)


def _operators(rule: Rule) -> list[Operator]:
    if rule.column in NOT_TUNED:
        return []
    found: list[Operator] = []
    if rule.least is not None:
        found.append("min")
    if rule.most is not None:
        found.append("max")
    return found


def _superseded(rule: Rule, operator: Operator, later: Sequence[Rule]) -> bool:
    """Whether a pool further in asks for as much or more, so that this threshold decides nothing here."""
    for other in later:
        if other.column == rule.column and other.applies in ("all", rule.applies):
            low, high = (rule.least, other.least) if operator == "min" else (other.most, rule.most)
            if low is not None and high is not None and low <= high:
                return True
    return False


def _tuning(
    table: pa.Table,
    labels: list[Label],
    failed: Flags,
    number: int,
    rule: Rule,
    operator: Operator,
    limit: float,
) -> Tuning:
    """One threshold over the labelled clips that the rule is for and that all other rules pass."""
    held = ~np.delete(failed, number, axis=0).any(axis=0) & _applies(table, rule)
    values = _numbers(table.column(rule.column))
    if rule.least is not None and rule.most is not None:  # the other end of the same rule stays as it is
        held &= values <= rule.most if operator == "min" else values >= rule.least
    bad = np.asarray([label.bad for label in labels], np.bool_)
    weights = np.asarray([1 / label.inclusion for label in labels], np.float64)
    now = rule.least if operator == "min" else rule.most
    assert now is not None  # this operator is in the rule
    tuned = tune(values[held], bad[held], weights[held], operator, float(now), limit)
    at = (tuned.chosen or tuned.now).threshold
    kept = held & bad & (values >= at if operator == "min" else values <= at)
    reasons = Counter(reason for index in np.flatnonzero(kept) for reason in set(labels[index].reasons))
    most_first = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return Tuning(rule, tuned, tuple(most_first))


def _applies(table: pa.Table, rule: Rule) -> Flags:
    if rule.applies == "all":
        return np.ones(table.num_rows, np.bool_)
    kind: Flags = pc.equal(table.column("is_image"), rule.applies == "image").fill_null(True).to_numpy()
    return kind


def _numbers(column: pa.ChunkedArray) -> Floats:
    numbers: npt.NDArray[np.float64] = column.cast(pa.float64()).to_numpy()  # null becomes NaN
    return numbers


# --- what is shown


HEADINGS = ("rule", "labels", "now", "bad kept", "suggested", "bad kept", "kept", "precision", "recall")


def show(proposal: Proposal, every: bool = False) -> str:
    """The table, why nothing is suggested where it is so, and lines for recipes; `every`: each threshold tried."""
    lines = [
        f"{proposal.clips:,} labelled clips, {proposal.bad:,} of them bad; "
        f"of what is kept at most {_percent(proposal.limit)} may be bad, with 95 % confidence"
    ]
    if proposal.elsewhere:
        lines.append(f"{proposal.elsewhere:,} more are labelled that this run does not have")
    lines += ["", *_aligned([HEADINGS, *map(_row, proposal.tunings)])]
    for tuning in proposal.tunings:
        if tuning.tuned.chosen is None:
            lines.append(f"no suggestion for {_name(tuning)}: {tuning.tuned.why}")
        if tuning.reasons:
            said = ", ".join(f"{reason} {count}" for reason, count in tuning.reasons[:5])
            lines.append(f"bad and kept by {_name(tuning)}, for: {said}")
        if every:
            tried = [_tried(tuning.tuned, point) for point in tuning.tuned.points]
            lines += ["", *_aligned([("threshold", *HEADINGS[1:2], *HEADINGS[5:]), *tried])]
    snippet = toml(proposal)
    if snippet:
        lines += ["", "# A rule at a time, the others as they are; then label a fresh sample.", snippet]
    return "\n".join(lines)


def _row(tuning: Tuning) -> tuple[str, ...]:
    now, chosen = tuning.tuned.now, tuning.tuned.chosen
    operator = tuning.tuned.operator
    labels = max([now.labels, *(point.labels for point in tuning.tuned.points)])
    first = (_name(tuning), f"{labels:,}", f"{operator} {now.threshold:g}", _bad(now))
    if chosen is None:
        return (*first, "none", "", "", "", "")
    return (*first, f"{operator} {chosen.threshold:g}", _bad(chosen), *_worth(chosen))


def _tried(tuned: Tuned, point: Point) -> tuple[str, ...]:
    mark = " <-" if point == tuned.chosen else ""
    threshold = f"{tuned.operator} {point.threshold:g}{mark}"
    return (threshold, f"{point.labels:,}", _bad(point), *_worth(point))


def _worth(point: Point) -> tuple[str, str, str]:
    return _percent(point.kept_share), _percent(point.precision), _percent(point.recall)


def _name(tuning: Tuning) -> str:
    return tuning.rule.name


def _bad(point: Point) -> str:
    return f"{_percent(point.bad_share)} (at most {_percent(point.bound)})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.3g} %"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def toml(proposal: Proposal) -> str:
    """The suggested thresholds that differ from the present ones, as lines for the recipes that have the rules."""
    lines: list[str] = []
    heading = ""
    for tuning in proposal.tunings:
        rule, chosen = tuning.rule, tuning.tuned.chosen
        if chosen is None or chosen.threshold == tuning.tuned.now.threshold:
            continue
        table = "[keep]" if rule.applies == "all" else f"[keep.{rule.applies}]"
        if heading != f"# {rule.pool}\n{table}":
            heading = f"# {rule.pool}\n{table}"
            lines.append(heading)
        least, most = rule.least, rule.most
        if tuning.tuned.operator == "min":
            least = chosen.threshold
        else:
            most = chosen.threshold
        lines.append(f"{_line(replace(rule, least=least, most=most))}  # bad among the kept: {_bad(chosen)}")
    return "\n".join(lines)


def _line(rule: Rule) -> str:
    operators = [
        f"{name} = {value:g}"
        for name, value in (("min", rule.least), ("max", rule.most))
        if value is not None
    ]
    return f"{rule.column} = {{ {', '.join(operators)} }}"


def as_json(proposal: Proposal) -> str:
    """The same, whole, for programs."""
    rules = [
        {
            "rule": tuning.rule.name,
            "pool": tuning.rule.pool,
            "column": tuning.rule.column,
            "applies": tuning.rule.applies,
            **_plain(tuning.tuned),
            "reasons": dict(tuning.reasons),
        }
        for tuning in proposal.tunings
    ]
    whole = {
        "recipe": proposal.recipe.name,
        "limit": proposal.limit,
        "confidence": CONFIDENCE,
        "labels": {"clips": proposal.clips, "bad": proposal.bad, "elsewhere": proposal.elsewhere},
        "rules": rules,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)


def _plain(tuned: Tuned) -> dict[str, Any]:
    found = asdict(tuned)
    return {"suggested": found.pop("chosen"), **found}
