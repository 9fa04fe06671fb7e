"""Forecasts from Python: from an archive, from files, or from an array of rain."""

import time
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from jaxtyping import Float32

from nowcast.api.arrays import ArrayFrames, source_of_array
from nowcast.api.forecasters import LoadedForecaster, load
from nowcast.api.labelled import Layout, is_labelled
from nowcast.api.progress import shows_progress
from nowcast.core.errors import ConfigError
from nowcast.core.terminal.progress import line, say
from nowcast.core.terminal.result_warnings import ResultWarning
from nowcast.precipitation.archive.description import Grid
from nowcast.precipitation.archive.frames import Moments
from nowcast.precipitation.archive.reader import RadarFrames
from nowcast.precipitation.forecasting.checked import newest
from nowcast.precipitation.forecasting.forecast import Forecaster
from nowcast.precipitation.forecasting.init_time import Lead, init_time, lead_minutes
from nowcast.precipitation.forecasting.inputs import FrameSource
from nowcast.precipitation.forecasting.places import check_there, opened
from nowcast.precipitation.forecasting.probabilities.made import Probabilities
from nowcast.precipitation.forecasting.probabilities.points import PointForecast
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
from nowcast.precipitation.forecasting.products.dataset import to_dataset
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.products.widths import (
    LARGEST_WIDTH,
    LEAST_WIDTH,
    WIDTH,
)
from nowcast.precipitation.forecasting.products.written import Format, write
from nowcast.precipitation.forecasting.released.weights import default
from nowcast.precipitation.sources.feed.reader import Reading
from nowcast.precipitation.sources.stack.xarray_object import read_xarray

if TYPE_CHECKING:
    import xarray

DEFAULT_FORMATS: tuple[Format, ...] = ("png", "gif", "nc")


@dataclass(frozen=True)
class Nowcast:
    """A forecast: rain rates, times, and what must be known of both.

    Args:
        product: the forecast as the file writers take it.
        request: what to make of its members, where it has some.
        layout: how the xarray object lay that it was made of; None of other sources.
    """

    product: Forecast
    request: ProbabilityRequest = field(default_factory=ProbabilityRequest)
    layout: Layout | None = None

    @classmethod
    @shows_progress
    def of(
        cls,
        source: Any,
        weights: str | Path | LoadedForecaster | None = None,
        *,
        times: Any = None,
        unit: str | None = None,
        zr: tuple[int | float, int | float] | None = None,
        grid: Grid | None = None,
        at: str | np.datetime64 | None = None,
        lead: Lead | None = None,
        members: int | None = None,
        seed: int = 0,
        probabilities: ProbabilityRequest | None = None,
        reading: Reading | None = None,
    ) -> "Nowcast":
        """Forecast rain from the newest frames of a radar.

        What a user must know of the forecast (missing frames, a radar outage, another time step
        than trained on) is a `ResultWarning` each, and in `Nowcast.notes`.

        Args:
            source: the path of an archive (a folder with radarPNG/, or a packed file), paths of
                some of its frames; radar files of any format that `nowcast data convert` reads, as
                paths, folders and globs; an array ``time height width``, row 0 north, with NaN for
                no data; or an xarray DataArray or Dataset, which says itself what and where it is
                (`xarray_object`).
            weights: as `load` takes them; None: `comoving-memel`, which comes with nowcast.
            times: of an array: valid time of each frame, UTC.
            unit: of an array that states none: dBZ, mm/h, mm (a sum over each step) or whatever
                else `measure` reads; None: mm/h.
            zr: of an array: a and b of its Z-R relation; None: HKO-7's.
            grid: of an array that states none: where its pixels lie.
            at: use no frame after this time: ISO text with an offset or in UTC, or datetime64
                (UTC).
            lead: how far ahead: ``"60min"``, ``"2h"``, 90 (minutes) or a timedelta; None: as far
                as trained, 10 steps for a baseline.
            members: how many members, of a forecaster that has them; None: one forecast.
            seed: of what is random in the members: the same seed and frames give the same.
            probabilities: what to make of the members, and points to say more of, which need no
                members; None: the benchmark's thresholds.
            reading: how radar files are to be read, where they leave it open: importer, unit, Z-R
                relation.

        Raises:
            ConfigError: no such archive, array or weights; a forecaster without members, or not so
                many; more members than fit into memory; a request that does not suit the forecast.
            DataError: too many frames are missing or damaged.
            RunError: the weights cannot be loaded, or give no numbers.
        """
        loaded = load(default(members) if weights is None else weights)
        moment = init_time(at) if isinstance(at, str) else at
        minutes = None if lead is None else lead_minutes(lead)
        began = time.perf_counter()
        paths = _paths(source)
        with line(f"reading {paths[0] if paths else 'frames'}"):
            if paths:
                archive, moments, layout = _read_files(paths, reading, moment)
            else:
                archive, moments, layout = _read_array(source, times, unit, zr, grid)
            choice = loaded.choice
            frames = FrameSource(archive, choice.masks)
            forecaster = Forecaster(choice, frames.description, minutes, members=members, seed=seed)
            request = _checked_request(probabilities, members, forecaster)
            inputs = newest(frames, choice.in_len, moment, moments, choice.least_in_len)
        if forecaster.memory_note is not None:
            say(forecaster.memory_note)  # before the memory is taken
        with line(f"forecasting with {choice.name} from {inputs.init}"):
            made = forecaster.forecast(inputs, time.perf_counter() - began)
        for note in made.facts["notes"]:
            if note != forecaster.memory_note:
                warnings.warn(note, ResultWarning, stacklevel=3)
        return cls(made, request, layout)

    @property
    def rates(self) -> Float32[np.ndarray, "time y x"]:
        """Rain rates in mm/h, row 0 north; NaN where the newest frame had no data."""
        rates = self.product.rate_mm_h()
        rates[:, ~self.product.mask] = np.nan
        return rates

    @property
    def members(self) -> Float32[np.ndarray, "member time y x"] | None:
        """Rain rates of each member in mm/h, NaN as in `rates`; None without members."""
        members = self.product.members
        if members is None:
            return None
        calibration = self.product.description.calibration
        rates = np.stack(
            [calibration.rate_from_pixel(each).astype(np.float32) for each in members.pixels]
        )
        rates[:, :, ~self.product.mask] = np.nan
        return rates

    def probabilities(self, request: ProbabilityRequest | None = None) -> Probabilities:
        """Mean, probability-matched mean, exceedance, quantiles, windows and arrivals of its
        members; of another request than it was made with, if one is given.

        Raises:
            ConfigError: it has no members, or the request does not suit it.
        """
        return self.product.probabilities(request or self.request)

    def points(self, *points: str) -> tuple[PointForecast, ...]:
        """The rain at points by lead time, and when it arrives there.

        Args:
            *points: as ``52.10,5.18,De Bilt`` (latitude, longitude, a name) or ``px:240,200`` (row,
                column), or ``.csv`` files of such; none: those that it was made with.

        Raises:
            ConfigError: one is none of these, or outside the frame.
        """
        return self.product.points(replace(self.request, points=points) if points else self.request)

    @property
    def times(self) -> Moments:
        """Valid time of each lead time, UTC, datetime64[m]."""
        return self.product.times

    @property
    def init(self) -> np.datetime64:
        """Init time, UTC: that of the newest frame."""
        return self.product.init

    @property
    def facts(self) -> Mapping[str, Any]:
        """Weights, inputs, missing frames, timing: what ``forecast.json`` holds as ``facts``."""
        return self.product.facts

    @property
    def notes(self) -> list[str]:
        """What a user must know of it, a sentence each."""
        return list(self.facts["notes"])

    def to_xarray(self) -> "xarray.Dataset":
        """As an xarray.Dataset that follows the CF conventions (`products.dataset`): rain rates and
        amounts, arrival times, reflectivity and where the pixels lie as far as that is known; with
        members also what is made of them (`ensemble_netcdf`). Of an xarray object it has the
        dimensions, coordinates and directions of that.
        """
        found = None if self.product.members is None else self.probabilities()
        dataset = to_dataset(self.product, found)
        return dataset if self.layout is None else self.layout.restored(dataset)

    def save(
        self,
        folder: str | Path,
        formats: Collection[str] = DEFAULT_FORMATS,
        size: int = WIDTH,
    ) -> list[Path]:
        """Write pictures and frames (png), an animation (gif), netCDF (nc) or HDF5 (h5), and
        ``forecast.json``, in place of a forecast that is there. Pictures are `size` pixels wide.

        Returns:
            the files, ``forecast.json`` last.

        Raises:
            ConfigError: a file to write is there already and is of no forecast; unknown format;
                a size that no picture can have.
            OutputError: the folder cannot be written to.
        """
        known = [kind for kind in get_args(Format) if kind in formats]
        if len(known) != len(set(formats)):
            raise ConfigError(
                f"formats: expected some of {', '.join(get_args(Format))}, found "
                f"{', '.join(formats)}"
            )
        if not LEAST_WIDTH <= size <= LARGEST_WIDTH:
            raise ConfigError(
                f"size: expected pictures of {LEAST_WIDTH} to {LARGEST_WIDTH} pixels width, found "
                f"{size}"
            )
        with line(f"writing {folder}"):
            return write(self.product, Path(folder), known, self.request, size)

    def __repr__(self) -> str:
        count, height, width = self.product.pixels.shape
        held = self.product.members
        members = "" if held is None else f"{len(held.pixels)} members, "
        return (
            f"<Nowcast by {self.product.model} from {self.init} UTC: {members}{count} x "
            f"{self.product.description.step_minutes} minutes, {height}x{width} pixels>"
        )


@shows_progress
def forecast(
    data: Any,
    weights: str | Path | LoadedForecaster | None = None,
    lead: Lead | None = None,
    members: int | None = None,
    **options: Any,
) -> "xarray.Dataset":
    """Forecast rain: arrays in, arrays out.

    Example:
        ``nowcast.forecast(rain, lead="60min")`` of an xarray.DataArray ``rain``.

    Args:
        data: an xarray object, an array or paths, as `Nowcast.of` takes them.
        weights: as `load` takes them; None: `comoving-memel`, which comes with nowcast.
        lead: how far ahead: ``"60min"``, ``"2h"``, 90 (minutes) or a timedelta; None: as far as
            trained, 10 steps for a baseline.
        members: how many members, of a forecaster that has them; None: one forecast.
        **options: the others of `Nowcast.of`.

    Returns:
        `Nowcast.to_xarray`: ``rainfall_rate`` (mm/h) and more over time, y and x, by the CF
        conventions.

    Raises:
        ConfigError, DataError, RunError: as `Nowcast.of`.
    """
    return Nowcast.of(data, weights, lead=lead, members=members, **options).to_xarray()


_Read = tuple[RadarFrames, Moments, Layout | None]  # frames, the times meant, how they lay


def _read_files(paths: list[Path], reading: Reading | None, at: np.datetime64 | None) -> _Read:
    check_there(paths, watching=False)
    return *opened(paths, reading, at), None


def _read_array(
    source: Any,
    times: Any,
    unit: str | None,
    zr: tuple[int | float, int | float] | None,
    grid: Grid | None,
) -> _Read:
    layout = None
    if is_labelled(source):
        found = read_xarray(source, times, unit, grid)
        layout = Layout.of(found)
        archive = ArrayFrames(found.source, zr or found.zr)
    else:
        archive = ArrayFrames(source_of_array(source, times, unit or "mm/h", grid), zr)
    return archive, archive.moments, layout


def _checked_request(
    request: ProbabilityRequest | None, members: int | None, forecaster: Forecaster
) -> ProbabilityRequest:
    """The request, once it is sure that it suits the forecast."""
    found = request or ProbabilityRequest()
    if members is None and request is not None and (found.needs_members or not found.points):
        raise ConfigError(
            "probabilities: expected members beside it, found none; give members=24, or leave all "
            "but its points out"
        )
    found.of(forecaster.description, forecaster.out_len)
    return found


def _paths(source: object) -> list[Path]:
    """The paths that a source consists of; none if it is an array."""
    if isinstance(source, str | Path):
        return [Path(source)]
    if isinstance(source, list | tuple) and all(isinstance(part, str | Path) for part in source):
        return [Path(part) for part in source]
    return []
