"""Work in a process of its own: what it breaks is that process."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nowcast.core.errors import DataError, RunError
from nowcast.core.execution.apart import Apart, Unanswered


def working(factor: int) -> Callable[[Any], Any]:
    if factor == 0:
        raise RunError("expected a factor")

    def answer(request: Any) -> Any:
        match request:
            case "hang":
                time.sleep(3600)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "fail":
                raise MemoryError("no room")
            case "refuse":
                raise DataError("expected frames")
            case "pid":
                return os.getpid()
        return factor * request

    return answer


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    made = Apart(working, 3)
    yield made
    made.close()


def test_answers_come_from_one_process_until_it_is_too_slow(apart: Apart):
    assert apart.ask(14) == 42
    first = apart.ask("pid")
    assert first == apart.pid != os.getpid()
    with pytest.raises(DataError, match="expected frames"):
        apart.ask("refuse")
    assert apart.ask("pid") == first
    with pytest.raises(Unanswered, match=r"took longer than 0\.5 s"):
        apart.ask("hang", 0.5)
    assert apart.pid is None


def test_a_process_that_dies_or_fails_is_replaced(apart: Apart):
    before = apart.ask("pid")
    with pytest.raises(Unanswered, match="its process died"):
        apart.ask("die")
    apart.start()
    assert apart.ask("pid") == apart.pid != before
    with pytest.raises(Unanswered, match="MemoryError: no room"):
        apart.ask("fail")
    assert apart.pid is None


def test_work_that_cannot_begin_says_why():
    apart = Apart(working, 0)
    for _ in range(2):
        with pytest.raises(RunError, match="expected a factor"):
            apart.ask(1)
    apart.close()
