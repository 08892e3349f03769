"""Items made in a thread: in order, bounded, their faults raised where they are taken, and no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.ahead import Ahead


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_items_come_in_order_from_one_thread(thread: ThreadPoolExecutor) -> None:
    makers = set()

    def items() -> Iterator[int]:
        for number in range(50):
            makers.add(threading.get_ident())
            yield number

    with Ahead(items(), 3, thread) as source:
        assert list(source) == list(range(50))
        assert source.ready
        assert list(source) == []
    assert len(makers) == 1
    assert threading.get_ident() not in makers


def test_no_more_are_made_than_there_is_room_for(thread: ThreadPoolExecutor) -> None:
    made: list[int] = []
    full = threading.Event()

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 5:
                full.set()
            yield number

    with Ahead(items(), 4, thread) as source:
        assert next(source) == 0
        assert full.wait(5)
        assert len(made) == 6  # one taken, four in the queue, one in hand
    assert len(made) == 6


def test_a_fault_comes_after_the_items_before_it(thread: ThreadPoolExecutor) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with Ahead(items(), 4, thread) as source:
        assert next(source) == 1
        assert source.error is None
        with pytest.raises(OSError, match="the disk is gone"):
            next(source)
        assert isinstance(source.error, OSError)
        with pytest.raises(OSError, match="the disk is gone"):
            next(source)


def test_closing_ends_the_maker_and_who_still_waits(thread: ThreadPoolExecutor) -> None:
    taker_ended = threading.Event()
    source = Ahead(iter(range(10**9)), 2, thread)

    def take() -> None:
        while next(source, None) is not None:
            pass
        taker_ended.set()

    taking = threading.Thread(target=take)
    taking.start()
    source.close()
    assert taker_ended.wait(5)
    taking.join()
    source.close()
    assert thread.submit(int, 7).result(5) == 7  # the thread is free again
