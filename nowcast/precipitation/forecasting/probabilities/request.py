"""Which probabilities are wanted: thresholds, quantiles, windows, a radius and points."""

from dataclasses import dataclass
from itertools import pairwise

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasting.probabilities.places import Point, points_of, radius_px
from nowcast.precipitation.forecasting.probabilities.windows import Window
from nowcast.precipitation.units import THRESHOLDS_MM_H

QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class ProbabilityRequest:
    """What to make of an ensemble's members.

    Args:
        thresholds: rain rates whose exceedance has a probability, mm/h, ascending; of a window's
            sum the same numbers in mm.
        quantiles: levels in [0, 1], ascending.
        windows: such as ``max:30`` (largest rain rate of the next 30 minutes) or ``sum:60`` (rain
            of the next 60 minutes, mm).
        radius: such as ``5km`` or ``8px``: probabilities of rain within it, beside those of each
            pixel.
        points: such as ``52.10,5.18,De Bilt`` (latitude, longitude and, if it has one, a name) or
            ``px:240,200`` (row, column), or ``.csv`` files of such: the rain there by lead time and
            when it arrives. Forecasts without members have these, too.

    Raises:
        ConfigError: numbers out of range or not ascending, or a window that is none.
    """

    thresholds: tuple[int | float, ...] = THRESHOLDS_MM_H
    quantiles: tuple[int | float, ...] = QUANTILES
    windows: tuple[str, ...] = ()
    radius: str | None = None
    points: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check("--probability", self.thresholds, 0.0, 1000.0, "rain rates above 0, mm/h")
        _check("--quantiles", self.quantiles, -1e-9, 1.0, "levels from 0 to 1")
        if len(set(self.read_windows)) != len(self.windows):
            raise ConfigError(
                f"--window: expected each once, found {','.join(self.windows)}; leave one out"
            )

    @property
    def needs_members(self) -> bool:
        """Whether more than points is asked for."""
        return self != ProbabilityRequest(points=self.points)

    @property
    def read_windows(self) -> tuple[Window, ...]:
        """The windows."""
        return tuple(Window.read(text) for text in self.windows)

    def of(self, description: Description, out_len: int) -> "Resolved":
        """What it means for forecasts of so many lead times of an archive.

        Raises:
            ConfigError: a window, the radius or a point does not suit them.
        """
        windows = self.read_windows
        return Resolved(
            self.thresholds,
            self.quantiles,
            windows,
            tuple(window.steps(description.step_minutes, out_len) for window in windows),
            None if self.radius is None else radius_px(self.radius, description),
            points_of(self.points, description),
        )


@dataclass(frozen=True)
class Resolved:
    """A request in steps and pixels; see `ProbabilityRequest`.

    Args:
        thresholds: mm/h.
        quantiles: levels.
        windows: of time.
        window_steps: lead times in each.
        radius_px: rows and columns; None: only at each pixel.
        points: pixels.
    """

    thresholds: tuple[int | float, ...]
    quantiles: tuple[int | float, ...]
    windows: tuple[Window, ...]
    window_steps: tuple[int, ...]
    radius_px: tuple[float, float] | None
    points: tuple[Point, ...]


def numbers(option: str, text: str) -> tuple[int | float, ...]:
    """The numbers of a text such as ``0.5,2,5``; ConfigError names the option otherwise."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"{option}: expected numbers with commas between them such as 0.5,2,5, found {text!r}"
        ) from error


def _check(
    option: str, values: tuple[int | float, ...], above: float, most: float, what: str
) -> None:
    in_range = all(above < value <= most for value in values)
    if not in_range or any(first >= second for first, second in pairwise(values)):
        raise ConfigError(
            f"{option}: expected {what}, ascending, each once, found "
            f"{','.join(f'{value:g}' for value in values)}"
        )
