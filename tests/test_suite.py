"""What holds for every test: no timing decides whether one passes."""

from hypothesis import settings


def test_no_example_of_hypothesis_has_a_deadline():
    assert settings().deadline is None
