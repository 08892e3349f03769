"""Items made in a thread: in order, bounded, their faults raised where they are taken, and no thread left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from pipeline.ahead import Ahead, Dealt


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


# --- several of them


def dealt(stack: ExitStack, *shares: Iterable[int], depth: int = 2) -> Dealt[int]:
    threads = [stack.enter_context(ThreadPoolExecutor(1)) for _ in shares]
    hands = [Ahead(share, depth, one) for share, one in zip(shares, threads, strict=True)]
    return stack.enter_context(Dealt(hands))


@pytest.mark.parametrize("count", range(8))
def test_what_several_make_comes_in_the_order_in_which_it_was_dealt(count: int) -> None:
    with ExitStack() as stack:
        assert list(dealt(stack, *(range(hand, count, 3) for hand in range(3)))) == list(range(count))


def test_a_fault_of_one_of_several_comes_in_its_turn() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    with ExitStack() as stack:
        source = dealt(stack, [0, 2, 4], broken())
        assert [next(source) for _ in range(3)] == [0, 1, 2]
        assert source.error is None
        with pytest.raises(OSError, match="the disk is gone"):
            next(source)
        assert str(source.error) == "the disk is gone"


def test_several_end_with_what_they_are_at() -> None:
    made: list[int] = []

    def share(hand: int) -> Iterator[int]:
        for number in range(hand, 1_000, 2):
            made.append(number)
            yield number

    with ExitStack() as stack:
        source = dealt(stack, share(0), share(1))
        assert next(source) == 0
    assert len(made) <= 1 + 2 * (2 + 1)
