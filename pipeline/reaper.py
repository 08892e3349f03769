"""Clears up after a command that was killed: `python reaper.py SESSION TOKEN PID...`, started beside a Ray of its own.

Some of Ray's processes live on for a minute when their driver is gone, waiting for a cluster that is gone too. This one
waits for the end of its standard input, which the command holds, and kills them and what descends from them; it removes
the token and, unless it was told to leave it (a byte on its input), the folder of Ray's sockets and logs.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from pathlib import Path

LOOK_EVERY_S = 2.0
"""Whatever lives shorter than this dies with its parent by Ray's own doing."""
Known = dict[int, str]
"""When each process began, by its number: a number is given again."""


def main() -> None:
    session, token, *numbers = sys.argv[1:]
    roots = {int(number) for number in numbers}
    known = {number: born for number, (_, born) in processes().items() if number in roots}
    while not select.select([0], [], [], LOOK_EVERY_S)[0]:
        known = descendants(known)
    told = os.read(0, 1)
    for number, born in descendants(known).items():
        if processes().get(number, (0, ""))[1] == born:
            kill(number)
    if token:
        Path(token).unlink(missing_ok=True)
    if not told:
        shutil.rmtree(session, ignore_errors=True)


def descendants(known: Known) -> Known:
    """These processes and all that descend from them now; those that were known stay so when their parents are gone."""
    now = processes()
    found = {number: born for number, born in known.items() if now.get(number, (0, ""))[1] == born}
    fresh = set(found)
    while fresh:
        fresh = {number for number, (parent, _) in now.items() if parent in fresh and number not in found}
        found |= {number: now[number][1] for number in fresh}
    return found


def processes() -> dict[int, tuple[int, str]]:
    """(parent, when it began) of every process, by its number; none where the system has no /proc."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        found[int(path.parent.name)] = (int(fields[1]), fields[19])  # proc(5): ppid, starttime
    return found


def kill(number: int) -> None:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main()
