"""A forecast as it is handed on: what rain, when, where, and on what it rests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.forecasting.inputs import Inputs
from nowcast.precipitation.forecasting.probabilities.made import Probabilities, probabilities
from nowcast.precipitation.forecasting.probabilities.members import Members
from nowcast.precipitation.forecasting.probabilities.places import points_of
from nowcast.precipitation.forecasting.probabilities.points import PointForecast, point_forecast
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
from nowcast.precipitation.units import PIXEL_LEVELS, dbz_from_pixel

OBSERVED = 6  # frames kept with a forecast, to be shown before it


@dataclass(frozen=True)
class Observed:
    """The frames that a forecast starts from, as far as they were there.

    Args:
        times: valid time of each, UTC, ascending; the last is the init time.
        pixels: in [0, 1].
        mask: True = data.
    """

    times: Moments
    pixels: Float32[np.ndarray, "time height width"]
    mask: Bool[np.ndarray, "time height width"]

    @classmethod
    def of(cls, inputs: Inputs) -> "Observed":
        """The newest of the inputs that were there, at most `OBSERVED`."""
        there = [at for at, moment in enumerate(inputs.times) if str(moment) not in inputs.carried]
        kept = there[-OBSERVED:]
        pixels = inputs.levels[kept].astype(np.float32)
        if inputs.levels.dtype == np.uint8:
            pixels /= PIXEL_LEVELS
        return cls(inputs.times[kept], pixels, inputs.mask[kept])


@dataclass(frozen=True)
class Forecast:
    """One forecast.

    Args:
        init: valid time of the newest frame that it rests on, UTC, whole minutes.
        pixels: in [0, 1], the first `description.step_minutes` after `init`, then a step apart.
        mask: True where that frame has data; elsewhere the forecast rests on nothing measured.
        description: of the archive that the frames are from.
        model: the forecaster, by the name it was asked for.
        facts: what else is worth knowing later: weights, inputs, what was missing, timing.
        members: of an ensemble, whose `pixels` are the one forecast that stands for them; else
            None.
        observed: what it starts from; None where that is not kept.

    Raises:
        ValueError: no lead time, or mask, pixels, members and description are of different sizes.
    """

    init: np.datetime64
    pixels: Float32[np.ndarray, "lead height width"]
    mask: Bool[np.ndarray, "height width"]
    description: Description
    model: str
    facts: Mapping[str, Any]
    members: Members | None = None
    observed: Observed | None = None

    def __post_init__(self) -> None:
        size = (self.description.height, self.description.width)
        if not len(self.pixels) or self.pixels.shape[1:] != size or self.mask.shape != size:
            raise ValueError(
                f"expected forecast frames and a mask of {size[0]}x{size[1]}, found "
                f"{'x'.join(map(str, self.pixels.shape))} and "
                f"{'x'.join(map(str, self.mask.shape))}"
            )
        if self.members is not None and self.members.pixels.shape[1:] != self.pixels.shape:
            raise ValueError(
                f"expected members of {'x'.join(map(str, self.pixels.shape))}, found "
                f"{'x'.join(map(str, self.members.pixels.shape[1:]))}"
            )

    @property
    def times(self) -> Moments:
        """The valid time of each lead, UTC."""
        steps = np.arange(1, len(self.pixels) + 1) * self.description.step_minutes
        return np.asarray(self.init.astype("datetime64[m]") + steps.astype("timedelta64[m]"))

    def rate_mm_h(self) -> Float32[np.ndarray, "lead height width"]:
        """Rain rate in mm/h by the archive's Z-R relation; nominal where it holds VIL."""
        return np.stack([self.rate_at(lead) for lead in range(len(self.pixels))])

    def rate_at(self, lead: int) -> Float32[np.ndarray, "height width"]:
        """`rate_mm_h` of one lead, the first is 0."""
        calibration = self.description.calibration
        return calibration.rate_from_pixel(self.pixels[lead]).astype(np.float32)

    def dbz(self) -> Float32[np.ndarray, "lead height width"]:
        """Reflectivity in dBZ; pixel 0, no rain, is -10 dBZ, the lowest of the scale."""
        return np.stack([dbz_from_pixel(pixels).astype(np.float32) for pixels in self.pixels])

    def probabilities(self, request: ProbabilityRequest) -> Probabilities:
        """What was asked for of its members.

        Raises:
            ConfigError: it has none, or the request does not suit it.
        """
        if self.members is None:
            raise ConfigError(
                f"probabilities: expected a forecast with members, found one of {self.model} "
                "without; forecast with members=24 (`--members 24`)"
            )
        return probabilities(self.members.pixels, self.mask, self.description, request)

    def points(
        self, request: ProbabilityRequest, found: Probabilities | None = None
    ) -> tuple[PointForecast, ...]:
        """What it says of the points that are asked for.

        Args:
            request: which points.
            found: what is made of its members, if it has some and that is there already.

        Raises:
            ConfigError: a point does not suit it.
        """
        if self.members is not None:
            return (found or self.probabilities(request)).points
        points = points_of(request.points, self.description)
        rates = np.full((len(points), len(self.pixels)), np.nan, dtype=np.float32)
        for lead in range(len(self.pixels)):
            frame = np.where(self.mask, self.rate_at(lead), np.nan)
            rates[:, lead] = [frame[point.row, point.column] for point in points]
        minutes = [(lead + 1) * self.description.step_minutes for lead in range(len(self.pixels))]
        return tuple(
            point_forecast(point, own[None], minutes, request.thresholds)
            for point, own in zip(points, rates, strict=True)
        )
