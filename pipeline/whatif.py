"""What recipes do to a table of measurements, counted: the funnel of one, the difference between two.

Reads columns only, batch by batch, so that 10^7 clips take seconds and no media is opened. Seconds are summed
as whole microseconds, so that the sums do not depend on how the table is cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.recipe import ROWS_A_STEP, Recipe, Rule, failures


@dataclass(frozen=True)
class Tally:
    """A number of clips and how long they last together."""

    clips: int = 0
    microseconds: int = 0

    @property
    def seconds(self) -> float:
        return self.microseconds / 1e6

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.clips + other.clips, self.microseconds + other.microseconds)


@dataclass(frozen=True)
class RuleTally:
    """What one rule drops, seen in three ways."""

    rule: str
    threshold: str
    first: Tally = Tally()
    """Dropped here by the rules in order: these add up to all that is dropped."""
    failed: Tally = Tally()
    """Fail this rule, whatever the others say."""
    only: Tally = Tally()
    """Fail this rule alone: what would come back without it."""
    missing: Tally = Tally()
    """Fail it because there is no value: the stage failed or has not run on these clips."""

    def __add__(self, other: RuleTally) -> RuleTally:
        return RuleTally(
            self.rule,
            self.threshold,
            self.first + other.first,
            self.failed + other.failed,
            self.only + other.only,
            self.missing + other.missing,
        )


@dataclass(frozen=True)
class Funnel:
    """All clips, what each pool keeps of them (the widest first), and what each rule drops."""

    total: Tally
    pools: tuple[tuple[str, Tally], ...]
    rules: tuple[RuleTally, ...]

    @property
    def kept(self) -> Tally:
        return self.pools[-1][1]


def funnel(recipe: Recipe, batches: Iterable[pa.Table]) -> Funnel:
    """The funnel over tables that have `duration_s` and `recipe.columns`. RecipeError as recipe.check."""
    total = Tally()
    pools = [Tally()] * len(recipe.pools)
    rules = [RuleTally(rule.name, rule.threshold) for rule in recipe.rules]
    for step in _steps(batches):
        lengths = _microseconds(step)
        failed = failures(recipe, step)
        total += _tally(np.ones(len(lengths), dtype=np.bool_), lengths)
        pools = [old + _tally(kept, lengths) for old, kept in zip(pools, _kept(recipe, failed), strict=True)]
        rules = [
            old + new for old, new in zip(rules, _rule_tallies(recipe, step, failed, lengths), strict=True)
        ]
    names = [pool.name for pool in recipe.pools]
    return Funnel(total, tuple(zip(names, pools, strict=True)), tuple(rules))


@dataclass(frozen=True)
class PoolChange:
    """One pool under both recipes; `gained` and `lost` are the clips that only one of them keeps."""

    pool: str
    before: Tally = Tally()
    after: Tally = Tally()
    gained: Tally = Tally()
    lost: Tally = Tally()

    def __add__(self, other: PoolChange) -> PoolChange:
        return PoolChange(
            self.pool,
            self.before + other.before,
            self.after + other.after,
            self.gained + other.gained,
            self.lost + other.lost,
        )


@dataclass(frozen=True)
class RuleChange:
    """What one rule fails before and after; the threshold is None where the recipe does not have the rule."""

    rule: str
    before_threshold: str | None
    after_threshold: str | None
    before: Tally = Tally()
    after: Tally = Tally()


@dataclass(frozen=True)
class WhatIf:
    """The difference that the second recipe would make."""

    total: Tally
    pools: tuple[PoolChange, ...]
    rules: tuple[RuleChange, ...]

    @property
    def final(self) -> PoolChange:
        """The change of the two recipes' own pools, the last of each chain."""
        return self.pools[-1]


def whatif(before: Recipe, after: Recipe, batches: Iterable[pa.Table]) -> WhatIf:
    """What changes when `after` is used instead of `before`; the tables have `duration_s` and both's columns.

    The two recipes' own pools are compared with each other, whatever their names, and shown under the first's
    name; the pools around them are compared by name, and those that only one of them has are left out.
    """
    pairs = _pool_pairs(before, after)
    changes = [PoolChange(before.pools[index].name) for index, _ in pairs]
    total = Tally()
    old_fails = [Tally()] * len(before.rules)
    new_fails = [Tally()] * len(after.rules)
    for step in _steps(batches):
        lengths = _microseconds(step)
        total += _tally(np.ones(len(lengths), dtype=np.bool_), lengths)
        old_failed, new_failed = failures(before, step), failures(after, step)
        old_kept, new_kept = _kept(before, old_failed), _kept(after, new_failed)
        for number, (old_index, new_index) in enumerate(pairs):
            old, new = old_kept[old_index], new_kept[new_index]
            masks = (old, new, new & ~old, old & ~new)
            changes[number] += PoolChange(changes[number].pool, *(_tally(mask, lengths) for mask in masks))
        old_fails = [tally + _tally(row, lengths) for tally, row in zip(old_fails, old_failed, strict=True)]
        new_fails = [tally + _tally(row, lengths) for tally, row in zip(new_fails, new_failed, strict=True)]
    return WhatIf(total, tuple(changes), tuple(_rule_changes(before, after, old_fails, new_fails)))


def _pool_pairs(before: Recipe, after: Recipe) -> list[tuple[int, int]]:
    """Positions in `pools` of the pools to compare, the recipes' own last."""
    names = [pool.name for pool in after.pools[:-1]]
    outer = [(i, names.index(pool.name)) for i, pool in enumerate(before.pools[:-1]) if pool.name in names]
    return [*outer, (len(before.pools) - 1, len(after.pools) - 1)]


def _rule_changes(
    before: Recipe, after: Recipe, old_fails: list[Tally], new_fails: list[Tally]
) -> Iterable[RuleChange]:
    """One a rule: those of `before` in order, then those that `after` adds."""

    def shown(rule: Rule) -> str:
        """The name, with the second recipe's own pool called as the first's."""
        if rule.pool != after.name:
            return rule.name
        return ".".join((before.name, *rule.name.split(".", 1)[1:]))

    new = {shown(rule): (rule, tally) for rule, tally in zip(after.rules, new_fails, strict=True)}
    for rule, tally in zip(before.rules, old_fails, strict=True):
        other, other_tally = new.pop(rule.name, (None, Tally()))
        yield RuleChange(rule.name, rule.threshold, other.threshold if other else None, tally, other_tally)
    for name, (rule, tally) in new.items():
        yield RuleChange(name, None, rule.threshold, Tally(), tally)


def _rule_tallies(
    recipe: Recipe, step: pa.Table, failed: npt.NDArray[np.bool_], lengths: npt.NDArray[np.int64]
) -> Iterable[RuleTally]:
    alone = failed.sum(axis=0) == 1
    open_still = np.ones(len(lengths), dtype=np.bool_)
    for rule, fails in zip(recipe.rules, failed, strict=True):
        column = step.column(rule.column)
        missing = column.is_null(nan_is_null=True).to_numpy() & fails
        yield RuleTally(
            rule.name,
            rule.threshold,
            _tally(fails & open_still, lengths),
            _tally(fails, lengths),
            _tally(fails & alone, lengths),
            _tally(missing, lengths),
        )
        open_still &= ~fails


def _kept(recipe: Recipe, failed: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    """One mask a pool, the widest first: the clips that fail none of the rules so far."""
    masks = []
    kept = np.ones(failed.shape[1], dtype=np.bool_)
    start = 0
    for pool in recipe.pools:
        kept = kept & ~failed[start : start + len(pool.own)].any(axis=0)
        start += len(pool.own)
        masks.append(kept)
    return masks


def _steps(batches: Iterable[pa.Table]) -> Iterable[pa.Table]:
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS_A_STEP):
            yield batch.slice(start, ROWS_A_STEP)


def _microseconds(table: pa.Table) -> npt.NDArray[np.int64]:
    """Each clip's length; 0 where it is not known."""
    seconds: npt.NDArray[np.float64] = table.column("duration_s").cast(pa.float64()).fill_null(0.0).to_numpy()
    whole: npt.NDArray[np.int64] = np.rint(seconds * 1e6).astype(np.int64)
    return whole


def _tally(mask: npt.NDArray[np.bool_], lengths: npt.NDArray[np.int64]) -> Tally:
    return Tally(int(np.count_nonzero(mask)), int(lengths[mask].sum()))
