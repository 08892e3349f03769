"""docs/promises.md says what is there: every promise has tests, every figure a promise, and the table is current."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from benchmarks.promises import FIGURES, PAGE, Figure, Promise, figures, merged, page, promises, table

TESTS = Path(__file__).parents[1]
PROMISES = promises()


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_bytes())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.says[:40])
def test_every_test_of_a_promise_exists(promise: Promise) -> None:
    assert promise.tests
    assert promise.says.endswith(".")
    assert promise.limits.endswith(".")
    assert "|" not in promise.says + promise.limits
    for test in promise.tests:
        file, _, function = test.partition("::")
        assert (TESTS / file).is_file(), test
        assert not function or function in functions(TESTS / file), test


def test_every_test_of_the_promises_holds_one() -> None:
    """A test file of tests/promises is named by a promise at least once."""
    named = {test.partition("::")[0] for promise in PROMISES for test in promise.tests}
    files = {f"promises/{path.name}" for path in (TESTS / "promises").glob("test_*.py")}
    assert files - {"promises/test_page.py"} <= named


def test_every_figure_belongs_to_a_promise_and_is_of_a_test_that_exists() -> None:
    for one in figures():
        assert sum(promise.owns(one.promise) for promise in PROMISES) == 1, one.promise
        file, _, function = one.test.removeprefix("tests/").partition("::")
        assert function.partition("[")[0] in functions(TESTS / file), one.test


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.says[:40])
def test_every_promise_is_measured_or_held_by_every_run_of_the_tests(promise: Promise) -> None:
    """A row that names figures has one; one that names none says so, and has no test that is seldom run."""
    if promise.figures:
        assert any(promise.owns(figure.promise) for figure in figures()), "run: make promises"
    else:
        assert [test for test in promise.tests if is_seldom_run(test)] == []


def is_seldom_run(test: str) -> bool:
    """Has a test of the promises the mark of those that `make test` leaves out?"""
    file, _, function = test.partition("::")
    tree = ast.parse((TESTS / file).read_bytes())
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    return any("mark.promise" in ast.unparse(mark) for node in found for mark in node.decorator_list)


def test_a_test_that_is_seldom_run_is_seen() -> None:
    assert is_seldom_run("promises/test_corruption.py::test_a_flip_in_any_table_or_ledger_entry_is_found")
    assert not is_seldom_run("promises/test_corruption.py::test_damage_and_changes_are_found")


def test_the_page_is_what_the_figures_make_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, PROMISES, figures()) == text, "run: python -m benchmarks.promises"
    assert FIGURES.is_file()


def test_a_new_figure_takes_the_place_of_the_older_one() -> None:
    old = [Figure("a", "t::x", "1", "2026-01-01"), Figure("a", "t::y", "2", "2026-01-01")]
    new = json.dumps({"promise": "a", "test": "t::x", "figure": "3"})
    found = merged(old, [new], "2026-01-02")
    assert found == [Figure("a", "t::x", "3", "2026-01-02"), Figure("a", "t::y", "2", "2026-01-01")]
    promise = Promise("It works.", "Never.", ("t::x",), ("a",))
    row = table([promise], found).splitlines()[-1]
    assert row == "| It works. | Never. | `t::x` | a: 3 (2026-01-02)<br>a: 2 (2026-01-01) |"
