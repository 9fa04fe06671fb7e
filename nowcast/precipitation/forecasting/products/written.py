"""The files of a forecast, written into one folder: all of them, and then the list of them."""

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np

from nowcast.core.errors import ConfigError
from nowcast.core.storage.files import refused, write_json, write_whole
from nowcast.precipitation.forecasting.probabilities.made import Probabilities
from nowcast.precipitation.forecasting.probabilities.points import PointForecast
from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
from nowcast.precipitation.forecasting.products.archived import write_pack, write_tree
from nowcast.precipitation.forecasting.products.ensemble.pictures import (
    write_probability_animations,
    write_stamps,
)
from nowcast.precipitation.forecasting.products.ensemble.summary import ensemble_summary
from nowcast.precipitation.forecasting.products.netcdf import write_netcdf, write_observed
from nowcast.precipitation.forecasting.products.pictures import write_animation, write_pictures
from nowcast.precipitation.forecasting.products.points import write_points
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.products.widths import WIDTH
from nowcast.precipitation.forecasting.products.words import peak
from nowcast.precipitation.pictures.view import Mark

Format = Literal["png", "gif", "nc", "h5"]

SUMMARY = "forecast.json"
UNITS = {"pixels": "(dBZ + 10) / 70, in [0, 1]", "rates": "mm/h", "times": "UTC"}


def write(
    forecast: Forecast,
    out: Path,
    formats: Collection[Format],
    request: ProbabilityRequest | None = None,
    width: int = WIDTH,
) -> list[Path]:
    """Write a forecast into a folder, in place of the one that is there.

    - ``png``: ``pictures/+005min.png`` and so on to look at, and the frames themselves as an
      archive in HKO-7's layout: ``radarPNG/``, ``radarPNG_mask/``, ``hko_data/``, ``archive.json``;
    - ``gif``: ``forecast.gif``, an animation of the last observed frames and the forecast;
    - ``nc``: ``forecast.nc``, CF-netCDF (`netcdf`), and ``observed.nc``, the frames before it;
    - ``h5``: ``forecast.h5``, plain HDF5 (`archived.write_pack`);
    - ``points.json`` and ``points.csv``, where the request has points (`points`);
    - always ``forecast.json``: what was forecast, rates for each lead time, and the other files.

    Of a forecast with members all of these are of the one that stands for them. Beside those the
    netCDF and ``forecast.json`` have what ``request`` asks for of the members (`ensemble_netcdf`,
    `ensemble_summary`; None: the benchmark's thresholds), ``gif`` writes a
    ``probability_2mm_h.gif`` for each threshold, and ``png`` writes ``stamps/``, some members side
    by side.

    ``forecast.json`` is written last, so where it lies all is whole. Files of an earlier forecast
    are known from it and removed; others are never touched.

    Args:
        forecast: what to write.
        out: the folder.
        formats: as above.
        request: what to make of members.
        width: of pictures, pixels.

    Returns:
        The files, ``forecast.json`` last.

    Raises:
        ConfigError: a file to write is there already and is of no forecast that is listed, or the
            request does not suit the forecast.
        OutputError: the folder cannot be written to.
    """
    found = None
    if forecast.members is not None:
        found = forecast.probabilities(request or ProbabilityRequest())
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out, prefix=".forecast-") as beside:
            points = forecast.points(request, found) if request and request.points else ()
            picked = (told.point for told in points)
            marks = tuple(Mark(point.name, point.row, point.column) for point in picked)
            made = _Made(forecast, found, width, marks)
            staged = _stage(made, Path(beside), formats)
            if request is not None and points:
                staged |= _points(forecast, points, request, Path(beside) / "points")
            summary = Path(beside) / SUMMARY
            write_json(summary, _summary(forecast, found, sorted(staged)))
            _clear(out, staged)
            for name, path in [*staged.items(), (SUMMARY, summary)]:
                _move(path, out / name)
    except (OSError, RuntimeError) as error:  # h5py raises either where HDF5 cannot write
        raise refused(out, error) from error
    return [out / name for name in [*sorted(staged), SUMMARY]]


class _Made(NamedTuple):
    """What the files are of, and how wide pictures are and what they point out."""

    forecast: Forecast
    found: Probabilities | None
    width: int
    marks: tuple[Mark, ...]


def _png(made: _Made, folder: Path) -> None:
    forecast, found, width, marks = made
    write_tree(forecast, folder)
    write_pictures(forecast, folder / "pictures", width, marks)
    if found is not None:
        write_stamps(forecast, folder / "stamps", width)


def _gif(made: _Made, folder: Path) -> None:
    forecast, found, width, marks = made
    folder.mkdir()
    write_animation(forecast, folder / "forecast.gif", width, marks)
    if found is not None:
        write_probability_animations(forecast, found, folder, width, marks)


def _nc(made: _Made, folder: Path) -> None:
    folder.mkdir()
    write_netcdf(made.forecast, folder / "forecast.nc", made.found)
    if made.forecast.observed is not None:
        write_observed(made.forecast, folder / "observed.nc")


def _h5(made: _Made, folder: Path) -> None:
    folder.mkdir()
    write_pack(made.forecast, folder / "forecast.h5")


# What writes a format into a new folder.
_WRITERS: dict[Format, Callable[[_Made, Path], None]] = {
    "png": _png,
    "gif": _gif,
    "nc": _nc,
    "h5": _h5,
}


def _stage(made: _Made, beside: Path, formats: Collection[Format]) -> dict[str, Path]:
    """Write everything beside its place: name within the forecast's folder -> where it is now."""
    staged = {}
    for kind in formats:
        folder = beside / kind
        _WRITERS[kind](made, folder)
        for path in folder.rglob("*"):
            if path.is_file():
                staged[path.relative_to(folder).as_posix()] = path
    return staged


def _points(
    forecast: Forecast, points: Sequence[PointForecast], request: ProbabilityRequest, folder: Path
) -> dict[str, Path]:
    folder.mkdir()
    write_points(forecast, points, request.thresholds, request.radius, folder)
    return {path.name: path for path in folder.iterdir()}


def _clear(out: Path, staged: dict[str, Path]) -> None:
    """Remove the forecast that is there, its list first, and folders that are empty then."""
    earlier = _listed(out / SUMMARY)
    foreign = [name for name in staged if (out / name).exists() and name not in earlier]
    if foreign:
        raise ConfigError(
            f"{out}: expected a new folder or one of a whole forecast, found {foreign[0]}, which "
            f"no {SUMMARY} there lists; choose another --out, or remove it"
        )
    (out / SUMMARY).unlink(missing_ok=True)
    for name in earlier:
        path = out / name
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == out or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()


def _listed(summary: Path) -> set[str]:
    """The files that a ``forecast.json`` lists, all of them within its folder."""
    if not summary.exists():
        return set()
    root = summary.parent.resolve()
    try:
        names = json.loads(summary.read_text())["files"]
        outside = [name for name in names if root not in (root / name).resolve().parents]
        if outside:
            raise ValueError(f"{outside[0]} lies outside its folder")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{summary}: expected the list of files that an earlier forecast wrote here, found "
            f"something else ({error!r}); choose another --out, or remove that file"
        ) from error
    return set(names)


def named(out: Path) -> str | None:
    """The forecast that lies in a folder, for people; None if there is none."""
    try:
        told = json.loads((out / SUMMARY).read_text())
        return f"the forecast of {told['model']} from {told['init']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _move(staged: Path, target: Path) -> None:
    def write(temporary: Path) -> None:
        staged.replace(temporary)

    write_whole(target, write)


def _summary(forecast: Forecast, found: Probabilities | None, files: list[str]) -> dict[str, Any]:
    """What ``forecast.json`` holds; rates are over unmasked pixels, null where there are none."""
    description = forecast.description
    minutes = (forecast.times - forecast.init).astype("timedelta64[m]").astype(int)
    leads = []
    for number, (lead, time) in enumerate(zip(minutes, forecast.times, strict=True)):
        rates = np.where(forecast.mask, forecast.rate_at(number), np.nan)
        known, largest = rates[forecast.mask], peak(rates, description)
        leads.append(
            {
                "lead_minutes": int(lead),
                "time": f"{time}Z",
                "max_mm_h": round(float(known.max()), 4) if known.size else None,
                "mean_mm_h": round(float(known.mean(dtype=float)), 4) if known.size else None,
                "max_at": None if largest is None else largest.place,
            }
        )
    return {
        "model": forecast.model,
        "init": f"{forecast.init}Z",
        "archive": description.name,
        "credit": description.credit,
        "note": description.note,
        "step_minutes": description.step_minutes,
        "height": description.height,
        "width": description.width,
        "known_share": round(float(forecast.mask.mean()), 4),
        "units": UNITS,
        "leads": leads,
        **({} if found is None else {"ensemble": ensemble_summary(forecast, found)}),
        "facts": dict(forecast.facts),
        "files": files,
    }
