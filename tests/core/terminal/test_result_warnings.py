"""What a user must know of a result is said once, plainly, and can be kept with the result."""

import warnings

import pytest

from nowcast.core.terminal.result_warnings import ResultWarning, collected, say_plainly


def test_what_is_said_is_collected_and_other_warnings_are_not():
    with pytest.warns(DeprecationWarning, match="old"), collected() as said:
        warnings.warn("this came about otherwise", ResultWarning, stacklevel=1)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert said == ["this came about otherwise"]


def test_on_the_command_line_it_is_a_line_said_once(capsys: pytest.CaptureFixture[str]):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        say_plainly()
        for _ in range(3):
            warnings.warn("a result of this test", ResultWarning, stacklevel=1)
    assert capsys.readouterr().err == "nowcast: a result of this test\n"
