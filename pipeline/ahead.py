"""The items of an iterable, made in a thread (or several) while the one who takes them works."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Generic, Self, TypeVar

T = TypeVar("T")
POLL_S = 0.05
"""How often a maker that waits for room looks whether anybody still takes. Ours."""


class _End:
    """The last thing in the queue: no more items, or what making them raised."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Ahead(Generic[T]):
    """An iterator over `items` that `thread` makes, at most `depth` before they are taken.

    What making them raises is raised here, after the items before it. To be closed; the making then ends with the item
    that it is at.
    """

    def __init__(self, items: Iterable[T], depth: int, thread: Executor) -> None:
        self._items = items
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._closed = threading.Event()
        self._ended: _End | None = None
        self.waited_s = 0.0
        """Seconds for which `next` had to wait."""
        self._making = thread.submit(self._make)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._ended is None:
            began = time.monotonic()
            one = self._queue.get()
            self.waited_s += time.monotonic() - began
            if not isinstance(one, _End):
                return one
            self._ended = one
        if self._ended.error is not None:
            raise self._ended.error
        raise StopIteration

    @property
    def ready(self) -> bool:
        """Whether `next` would answer at once."""
        return self._ended is not None or not self._queue.empty()

    @property
    def error(self) -> BaseException | None:
        """What making the items raised, once that has been raised here."""
        return self._ended.error if self._ended is not None else None

    def stop(self) -> None:
        """Makes nothing more than the item at hand; does not wait for it."""
        self._closed.set()

    def close(self) -> None:
        """Waits until the thread is free, and ends whoever still takes. May be called twice."""
        self.stop()
        self._making.result()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(_End(None))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self) -> None:
        error = None
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as raised:  # whatever it is, it is raised where the items are taken
            error = raised
        self._put(_End(error))

    def _put(self, item: T | _End) -> bool:
        """Waits for room; False when nobody takes items any more."""
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=POLL_S)
            except queue.Full:
                continue
            return True
        return False


class Dealt(Generic[T]):
    """An iterator over the items of several hands, one of each in turn: those of which they were dealt their shares.

    What making an item raises is raised in its turn. To be closed; that closes the hands.
    """

    def __init__(self, hands: Sequence[Ahead[T]]) -> None:
        self._hands = hands
        self._taken = 0

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        item = next(self._hands[self._taken % len(self._hands)])  # the first hand without one was dealt last
        self._taken += 1
        return item

    @property
    def waited_s(self) -> float:
        """Seconds for which `next` had to wait."""
        return sum(hand.waited_s for hand in self._hands)

    @property
    def error(self) -> BaseException | None:
        """What making the items raised, once that has been raised here."""
        return next((hand.error for hand in self._hands if hand.error is not None), None)

    def close(self) -> None:
        """Waits until their threads are free. May be called twice."""
        for hand in self._hands:
            hand.stop()
        for hand in self._hands:
            hand.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
