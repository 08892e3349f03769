"""Clears up after a Ray of a command's own: `python reaper.py FOLDER`, started before it.

Some of Ray's processes live on for a minute when their driver is gone, waiting for a cluster that is gone too. This one
waits for the end of its standard input, which the command holds. Then it kills them and what descends from them, and
removes the folder with their token, sockets and logs. On its input the command may tell it, a line each, the numbers of
Ray's processes, or to `keep` the logs. Until it has heard the numbers it looks for whatever was started with the
folder's name in its environment.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

MARK = "RUSHES_RAY_FOLDER"
"""The variable that Ray's processes inherit."""
TOKEN = "token"
"""The name of the token in the folder."""
KEEP = "keep"
"""Said on the input: the logs are to be read."""
LOOK_EVERY_S = 2.0
"""Whatever lives shorter than this dies with its parent by Ray's own doing."""
LOOK_AT_START_S = 0.2
"""While Ray starts: some of its processes soon overwrite their environment."""
ROUNDS = 20
"""Looks for what was being started when the others were killed, LOOK_AT_START_S from each other, at most."""
Known = dict[int, str]
"""When each process began, by its number: a number is given again."""


def main() -> None:
    folder = sys.argv[1]
    known: Known = {}
    heard, said = "", b""
    while True:
        listening = bool(heard)
        if select.select([0], [], [], LOOK_EVERY_S if listening else LOOK_AT_START_S)[0]:
            said = os.read(0, 1 << 16)
            if not said:
                break
            heard += said.decode()
            numbers = {int(word) for word in heard.split() if word.isdigit()}
            known |= {number: born for number, (_, born) in processes().items() if number in numbers}
        known = descendants(known if listening else known | marked(folder))
    end(folder, known)
    if KEEP in heard.split():
        Path(folder, TOKEN).unlink(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def end(folder: str, known: Known) -> None:
    """Kills these processes, their descendants and those of this folder, until none is left."""
    for _ in range(ROUNDS):
        known = descendants(known | marked(folder))
        if not known:
            break
        for number in known:
            kill(number)
        time.sleep(LOOK_AT_START_S / 10)


def marked(folder: str) -> Known:
    """The processes that were started with the folder's name in their environment."""
    mark = f"{MARK}={folder}".encode()
    found: Known = {}
    for number, (_, born) in processes().items():
        try:
            variables = Path(f"/proc/{number}/environ").read_bytes().split(b"\0")
        except OSError:  # another user's, or it has just ended
            continue
        if mark in variables:
            found[number] = born
    return found


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
    """(parent, when it began) of every process that is no zombie, by its number; none where there is no /proc."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if fields[0] not in "ZX":
            found[int(path.parent.name)] = (int(fields[1]), fields[19])  # proc(5): ppid, starttime
    return found


def kill(number: int) -> None:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main()
