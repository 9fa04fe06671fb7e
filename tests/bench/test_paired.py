"""Timings in pairs: who is called when, and what the ratio says."""

import pytest

from scripts.bench.paired import Pairs, alternate


def test_both_are_called_in_turns_and_warmed_up():
    calls: list[str] = []
    pairs = alternate(lambda: calls.append("a"), lambda: calls.append("b"), 3)
    assert "".join(calls) == "ab" + "ba" + "ab" + "ba"
    assert len(pairs.one) == len(pairs.other) == 3
    assert min(pairs.one + pairs.other) > 0


def test_ratio_is_the_median_over_pairs_with_an_interval_around_it():
    ratio, low, high = Pairs((1.0, 2.0, 4.0, 1.0, 2.0), (1.1, 2.0, 8.0, 1.2, 2.6)).ratio()
    assert ratio == pytest.approx(1.2)
    assert 1.0 <= low <= ratio <= high <= 2.0
    assert low < high


def test_the_clock_is_a_choice():
    ticks = iter(range(100))
    pairs = alternate(lambda: None, lambda: None, 2, clock=lambda: float(next(ticks)))
    assert (pairs.one, pairs.other) == ((1.0, 1.0), (1.0, 1.0))
