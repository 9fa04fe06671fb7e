"""Throughput: clips of all ranks by time, without the time of validations."""

from types import SimpleNamespace

import pytest
import torch

from nowcast.core.monitoring import throughput as module
from nowcast.core.monitoring.throughput import Throughput


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that goes when `clock.now` is set."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def test_clips_by_second_over_all_ranks_and_the_share_waited(clock: SimpleNamespace):
    throughput = Throughput(torch.device("cpu"), ranks=2)
    for _ in range(4):
        with throughput.waiting():
            clock.now += 0.5
        throughput.count(3)
        clock.now += 1.5
    with throughput.paused():
        clock.now += 1000
    numbers = throughput.read()
    assert numbers["samples_per_second"] == 2 * 4 * 3 / 8
    assert numbers["data_wait_share"] == 0.25


def test_each_reading_is_since_the_last(clock: SimpleNamespace):
    throughput = Throughput(torch.device("cpu"))
    with throughput.waiting():
        clock.now += 1
    throughput.count(100)
    throughput.read()
    throughput.count(6)
    clock.now += 2
    numbers = throughput.read()
    assert (numbers["samples_per_second"], numbers["data_wait_share"]) == (3, 0)


def test_memory_is_the_most_that_the_process_took(clock: SimpleNamespace):
    throughput = Throughput(torch.device("cpu"))
    clock.now += 1
    held = torch.ones(64 * 2**20, dtype=torch.uint8)
    clock.now += 1
    peak = throughput.read()["memory_mb"]
    del held
    clock.now += 1
    assert 64 < peak < 64 * 1024
    assert throughput.read()["memory_mb"] >= peak
