"""The table of docs/promises.md: what tests/promises/promises.toml promises, and the figures last measured.

`python -m benchmarks.promises RECORDS` takes in what `pytest --promises-record RECORDS` wrote, and writes the page;
without RECORDS the page is written from the figures that are there.
"""

from __future__ import annotations

import datetime
import json
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "tests" / "promises" / "promises.toml"
FIGURES = ROOT / "docs" / "promises.jsonl"
PAGE = ROOT / "docs" / "promises.md"
BEGIN, END = "<!-- written by `make promises` -->", "<!-- end -->"


@dataclass(frozen=True)
class Promise:
    """One promise: a sentence, where it ends, what holds it, and how its figures are called."""

    says: str
    limits: str
    tests: Sequence[str]
    """Below tests/: `promises/test_a.py::test_b`, or a whole file."""
    figures: Sequence[str] = ()
    """How the names of its figures begin."""

    def owns(self, name: str) -> bool:
        """Is a figure of this name one of its own?"""
        return name.startswith(tuple(self.figures))


@dataclass(frozen=True, order=True)
class Figure:
    """What one test measured last."""

    promise: str
    test: str
    """pytest's name of it, from the repository's root."""
    figure: str
    date: str
    """ISO 8601."""


def promises(source: Path = SOURCE) -> list[Promise]:
    """The promises in the file's order. TypeError: a table with an unknown or missing key."""
    tables = tomllib.loads(source.read_text(encoding="utf-8"))["promise"]
    return [Promise(**table) for table in tables]


def figures(path: Path = FIGURES) -> list[Figure]:
    """The figures that are kept, sorted."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sorted(Figure(**json.loads(line)) for line in lines)


def merged(kept: Iterable[Figure], records: Sequence[str], date: str) -> list[Figure]:
    """The figures with those of new records, one JSON object a line, each in place of the same test's older one."""
    new = [Figure(**json.loads(line), date=date) for line in records]
    found = {(one.promise, one.test): one for one in (*kept, *new)}
    return sorted(found.values())


def table(listed: Sequence[Promise], measured: Sequence[Figure]) -> str:
    """The Markdown table."""
    lines = ["| promise | limits | held by | last measured |", "| --- | --- | --- | --- |"]
    for promise in listed:
        tests = "<br>".join(f"`{test}`" for test in promise.tests)
        own = [one for one in measured if promise.owns(one.promise)]
        said = "<br>".join(f"{one.promise}: {one.figure} ({one.date})" for one in own).replace("|", "/")
        bare = "not measured yet" if promise.figures else "by every run of the tests"
        lines.append(f"| {promise.says} | {promise.limits} | {tests} | {said or bare} |")
    return "\n".join(lines)


def page(text: str, listed: Sequence[Promise], measured: Sequence[Figure]) -> str:
    """The page with the table between its markers made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(listed, measured)}\n\n{END}{after}"


def main(arguments: Sequence[str]) -> None:
    records = Path(arguments[0]).read_text(encoding="utf-8").splitlines() if arguments else []
    listed = promises()
    measured = merged(figures(), records, datetime.date.today().isoformat())
    unknown = sorted({one.promise for one in measured if not any(p.owns(one.promise) for p in listed)})
    if unknown:
        sys.exit(f"no promise of {SOURCE.name} has the figures {', '.join(unknown)}")
    lines = [json.dumps(asdict(one), ensure_ascii=False, sort_keys=True) + "\n" for one in measured]
    FIGURES.write_text("".join(lines), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), listed, measured), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
