"""Pairs of two lists that are worth the most together: the assignment problem."""

from __future__ import annotations

from collections.abc import Sequence


def best_pairs(worth: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """(row, column) pairs, each of the shorter side in one, whose worths add up to the most; in order of row.

    Shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987): O(n^3), and the same pairs for the same numbers.
    """
    rows, columns = len(worth), len(worth[0]) if worth else 0
    if not rows or not columns:
        return []
    if rows > columns:
        turned = [[worth[row][column] for row in range(rows)] for column in range(columns)]
        return sorted((row, column) for column, row in best_pairs(turned))
    of_row, of_column = [0.0] * (rows + 1), [0.0] * (columns + 1)
    taken_by = [0] * (columns + 1)  # the row of a column, from 1; 0 is none
    for row in range(1, rows + 1):
        before = [0] * (columns + 1)
        least = [float("inf")] * (columns + 1)
        seen = [False] * (columns + 1)
        taken_by[0], column = row, 0
        while taken_by[column]:
            seen[column] = True
            here, step, nearest = taken_by[column], float("inf"), 0
            for other in range(1, columns + 1):
                if seen[other]:
                    continue
                cost = -worth[here - 1][other - 1] - of_row[here] - of_column[other]
                if cost < least[other]:
                    least[other], before[other] = cost, column
                if least[other] < step:
                    step, nearest = least[other], other
            for other in range(columns + 1):
                if seen[other]:
                    of_row[taken_by[other]] += step
                    of_column[other] -= step
                else:
                    least[other] -= step
            column = nearest
        while column:
            taken_by[column], column = taken_by[before[column]], before[column]
    return sorted((row - 1, column - 1) for column, row in enumerate(taken_by) if column and row)
