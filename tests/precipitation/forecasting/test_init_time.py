"""A time is in UTC or has an offset; a zone with a name is told the offset to write."""

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.forecasting.init_time import init_time


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2018-05-19T12:00", "2018-05-19T12:00"),
        ("2018-05-19 12:00 UTC", "2018-05-19T12:00"),
        ("2018-05-19T12:00Z", "2018-05-19T12:00"),
        ("2018-05-19 14:00+02:00", "2018-05-19T12:00"),
        ("2018-05-19T06:30-05:30", "2018-05-19T12:00"),
        ("2018-05-19", "2018-05-19T00:00"),
    ],
)
def test_times_in_utc_or_with_an_offset(text: str, utc: str):
    assert init_time(text) == np.datetime64(utc, "m")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("2018-05-19 14:00 CEST", "; CEST is +02:00: write 2018-05-19T14:00+02:00"),
        ("2018-05-19T14:00CEST", "; CEST is +02:00: write 2018-05-19T14:00+02:00"),
        ("2018-05-19 14:00 cet", "; CET is +01:00: write 2018-05-19T14:00+01:00"),
        ("2018-05-19 20:00 HKT", "; HKT is +08:00: write 2018-05-19T20:00+08:00"),
        (
            "2018-01-19 14:00 Europe/Amsterdam",
            "; Europe/Amsterdam is +01:00: write 2018-01-19T14:00+01:00",
        ),
        (
            "2018-07-19 14:00 Europe/Amsterdam",
            "; Europe/Amsterdam is +02:00: write 2018-07-19T14:00+02:00",
        ),
        (
            "2018-05-19 14:00 IST",
            "; IST is +01:00, +02:00 or +05:30 by place: write for instance 2018-05-19T14:00+01:00",
        ),
        ("2018-05-19 14:00 XYZ", ""),
        ("14:00 CEST", ""),
        ("noon", ""),
        ("2018-05-19 14:00 Nowhere/At_all", ""),
        ("2018-05-19 14:00+02:00 CEST", ""),
    ],
)
def test_a_named_zone_is_told_what_to_write(text: str, advice: str):
    with pytest.raises(ConfigError) as error:
        init_time(text)
    expected = "--at: expected a time such as 2018-05-19T12:00 (UTC) or 2018-05-19T14:00+02:00, "
    assert str(error.value) == f"{expected}found {text!r}{advice}"
