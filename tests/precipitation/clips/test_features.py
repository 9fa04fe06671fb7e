"""Groups of clips: directions of rain that was moved by hand, and classes of its rate."""

import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.clips.features import by_motion, by_rain_rate


def field(seed: int = 0) -> np.ndarray:
    rows, columns = np.mgrid[:64, :64]
    rng = np.random.default_rng(seed)
    rain = np.zeros((64, 64))
    for _ in range(12):
        row, column = rng.uniform(16, 48, 2)
        rain += rng.uniform(5, 20) * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18)
    return rain


@pytest.mark.parametrize(
    ("south", "east", "expected"),
    [(-4, 0, "N"), (0, 4, "E"), (4, 0, "S"), (0, -4, "W"), (-3, 3, "NE"), (3, -3, "SW")],
)
def test_motion_is_where_the_rain_goes(south: int, east: int, expected: str):
    rain = field()
    frames = np.stack([rain, np.roll(rain, (south, east), (0, 1))])
    assert by_motion(frames, np.ones_like(frames, dtype=bool)) == expected


def test_still_and_dry_are_no_direction():
    mask = np.ones((2, 64, 64), dtype=bool)
    assert by_motion(np.stack([field()] * 2), mask) == "still"
    assert by_motion(np.zeros((2, 64, 64)), mask) == "dry"
    with pytest.raises(ConfigError, match="at least 2 input frames"):
        by_motion(np.zeros((1, 64, 64)), mask[:1])


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0.0, "0 to 0.5 mm/h"), (0.5, "0.5 to 2 mm/h"), (7, "5 to 10 mm/h"), (40, "30 or more mm/h")],
)
def test_rate_is_that_of_the_unmasked_pixels_of_the_last_frame(rate: float, expected: str):
    rates, mask = np.full((2, 10, 10), 99.0), np.ones((2, 10, 10), dtype=bool)
    rates[1, :5] = rate
    mask[1, 5:] = False
    assert by_rain_rate(rates, mask) == expected
