"""A process of its own: what it returns, what it raises, and that its memory is its own."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from nowcast.core.errors import ConfigError
from scripts.bench.apart import apart

MIB = 1 << 20


def counter(start: int) -> Callable[[], object]:
    calls = [start]

    def count() -> int:
        calls[0] += torch.get_num_threads()
        return calls[0]

    return count


def hoarder(mib: int) -> Callable[[], object]:
    return lambda: float(torch.ones(mib * MIB // 4).sum())


def failing(at_once: bool) -> Callable[[], object]:
    def fail() -> None:
        raise ZeroDivisionError("in the other process")

    if at_once:
        fail()
    return fail


@contextmanager
def surroundings(left: Path) -> Iterator[Callable[[], object]]:
    yield lambda: (os.environ["OMP_NUM_THREADS"], os.environ.get("RANK"), os.sched_getaffinity(0))
    left.touch()


def test_calls_take_place_there_one_after_the_other():
    with apart(counter, 5, threads=2) as one, apart(counter, 0) as other:
        assert [one(), other(), one(), other()] == [7, 1, 9, 2]


def test_the_most_memory_is_counted_from_before_the_work():
    with apart(hoarder, 64) as large, apart(hoarder, 1) as small:
        large(), small()
        assert 60 < large.peak_mib() < 120
        assert small.peak_mib() < 40


@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_raised_there_is_raised_here(at_once: bool):
    with (
        pytest.raises(ZeroDivisionError, match="in the other process"),
        apart(failing, at_once) as function,
    ):
        function()


def test_the_process_begins_with_its_own_variables_and_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("RANK", raising=False)
    allowed = os.sched_getaffinity(0)
    changed = {"OMP_NUM_THREADS": "3", "RANK": "1"}
    with apart(surroundings, tmp_path / "left", cores=1, environment=changed) as function:
        assert os.sched_getaffinity(0) == allowed
        assert os.environ["OMP_NUM_THREADS"] == "7"
        assert "RANK" not in os.environ
        assert function() == ("3", "1", {min(allowed)})
        assert not (tmp_path / "left").exists()
    assert (tmp_path / "left").exists()


def test_more_cores_than_there_are_cannot_be_had():
    allowed = len(os.sched_getaffinity(0))
    with (
        pytest.raises(ConfigError, match=f"1 to {allowed}, .* found {allowed + 1}"),
        apart(counter, 0, cores=allowed + 1),
    ):
        pass
