"""An answer that takes long, worked out at intervals: between them the last one is given."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
SHORT_S = 0.05
"""An answer that takes no longer is worked out whenever it is asked for. Ours."""
REST = 20.0
"""After a longer one, a rest of so many times as long. Ours."""


class Paced(Generic[T]):
    """Calls `work` for whoever asks, in any thread, one at a time; `clock` gives seconds."""

    def __init__(self, work: Callable[[], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._work = work
        self._clock = clock
        self._lock = threading.Lock()
        self._last: tuple[T, float] | None = None
        """The answer, and until when it is given."""

    def __call__(self) -> T:
        """The answer, at most REST times as old as it takes to work out."""
        with self._lock:
            began = self._clock()
            if self._last is None or began >= self._last[1]:
                answer = self._work()
                ended = self._clock()
                took_s = ended - began
                self._last = answer, ended + (REST * took_s if took_s > SHORT_S else 0.0)
            return self._last[0]
