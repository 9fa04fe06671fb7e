"""What every source keeps to, whatever importer made it."""

import numpy as np
import pytest

from nowcast.core.errors import DataError
from nowcast.precipitation.sources.field import Field, Source


@pytest.mark.parametrize(("minutes", "at"), [([0, 5, 5], 2), ([0, 5, 4, 3], 2), ([7, 0], 1)])
def test_a_clock_that_does_not_go_forward_is_named(minutes: list[int], at: int):
    moments = np.datetime64("2020-05-01T10:00", "m") + np.array(minutes)

    def read(position: int) -> Field:
        raise AssertionError("nothing is read for it")

    with pytest.raises(DataError) as error:
        Source("x", moments, read, lambda position: f"file {position}")
    assert f"file {at}: expected a later time than {moments[at - 1]} of file {at - 1}" in str(
        error.value
    )
    assert f"found {moments[at]}; sort the frames" in str(error.value)


@pytest.mark.parametrize("minutes", [[], [3], [0, 1, 50]])
def test_a_clock_that_goes_forward_passes(minutes: list[int]):
    moments = np.datetime64("2020-05-01T10:00", "m") + np.array(minutes, dtype=np.int64)
    assert len(Source("x", moments, lambda _: None, str)) == len(minutes)  # type: ignore[arg-type,return-value]
