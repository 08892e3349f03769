"""Previews made behind the page's back: one thread, what is looked at first, what comes next while it is looked at."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline.frames import Decoder, Limits
from pipeline.scratch import sweep
from pipeline.sources import Fetcher
from review.footage import Order
from review.previews import SCRATCH, About, Studio, read_about


class Maker(Protocol):
    """What makes previews: review.previews.Studio."""

    def preview(self, order: Order) -> About: ...


@dataclass(frozen=True)
class OpenStudio:
    """A studio with a decoding process and a fetcher of its own."""

    folder: Path
    limits: Limits = field(default_factory=Limits)

    def __call__(self, stack: ExitStack) -> Maker:
        """The studio; `stack` closes what it holds. What a killed server left half made is removed."""
        sweep(SCRATCH, self.folder)
        decoder = stack.enter_context(closing(Decoder(self.limits)))
        return Studio(decoder, stack.enter_context(closing(Fetcher())), self.folder)


class Projector:
    """Gives previews, making them in one thread that lives as long as this object. Safe to share between threads."""

    def __init__(self, folder: Path, opener: Callable[[ExitStack], Maker]) -> None:
        """`opener` is called in that thread, since a decoding process dies with the thread that started it."""
        self._folder = folder
        self._opener = opener
        self._stack = ExitStack()
        self._maker: Maker | None = None
        self._lock = threading.RLock()  # a future that is done at once calls back at once
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="previews")
        self._asked: dict[str, Future[About]] = {}
        self._urgent: set[str] = set()
        """Keys of those that somebody waits for."""

    def file(self, order: Order, name: str) -> Path:
        """Where a file of a preview is."""
        return self._folder / order.key / name

    def ask(self, order: Order) -> Future[About]:
        """The preview, at once if it is there; what was only wanted in advance waits or is forgotten.

        The future raises MediaError where the clip cannot be shown, StorageError or Unreachable where its source or
        the folder does not answer, OSError where the disk is full.
        """
        known = read_about(self._folder / order.key)
        if known is not None:
            future: Future[About] = Future()
            future.set_result(known)
            return future
        with self._lock:
            self._urgent.add(order.key)
            for key, waiting in list(self._asked.items()):
                if key not in self._urgent and waiting.cancel():
                    del self._asked[key]
            return self._submit(order)

    def prefetch(self, orders: Iterable[Order]) -> None:
        """Makes these when there is nothing else to do."""
        missing = [order for order in orders if read_about(self._folder / order.key) is None]
        with self._lock:
            for order in missing:
                self._submit(order)

    def _submit(self, order: Order) -> Future[About]:
        known = self._asked.get(order.key)
        if known is not None:
            return known
        future = self._thread.submit(self._make, order)
        self._asked[order.key] = future
        future.add_done_callback(lambda done: self._done(order.key, done))
        return future

    def _done(self, key: str, future: Future[About]) -> None:
        if not future.cancelled():  # whoever cancels holds the lock and forgets it
            with self._lock:
                self._asked.pop(key, None)
                self._urgent.discard(key)

    def _make(self, order: Order) -> About:
        if self._maker is None:
            self._maker = self._opener(self._stack)
        return self._maker.preview(order)

    def close(self) -> None:
        """Ends the thread and the decoding process, once the preview in the making is done."""
        self._thread.shutdown(cancel_futures=True)
        self._stack.close()
