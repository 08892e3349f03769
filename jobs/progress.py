"""Live progress: one bar a step with a rate and an ETA on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

LINE_EVERY_S = 10.0
"""At most one line of progress in this time goes to a log."""


INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode that a terminal obeys instead of showing: controls, direction marks, ends of lines."""


def printable(text: str) -> str:
    """The text in one line that a terminal shows as it is: names of files may hold orders to it and forged lines."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in INVISIBLE else char
        for char in text
    )


class Bar(Protocol):
    """What a step tells of how far it has come, and what more there is to say of it."""

    def update(self, n: float) -> Any: ...
    def note(self, text: str) -> None: ...


class Progress:
    """Says what goes on, on standard error."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet

    def say(self, text: str) -> None:
        """A line that --quiet leaves out."""
        if not self._quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """A line that is always shown."""
        print(printable(text), file=self._stream, flush=True)

    def nothing(self, label: str) -> None:
        self.say(f"{label:<10} nothing to do: every part is done")

    @contextmanager
    def bar(self, label: str, total: float, unit: str) -> Iterator[Bar]:
        """Progress of one step: a bar on a terminal, else a line every ten seconds at most and one at the end."""
        if self._quiet or not self._stream.isatty():
            lines = Lines(self.say, label, total, unit, time.monotonic)
            yield lines
            lines.end()
            return
        from tqdm import tqdm

        shape = (
            "{desc} {percentage:3.0f}% {n:.0f}/{total:.0f}{unit} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
        )
        with tqdm(
            total=total,
            desc=f"{label:<10}",
            unit=f" {unit}",
            file=self._stream,
            mininterval=0.2,
            dynamic_ncols=True,
            bar_format=shape,
        ) as bar:
            yield OnTerminal(bar)


@dataclass
class OnTerminal:
    """Progress as a bar that moves."""

    bar: Any

    def update(self, n: float) -> None:
        self.bar.update(n)

    def note(self, text: str) -> None:
        self.bar.set_postfix_str(text, refresh=False)


@dataclass
class Lines:
    """Progress for a log: whole lines, few of them."""

    say: Callable[[str], None]
    label: str
    total: float
    unit: str
    clock: Callable[[], float]
    done: float = 0.0
    noted: str = ""

    def __post_init__(self) -> None:
        self._began = self._said = self.clock()

    def update(self, n: float) -> None:
        self.done += n
        if self.done < self.total and self.clock() - self._said >= LINE_EVERY_S:
            self._said = self.clock()
            self.say(self._line())

    def note(self, text: str) -> None:
        """Said with every line from now on."""
        self.noted = text

    def end(self) -> None:
        """The last line, when the step has come to its end."""
        self.say(self._line())

    def _line(self) -> str:
        spent_s = self.clock() - self._began
        share = self.done / self.total if self.total else 1.0
        rate = f"{self.done / spent_s:.1f} {self.unit}/s" if spent_s > 0 else ""
        left = f", {spent_s / share - spent_s:.0f} s left" if 0 < share < 1 else ""
        text = f"{self.done:.0f}/{self.total:.0f} {self.unit} in {spent_s:.0f} s, {rate}{left}"
        return f"{self.label:<10} {share:4.0%} {text}{', ' if self.noted else ''}{self.noted}"
