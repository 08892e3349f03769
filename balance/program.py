"""How many clips of each cell stay: the most that the wanted shares allow, and of all ways to keep them the most even.

With x the clips kept of each cell and T their sum, a share within its bounds is linear: low T <= sum of x <= high T.

1. The largest T (a linear program, HiGHS): of distinct clips; a copy, where copies are allowed, costs COPY_COST.
2. Where no T of at least the wanted volume is possible, the bounds are first widened, at that volume, by as little as
   can be: the worst excess is made as small as possible, then the next worst, and so on (lexicographic minimax).
3. Of all x with that T, the one that thins the cells most alike: least sum of x**2 / count, by its dual, and the
   smallest correction (a linear program again) that makes it exact. A corner of step 1 would drop whole cells.

Ceilings that the whole pool keeps are left out until an answer breaks them: of a hundred thousand sources few ever do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from balance.cells import Cells, Floats, Wanted, grouped, membership

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SCALE = 1e4
"""Clips of the whole pool in the units of the programs, whose absolute tolerance is 1e-7."""
COPY_COST = 1e-3
"""Distinct clips that a copy must bring in to be worth it. Ours."""
ROUNDS = 40
"""Bounds that are widened one after the other before all that are left get the same. Ours."""
LEAST_RATIO = 1e-3
"""Part of the pool at which bounds are widened where the recipe asks for no volume. Ours."""
RELUCTANCE = 2.0
"""How much more uneven cells become before one has copies. Ours."""
SLACK = 1e-9
"""What rounding may add to a share, to a price, and to a number of clips as a part of the pool. Ours."""
SOLVED, IMPOSSIBLE = 0, 2
"""Answers of scipy.optimize.linprog."""


@dataclass(frozen=True)
class Program:
    """The cells as columns; clips are counted in units of which the whole pool has SCALE."""

    counts: Floats
    """(columns,) clips of each."""
    most: Floats
    """(columns,) the largest x."""
    rows: csr_array
    """(bounds, columns) the part of a column that has the label."""
    low: Floats
    high: Floats
    """(bounds,) shares."""

    def only(self, held: npt.NDArray[np.bool_]) -> Program:
        """With these bounds alone."""
        return replace(self, rows=self.rows[held], low=self.low[held], high=self.high[held])


def solve(cells: Cells, wanted: Wanted, min_kept_ratio: float = 0.0, repeat: float = 1.0) -> Floats:
    """(cells,) how many clips of each cell stay, not yet whole.

    `min_kept_ratio` is the least share of all clips that stays, 0 to 1: where the bounds allow fewer, they are widened.
    With `repeat` above 1 a cell may have more clips than it holds, up to that many times. Raises RuntimeError: a
    program could not be solved.
    """
    column = grouped(cells)
    whole = np.bincount(column, cells.counts)
    unit = SCALE / cells.counts.sum()
    most = np.floor(whole * repeat) * unit
    program = Program(whole * unit, most, membership(cells, column, wanted), wanted.low, wanted.high)
    least = min(min_kept_ratio * SCALE, program.counts.sum())
    held = (program.low > 0) | (program.rows @ program.counts > program.high * SCALE)
    while True:
        kept = _solved(program.only(held), least, unit)
        broken = ~held & (program.rows @ kept > (program.high + SLACK) * kept.sum() + SLACK * SCALE)
        if not broken.any():
            return np.asarray(cells.counts * (kept / program.counts)[column])
        held |= broken


def _solved(program: Program, least: float, unit: float) -> Floats:
    """(columns,) the x of the three steps, of a sum of at least `least`; `unit` is one clip. Both as Program counts."""
    total, program = _largest(program, least, unit)
    return _exact(program, _most_even(program, total), total)


def _largest(program: Program, least: float, unit: float) -> tuple[float, Program]:
    """The T of the most clips, at least `least`, and the program with bounds widened where they had to be: where there
    is no such T, or one of less than half a clip. `unit` is one clip; all three as Program counts."""
    total = _max_total(program, least)
    if total is not None and total >= unit / 2:
        return total, program
    least = max(least, LEAST_RATIO * SCALE)
    widened = _widened(program, least)
    total = _max_total(widened, least * (1 - SLACK))
    if total is None:
        raise RuntimeError("bounds that were widened to hold a volume do not hold it")
    return total, widened


def _max_total(program: Program, least: float) -> float | None:
    """The T of the most clips, at least `least`; None where the bounds allow none."""
    from scipy.sparse import csr_array, hstack, vstack

    columns = len(program.counts)
    copies = program.most - program.counts
    copied = bool((copies > 0).any())
    rows = hstack([program.rows, program.rows]) if copied else program.rows
    every = np.ones((1, rows.shape[1]))
    bounds = vstack(
        [
            hstack([rows, csr_array(-program.high[:, None])]),
            hstack([-rows, csr_array(program.low[:, None])]),
        ]
    )
    upper = np.concatenate([program.counts, copies if copied else [], [program.most.sum()]])
    cost = np.concatenate([-np.ones(columns), np.full(columns, COPY_COST) if copied else [], [0.0]])
    sums = np.concatenate([every, [[-1.0]]], axis=1)
    lower = np.append(np.zeros(len(upper) - 1), least)
    found = _linear(cost, bounds, np.zeros(bounds.shape[0]), sums, [0.0], upper, lower)
    return None if found.x is None else float(found.x[-1])


def _widened(program: Program, total: float) -> Program:
    """The program with bounds that can be met at this T: widened by as little as can be, the worst first."""
    from scipy.sparse import csr_array, hstack, vstack

    rows = vstack([program.rows, -program.rows])
    limit = np.concatenate([program.high, -program.low])
    free = np.ones(len(limit), np.bool_)
    excess = 0.0
    for _ in range(ROUNDS):
        bounds = hstack([rows, csr_array(-free[:, None].astype(np.float64))])
        every = np.append(np.ones(len(program.counts)), 0.0)[None]
        cost = np.append(np.zeros(len(program.counts)), 1.0)
        found = _linear(cost, bounds, limit * total, every, [total], np.append(program.most, total))
        excess = float(found.x[-1])
        binding = free & (found.ineqlin.marginals < -SLACK)
        if excess <= SLACK * total or not binding.any():
            break
        limit = np.where(binding, limit + excess / total + SLACK, limit)
        free &= ~binding
        if not free.any():
            break
    limit = np.where(free, limit + excess / total, limit) + SLACK
    half = len(limit) // 2
    return replace(program, high=limit[:half], low=-limit[half:])


def _most_even(program: Program, total: float) -> Floats:
    """(columns,) about the x of sum `total` within the bounds that thins all columns most alike; `_exact` mends it.

    With u the part of a column's clips that stays and v the part that is there again as copies, it minimises the sum of
    counts (u**2 / 2 + (1 + RELUCTANCE) v + v**2 / 2) over 0 <= u <= 1 and 0 <= v <= copies, where x = counts (u + v),
    low T <= rows x <= high T, and the sum of x is T. It goes by the Lagrangian dual (`_Dual`) and L-BFGS-B.
    """
    from scipy.optimize import minimize

    rows, counts, share = program.rows, program.counts / SCALE, total / SCALE
    copies = program.most / program.counts - 1
    dual = _Dual(rows, rows.T.tocsr(), counts, copies, program.low * share, program.high * share, share)
    # the curvature of the dual along a price is at most the clips that it is asked of: prices are measured by its root
    sizes = np.sqrt(rows @ counts)
    unit = np.concatenate([1 / sizes, 1 / sizes, [1.0]])

    def scaled(prices: Floats) -> tuple[float, Floats]:
        value, slope = dual.at(prices * unit)
        return value, slope * unit

    start = np.zeros(len(unit))
    start[-1] = share
    box = [(0.0, None)] * (len(unit) - 1) + [(None, None)]
    options = {"maxiter": 300, "maxfun": 600, "ftol": 1e-12, "gtol": 1e-9, "maxcor": 30}
    found = minimize(scaled, start, jac=True, method="L-BFGS-B", bounds=box, options=options)
    _, once, again = dual.parts(found.x * unit)
    return np.asarray(program.counts * (once + again))


@dataclass(frozen=True)
class _Dual:
    """The Lagrangian dual of `_most_even`, negated so that it is minimised; the whole pool is 1 here.

    `prices` are its (2 bounds + 1,) multipliers: of the lower bounds and of the upper ones, 0 or more each, and of the
    sum, of any sign.
    """

    rows: csr_array
    """(bounds, columns)"""
    across: csr_array
    """`rows` transposed."""
    counts: Floats
    """(columns,) parts of the pool."""
    copies: Floats
    """(columns,) the largest v."""
    low: Floats
    high: Floats
    """(bounds,) parts of the pool: shares of T."""
    share: float
    """T, as a part of the pool."""

    def parts(self, prices: Floats) -> tuple[Floats, Floats, Floats]:
        """(columns,) each: what a clip earns at these prices, and the u and v that are best for it."""
        size = len(self.low)
        pull = self.across @ (prices[:size] - prices[size:-1]) + prices[-1]
        return pull, np.clip(pull, 0, 1), np.clip(pull - 1 - RELUCTANCE, 0, self.copies)

    def at(self, prices: Floats) -> tuple[float, Floats]:
        """Its value, and its slope along each price."""
        size = len(self.low)
        pull, once, again = self.parts(prices)
        x = self.counts * (once + again)
        gain = pull * once - once**2 / 2 + (pull - 1 - RELUCTANCE) * again - again**2 / 2
        value = (
            self.counts @ gain
            - self.low @ prices[:size]
            + self.high @ prices[size:-1]
            - self.share * prices[-1]
        )
        margins = self.rows @ x
        return float(value), np.concatenate([margins - self.low, self.high - margins, [x.sum() - self.share]])


def _exact(program: Program, near: Floats, total: float) -> Floats:
    """(columns,) the x of sum `total` within the bounds that is nearest to `near`."""
    from scipy.sparse import hstack, vstack

    bounds = vstack([program.rows, -program.rows])
    limit = np.concatenate([program.high, -program.low]) * total + SLACK * SCALE
    if (bounds @ near <= limit).all() and abs(near.sum() - total) <= SLACK * SCALE:
        return near
    upper = np.concatenate([np.maximum(program.most - near, 0), near])
    every = np.concatenate([np.ones(len(near)), -np.ones(len(near))])[None]
    found = _linear(
        np.ones(2 * len(near)),
        hstack([bounds, -bounds]),
        limit - bounds @ near,
        every,
        [total - near.sum()],
        upper,
    )
    if found.x is None:
        raise RuntimeError("bounds that hold a volume do not hold it any more")
    more, less = np.split(found.x, 2)
    return np.asarray(np.clip(near + more - less, 0, program.most))


def _linear(
    c: Floats,
    a_ub: Any,
    b_ub: Floats,
    a_eq: Floats,
    b_eq: list[float],
    upper: Floats,
    lower: Floats | None = None,
) -> Any:
    """The x in [lower, upper] of least c x with a_ub x <= b_ub and a_eq x = b_eq, as scipy's linprog names them.

    It is linprog's own result: `x` is None where there is none. RuntimeError: the solver gave up.
    """
    from scipy.optimize import linprog

    # the dual simplex takes one thread and gives the same corner every time
    found = linprog(
        c,
        A_ub=a_ub.tocsr(),
        b_ub=b_ub,
        A_eq=a_eq,
        b_eq=b_eq,
        bounds=np.stack([np.zeros(len(upper)) if lower is None else lower, upper], axis=1),
        method="highs-ds",
    )
    if found.status not in (SOLVED, IMPOSSIBLE):
        raise RuntimeError(f"the linear program of a balance was not solved: {found.message}")
    return found
