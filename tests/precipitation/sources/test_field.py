"""What every source keeps to, whatever importer made it."""

import numpy as np
import pytest

from nowcast.core.errors import DataError
from nowcast.precipitation.sources.field import Field, Source


@pytest.mark.parametrize(("minutes", "at"), [([0, 5, 5], 2), ([0, 5, 4, 3], 2), ([7, 0], 1)])
def test_a_clock_that_does_not_go_forward_is_named(minutes: list[int], at: int):
    times = np.datetime64("2020-05-01T10:00", "m") + np.array(minutes)

    def read(position: int) -> Field:
        raise AssertionError("nothing is read for it")

    with pytest.raises(DataError) as error:
        Source("x", times, read, lambda position: f"file {position}")
    assert f"file {at}: expected a later time than {times[at - 1]} of file {at - 1}" in str(
        error.value
    )
    assert f"found {times[at]}; sort the frames" in str(error.value)


@pytest.mark.parametrize("minutes", [[], [3], [0, 1, 50]])
def test_a_clock_that_goes_forward_passes(minutes: list[int]):
    times = np.datetime64("2020-05-01T10:00", "m") + np.array(minutes, dtype=np.int64)
    assert len(Source("x", times, lambda _: None, str)) == len(minutes)  # type: ignore[arg-type,return-value]
