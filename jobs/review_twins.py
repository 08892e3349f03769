"""Clips that a pool's rules only just reject, to hold beside those that are judged: where a threshold bites."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from jobs.pools import Pools
from jobs.tables import origins
from pipeline import recipe as recipes
from pipeline.recipe import Recipe, Rule

ENOUGH = 32
"""Clips that are kept for comparing; a pool of millions is not read to its end for them. Ours."""
A_RULE = 4
"""Of those, how many at most fail the same rule, in each batch of the run's table. Ours."""


@dataclass(frozen=True)
class Near:
    """Finds them in a run's table."""

    pools: Pools
    recipe: Recipe

    def clips(self, without: Collection[str]) -> dict[str, str]:
        """By clip id, why the pool rejects it: the one rule that it fails, by little. None of `without`."""
        found: dict[str, str] = {}
        known = {**origins(self.pools.run.planned), **self.pools.duplicate_origins}
        for batch in self.pools.measured(self.recipe.columns):
            for row in self._rows(batch):
                clip = batch.slice(row, 1)
                name = clip.column("clip_id")[0].as_py()
                if name in without:
                    continue
                (failed,) = (one for one in recipes.explain(self.recipe, clip, known) if not one.passed)
                value = f"{failed.value:.4g}" if isinstance(failed.value, float) else str(failed.value)
                found[name] = f"Near the threshold: {failed.rule} is {value}, wanted {failed.threshold}"
            if len(found) >= ENOUGH:
                break
        return found

    def _rows(self, batch: pa.Table) -> Iterator[int]:
        """Rows that fail one rule alone, for each rule the A_RULE that miss its bound by least."""
        failed = recipes.failures(self.recipe, batch)
        alone = failed.sum(axis=0) == 1
        for rule, fails in zip(self.recipe.rules, failed, strict=True):
            rows = np.flatnonzero(fails & alone)
            if len(rows) and (rule.least is not None or rule.most is not None):
                miss = _miss(rule, batch.column(rule.column).take(pa.array(rows)))
                order = np.argsort(miss, kind="stable")
                yield from rows[order[np.isfinite(miss[order])][:A_RULE]].tolist()


def _miss(rule: Rule, values: pa.ChunkedArray) -> np.ndarray:
    """(n,) how far each value is beyond the rule's bounds; infinite where it is none."""
    numbers = values.cast(pa.float64()).fill_null(np.inf).to_numpy()
    low = -np.inf if rule.least is None else rule.least
    high = np.inf if rule.most is None else rule.most
    return np.where(np.isfinite(numbers), np.maximum(low - numbers, numbers - high), np.inf)


def twin_of(item_id: str, near: Mapping[str, str]) -> str | None:
    """The clip to hold beside this item: always the same one; None where there is none."""
    return sorted(near)[int(item_id, 16) % len(near)] if near else None
