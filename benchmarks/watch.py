"""What a command and everything it starts take: CPU seconds, wall seconds, and each process's peak memory.

A Ray job is many processes, some of which nobody waits for, so their usage is read from /proc every quarter of a second
for as long as they live (what a process does in its last quarter is lost). Linux only.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

EVERY_S = 0.25
SAID_BYTES = 4000
PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): whatever loses its parent becomes ours, so the tree below us stays whole."""
EQUAL = {"RAY_worker_niceness": "0"}
"""Ray's workers give way to any other program (nice 15) unless told otherwise, which would be measured as slowness."""
TICKS_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One process of the tree, as it was last seen."""

    command: str
    cpu_s: float
    peak_bytes: int
    """VmHWM: the most memory that was resident at once."""


@dataclass(frozen=True)
class Watched:
    """What the command took."""

    status: int
    wall_s: float
    processes: tuple[Process, ...]
    said: str
    """The end of what it wrote on its standard error."""
    others_cores: float
    """Cores that other programs kept busy meanwhile, on average: how far to trust `wall_s`."""

    def ended_well(self) -> Self:
        """This, once the command's status was 0; else the program ends with what it said."""
        if self.status:
            raise SystemExit(f"{self.said}\nthe command ended with status {self.status}")
        return self

    @property
    def cpu_s(self) -> float:
        return sum(process.cpu_s for process in self.processes)

    def peak_bytes(self, word: str) -> int:
        """The largest peak among the processes with this word in their command; 0 when there is none."""
        return max((p.peak_bytes for p in self.processes if word in p.command), default=0)


def watch(
    command: Sequence[str], environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Watched:
    """Runs the command to its end and waits for what it left running; its standard output is thrown away."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = set(_below(os.getpid()))
    busy_s = _machine_s()
    began = time.perf_counter()
    full = {**(environment or os.environ), **EQUAL}
    seen: dict[int, Process] = {}
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, env=full, cwd=cwd, stdout=subprocess.DEVNULL, stderr=errors)
        while child.poll() is None:
            _look(seen, before)
            time.sleep(EVERY_S)
        wall_s = time.perf_counter() - began
        while _look(seen, before):  # what a Ray leaves behind ends by itself, once its driver is gone
            time.sleep(EVERY_S)
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - SAID_BYTES))
        said = errors.read().decode(errors="replace")
    lasted_s, busy_s = time.perf_counter() - began, _machine_s() - busy_s
    processes = tuple(seen.values())
    others_s = busy_s - sum(process.cpu_s for process in processes)
    return Watched(child.returncode, wall_s, processes, said, max(0.0, others_s / lasted_s))


def _machine_s() -> float:
    """CPU seconds that this machine's cores have been busy since it started."""
    user, nice, system, _, _, irq, softirq, *_ = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    return sum(map(int, (user, nice, system, irq, softirq))) / TICKS_HZ


def _look(seen: dict[int, Process], before: set[int]) -> int:
    """Notes every process below this one; gives how many are still running, after burying the dead among them."""
    running = 0
    for pid in _below(os.getpid()):
        if pid in before:
            continue
        found = _read(pid)
        if found is not None:
            seen[pid] = found
            running += 1
        elif pid in seen and _parent(pid) == os.getpid():
            _bury(pid)
    return running


def _bury(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _read(pid: int) -> Process | None:
    """The process as it is now; None once it has ended, even if nobody has waited for it yet."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
        command = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        )
    except (FileNotFoundError, ProcessLookupError):
        return None
    peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    if not peak:
        return None  # a zombie has no memory
    return Process(command, (int(fields[11]) + int(fields[12])) / TICKS_HZ, int(peak[0]) * 1024)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _below(root: int) -> list[int]:
    """Every process below `root`."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children.setdefault(_parent(int(entry.name)), []).append(int(entry.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
