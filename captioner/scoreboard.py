"""The table of an evaluation: a row a field in the paper's order, an engine a column."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from captioner.evaluate import OTHERS, PAPER, Rate, Scored, average, difference, firm
from captioner.intervals import Difference

WIDTH = 32


def lines(found: Sequence[Scored], judge: str) -> Iterator[str]:
    """The table as text, what each column is, and how much better each engine is than the first."""
    rates = [one.rates() for one in found]
    yield f"{'':<16}{'':>6}" + "".join(f"  {letter(n):<{WIDTH - 2}}" for n in range(len(found)))
    yield f"{'field':<16}{'items':>6}" + "".join(
        f"{'  right %    95 %           said %':<{WIDTH}}" for _ in found
    )
    yield from _rows(PAPER, rates)
    fields = firm(*found)
    yield f"{f'average of {len(fields)} of {len(PAPER)}':<22}" + "".join(
        _average(average(one, fields)) for one in found
    )
    yield ""
    yield from _rows(OTHERS, rates)
    yield ""
    for n, one in enumerate(found):
        yield f"{letter(n)}: {one.engine}{_lacks(one)}"
    for n, one in enumerate(found[1:], 1):
        gap = difference(one, found[0], fields)
        if gap is not None:
            yield f"{letter(n)} less A: {_points(gap)}"
    if len(fields) < len(PAPER):
        yield f"not in the average: {'; '.join(_left_out(found, fields))}"
    yield f"texts judged by {judge}"
    yield "right %: of all that is true or made up: what was not said is not right; said %: of what is true"
    if any(rate.alike for one in rates for rate in one.values()):
        yield "~: no accuracy: texts that are like the true one, as opposites are too; --judge has a model judge them"


def _left_out(found: Sequence[Scored], fields: Sequence[str]) -> Iterator[str]:
    """Which fields of the paper an average lacks, by the reason."""
    lacking = [name for name in PAPER if name not in fields]
    unjudged = [name for name in lacking if any(name in one.unjudged() for one in found)]
    alike = [name for name in lacking if name not in unjudged and any(name in one.rates() for one in found)]
    untold = [name for name in lacking if name not in (*unjudged, *alike)]
    reasons = ("too little judged", unjudged), ("only ~", alike), ("the truth is silent", untold)
    for reason, names in reasons:
        if names:
            yield f"{', '.join(name.replace('_', ' ') for name in names)} ({reason})"


def table(found: Sequence[Scored], judge: str) -> str:
    """The table's lines as one text."""
    return "\n".join(lines(found, judge))


def troubles(found: Sequence[Scored]) -> list[str]:
    """One sentence for each field of an engine that has no accuracy because too little of it could be judged."""
    return [
        f"{one.engine}: {name.replace('_', ' ')}: {judged} of {said} texts could be judged, too few for an accuracy"
        for one in found
        for name, (judged, said) in one.unjudged().items()
    ]


def letter(number: int) -> str:
    """The name of a column: A, B, ... Z, 27."""
    return chr(65 + number) if number < 26 else str(number + 1)


def _rows(fields: Sequence[str], rates: Sequence[Mapping[str, Rate]]) -> Iterator[str]:
    for name in fields:
        counts = [one[name].items for one in rates if name in one]
        if counts:
            cells = "".join(_cell(one.get(name)) for one in rates)
            yield f"{name.replace('_', ' '):<16}{max(counts):>6}{cells}".rstrip()


def _cell(rate: Rate | None) -> str:
    if rate is None:
        return f"{'-':>9}{'':<{WIDTH - 9}}"
    right = f"{'~' if rate.alike else ''}{100 * rate.right:.1f}"
    return f"{right:>9}  {100 * rate.low:5.1f} to {100 * rate.high:5.1f}{100 * rate.said:6.0f}  "


def _average(found: Difference | None) -> str:
    if found is None:
        return f"{'-':>9}{'':<{WIDTH - 9}}"
    return f"{100 * found.mean:9.1f}  {100 * found.low:5.1f} to {100 * found.high:5.1f}{'':8}"


def _lacks(one: Scored) -> str:
    unjudged = sum(score is None for score in one.scores)
    said = [
        ("clips without a caption", one.missing),
        ("subjects that are not there", one.extra),
        ("texts that could not be judged", unjudged),
    ]
    return "".join(f"; {words}: {count}" for words, count in said if count)


def _points(gap: Difference) -> str:
    sure = "" if gap.low > 0 or gap.high < 0 else ", so no difference is shown"
    return f"{100 * gap.mean:+.1f} points on average, {100 * gap.low:+.1f} to {100 * gap.high:+.1f}{sure}"


def as_json(found: Sequence[Scored], judge: str) -> str:
    """All that the table says, and each field's accuracy among what was said."""
    engines = []
    fields = firm(*found)
    for one in found:
        whole, gap = average(one, fields), difference(one, found[0], fields)
        engines.append(
            {
                "engine": one.engine,
                "fields": {name: asdict(rate) for name, rate in one.rates().items()},
                "average": asdict(whole) if whole else None,
                "unjudged": {name: {"judged": n, "said": of} for name, (n, of) in one.unjudged().items()},
                "less_the_first": asdict(gap) if gap and one is not found[0] else None,
                "missing": one.missing,
                "extra_subjects": one.extra,
            }
        )
    return json.dumps(
        {"judge": judge, "average_of": fields, "engines": engines}, indent=1, ensure_ascii=False
    )
