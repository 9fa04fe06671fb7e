"""Holm's correction against an example worked by hand."""

import pytest

from nowcast.core.comparison.statistics.holm import holm


def test_steps_down_and_never_falls():
    # Ascending 0.01, 0.02, 0.022, 0.04: times 4, 3, 2, 1 is 0.04, 0.06, 0.044, 0.04; from 0.06 on
    # none may fall below it.
    assert holm([0.02, 0.04, 0.01, 0.022]) == pytest.approx([0.06, 0.06, 0.04, 0.06])


def test_ends_at_one_and_leaves_a_single_test_alone():
    assert holm([0.4, 0.9, 0.6]) == [1.0, 1.0, 1.0]
    assert holm([0.03]) == [0.03] and holm([]) == []


def test_what_was_not_tested_does_not_count():
    assert holm([None, 0.03, None, 0.01]) == pytest.approx([None, 0.03, None, 0.02])
