"""Work in threads stays in order, in bounds, and raises where its results are taken."""

import threading
import time
from collections.abc import Iterator

import pytest

from nowcast.core.execution.ahead import Behind, ahead


def test_items_come_in_their_order_and_are_made_ahead_but_not_far():
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    taken = []
    for item in ahead(items(), 3):
        taken.append(item)
        assert len(made) <= len(taken) + 3
    assert taken == made == list(range(20))


def test_an_error_comes_in_its_place_and_leaving_early_ends_the_thread():
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("third")

    found = ahead(items(), 2)
    assert (next(found), next(found)) == (1, 2)
    with pytest.raises(ValueError, match="third"):
        next(found)
    before = threading.active_count()
    found = ahead(iter(range(10**9)), 2)
    assert next(found) == 0 and threading.active_count() == before + 1
    found.close()
    assert threading.active_count() == before


def test_tasks_behind_are_bounded_and_raise_later():
    done: list[int] = []
    behind = Behind(2)
    waiting = threading.Event()
    for number in range(4):
        behind.do(lambda number=number: (waiting.wait(), done.append(number))[0])  # type: ignore[misc]
    assert not done
    waiting.set()
    behind.finish()
    assert sorted(done) == [0, 1, 2, 3]

    def fails() -> None:
        raise OSError("full")

    behind.do(fails)
    with pytest.raises(OSError, match="full"):
        behind.finish()
    behind.do(lambda: time.sleep(0.01))
    behind.close()
