"""One decoding process: started, asked, and killed when it is late."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline.reasons import MediaError, Reason

if TYPE_CHECKING:
    from pipeline.frames import Limits

START_S = 60.0
"""For the interpreter and the libraries to load on a busy machine."""
INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONHOME", "VIRTUAL_ENV")
ALLOWED = frozenset(
    {
        ("pipeline.frames", "Sample"),
        ("pipeline.encode", "EncodedClip"),
        ("pipeline.reasons", "MediaError"),
        ("pipeline.reasons", "Reason"),
        ("numpy", "dtype"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)
"""What an answer may be made of: the child reads hostile files, so its answers are not trusted with more."""


def _environment() -> dict[str, str]:
    """What the interpreter and its libraries need; whatever else this process knows, tokens too, stays here."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    root = str(Path(__file__).resolve().parent.parent)
    kept["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    # One thread a library: it has one core, and a stack for each of many threads would eat up the address space.
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class _Answers(pickle.Unpickler):
    """Reads answers made of plain values, arrays and the classes of ALLOWED."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in an answer")
        return super().find_class(module, name)


class Child:
    """A running decoding process and the pipes to it. After any error that ends it, it is of no more use."""

    def __init__(self, limits: Limits, backend: str) -> None:
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.decode_child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env=_environment(),
        )
        self._late = False
        try:
            self.isolated: bool = self.ask((limits, backend), START_S)[0]
        except MediaError:
            self.close()
            raise

    def ask(self, request: tuple[Any, ...], deadline_s: float) -> list[Any]:
        """All parts of the answer. Each part, and each sign of life between, must come within `deadline_s`.

        Raises the child's MediaError, or decoder_timeout or decoder_crashed, after which the child is gone.
        """
        parts: list[Any] = []
        pipe: IO[bytes] = self._pipe(self._process.stdout)
        try:
            self._send(request)
            while True:
                kind, *content = self._answer(pipe, deadline_s)
                if kind == "part":
                    parts += content
                elif kind == "done":
                    return parts
                elif kind == "error":
                    raise MediaError(Reason(content[0]), str(content[1]))
        except (EOFError, OSError, pickle.UnpicklingError, AttributeError, ValueError, TypeError) as error:
            raise self._death(deadline_s) from error

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

    def _answer(self, pipe: IO[bytes], deadline_s: float) -> tuple[Any, ...]:
        alarm = threading.Timer(deadline_s, self._kill)
        alarm.daemon = True
        alarm.start()
        try:
            answer: tuple[Any, ...] = _Answers(pipe).load()
            return answer
        finally:
            alarm.cancel()

    def _kill(self) -> None:
        self._late = True
        self._process.kill()

    def _death(self, deadline_s: float) -> MediaError:
        self._process.kill()
        status = self._process.wait()
        if self._late:
            return MediaError(Reason.DECODER_TIMEOUT, f"no sign of life for {deadline_s:.0f} s")
        how = f"signal {-status}" if status < 0 else f"status {status}"
        self._printed.seek(max(0, self._printed.seek(0, os.SEEK_END) - 4096))
        lines = self._printed.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return MediaError(Reason.DECODER_CRASHED, f"the decoding process ended with {how}: {said[:300]}")

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None, "the process was started with pipes"
        return pipe
