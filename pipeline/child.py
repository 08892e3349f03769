"""One decoding process: started, asked, and killed when it is late."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from pipeline.answers import Bound, receive
from pipeline.reasons import MediaError, Reason

if TYPE_CHECKING:
    from pipeline.frames import Limits

T = TypeVar("T")
START_S = 60.0
"""For the interpreter and the libraries to load on a busy machine."""
INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONHOME", "VIRTUAL_ENV")
PROGRAM = ("-m", "pipeline.decode_child")
UNFIT = (
    EOFError, OSError, MemoryError, RecursionError,
    ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip
"""What comes of a pipe that ended, and of an answer that is not what was asked for."""


def _environment() -> dict[str, str]:
    """What the interpreter and its libraries need; whatever else this process knows, tokens too, stays here."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    root = str(Path(__file__).resolve().parent.parent)
    kept["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # One thread a library: it has one core, and a stack for each of many threads would eat up the address space.
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class Child:
    """A running decoding process and the pipes to it. After any error that ends it, it is of no more use."""

    def __init__(self, limits: Limits, backend: str, program: Sequence[str] = PROGRAM) -> None:
        """Starts the interpreter with `program`'s arguments and waits until it is ready."""
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", *program, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env=_environment(),
        )
        self._late = ""
        try:
            self.isolated = self.ask(
                (limits, backend), START_S, START_S, Bound(1, 0), lambda parts: bool(parts[0])
            )
        except MediaError:
            self.close()
            raise

    def ask(
        self,
        request: tuple[Any, ...],
        step_s: float,
        whole_s: float,
        bound: Bound,
        build: Callable[[list[Any]], T],
    ) -> T:
        """What `build` makes of the parts of the answer.

        Each part, and each sign of life between, must come within `step_s`, and all of it within `whole_s`. Raises the
        child's MediaError, or decoder_timeout or decoder_crashed, after which the child is gone; an answer of more
        than `bound`, however it is cut, or of which `build` makes nothing (UNFIT), counts as a crash.
        """
        try:
            with self._deadline(whole_s, f"not done after {whole_s:.0f} s"):
                self._send(request)
                return build(self._parts(step_s, bound))
        except UNFIT as error:
            raise self._death() from error

    def _parts(self, step_s: float, bound: Bound) -> list[Any]:
        parts: list[Any] = []
        pipe = self._pipe(self._process.stdout)
        while True:
            with self._deadline(step_s, f"no sign of life for {step_s:.0f} s"):
                kind, *content = receive(pipe, bound.beside_bytes, bound.text_bytes)
            if kind == "part":
                parts += content
                if len(parts) > bound.parts:
                    raise ValueError("more parts than were asked for")
            elif kind == "done":
                return parts
            elif kind == "error":
                raise MediaError(Reason(content[0]), str(content[1]))
            elif kind != "alive":
                raise ValueError("the child says what has no meaning")

    def close(self) -> None:
        """Kills the process and waits for its end."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._printed):
            try:
                self._pipe(pipe).close()
            except BrokenPipeError:  # part of a request was still on its way
                continue

    def _send(self, request: tuple[Any, ...]) -> None:
        pipe = self._pipe(self._process.stdin)
        pickle.dump(request, pipe, protocol=5)
        pipe.flush()

    @contextmanager
    def _deadline(self, seconds: float, message: str) -> Iterator[None]:
        """Kills the process when what stands inside takes longer."""
        alarm = threading.Timer(seconds, self._kill, (message,))
        alarm.daemon = True
        alarm.start()
        try:
            yield
        finally:
            alarm.cancel()

    def _kill(self, message: str) -> None:
        self._late = self._late or message
        self._process.kill()

    def _death(self) -> MediaError:
        self._process.kill()
        status = self._process.wait()
        if self._late:
            return MediaError(Reason.DECODER_TIMEOUT, self._late)
        how = f"signal {-status}" if status < 0 else f"status {status}"
        self._printed.seek(max(0, self._printed.seek(0, os.SEEK_END) - 4096))
        lines = self._printed.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return MediaError(Reason.DECODER_CRASHED, f"the decoding process ended with {how}: {said[:300]}")

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None, "the process was started with pipes"
        return pipe
