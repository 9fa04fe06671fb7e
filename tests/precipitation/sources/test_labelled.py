"""netCDF-3, Zarr 2 and 3, single fields, and folders of them: read as the same stack in HDF5 is."""

import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.raw_files import next_move
from nowcast.precipitation.sources.feed.reader import Feed
from nowcast.precipitation.sources.field import Request, Source
from nowcast.precipitation.sources.stack.reader import read_stack

TIMES = np.datetime64("2024-05-01T12:00", "ns") + np.timedelta64(5, "m") * np.arange(4)
RATES = np.random.default_rng(0).uniform(0, 30, (4, 6, 8)).round(1)
RATES[:, 2, 3] = np.nan


def rain() -> xarray.Dataset:
    """Rain as CF has it, packed as 16-bit tenths, rows from south to north."""
    found = xarray.Dataset(
        {
            "rain": (("time", "y", "x"), RATES[:, ::-1]),
            "quality": (("time", "y", "x"), np.ones(RATES.shape)),
            "crs": ((), 0),
        },
        {"time": TIMES, "y": 1000.0 * np.arange(6), "x": 1000.0 * np.arange(8)},
    )
    found["rain"].attrs = {"units": "mm/h", "grid_mapping": "crs"}
    found["quality"].attrs = {"units": "1"}
    found["crs"].attrs = {"grid_mapping_name": "latitude_longitude", "spatial_ref": "EPSG:3035"}
    for axis in "yx":
        found[axis].attrs = {"standard_name": f"projection_{axis}_coordinate", "units": "m"}
    packed = {"dtype": "int16", "scale_factor": 0.1, "_FillValue": -1}
    found["rain"].encoding = packed
    found["time"].encoding = {"units": "minutes since 2024-01-01", "dtype": "int32"}
    return found


def zarr(version: int) -> Callable[[xarray.Dataset, Path], object]:
    def write(dataset: xarray.Dataset, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # consolidated metadata is no part of format 3
            dataset.to_zarr(path, zarr_format=version)

    return write


WRITERS: dict[str, Callable[[xarray.Dataset, Path], object]] = {
    "netcdf3": lambda dataset, path: dataset.to_netcdf(path, engine="scipy"),
    "netcdf4": lambda dataset, path: dataset.to_netcdf(path, engine="h5netcdf"),
    "zarr2": zarr(2),
    "zarr3": zarr(3),
}


def check(source: Source, rates: np.ndarray = RATES) -> None:
    assert len(source) == len(rates)
    for field, expected in zip(source, rates, strict=True):
        assert field.unit == "mm_h"
        np.testing.assert_allclose(field.values, expected, atol=1e-9)
        assert field.grid is not None and "+proj=laea" in field.grid.projection
        assert (field.grid.x_west, field.grid.y_north) == (-500, 5500)


@pytest.mark.parametrize("name", WRITERS)
def test_each_container_holds_the_same_stack(tmp_path: Path, name: str):
    WRITERS[name](rain(), tmp_path / "rain.data")
    (source,) = read_stack(tmp_path / "rain.data", Request())
    assert np.array_equal(source.times, TIMES.astype("datetime64[m]"))
    check(source)
    feed = Feed([tmp_path / "rain.data"])
    assert len(feed.moments) == 4 and feed.description.step_minutes == 5
    assert not feed.mask(feed.moments[0])[2, 3] and feed.mask(feed.moments[0]).sum() == 47
    assert "--importer stack" in str(next_move(tmp_path / "rain.data"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_of_single_fields_is_one_stack(tmp_path: Path, name: str):
    for number, time in enumerate(TIMES):
        one = rain().isel(time=number, drop=False) if number % 2 else rain().isel(time=[number])
        one["time"].encoding = {"units": "minutes since 2024-01-01", "dtype": "int32"}
        WRITERS[name](one.drop_vars("quality"), tmp_path / f"rain_{time}.data".replace(":", ""))
    (source,) = read_stack(tmp_path, Request())
    check(source)
    assert list(Feed([tmp_path]).moments) == list(TIMES.astype("datetime64[m]"))


def test_what_cannot_be_told_apart_is_asked_for(tmp_path: Path):
    two = rain().assign(more=rain()["rain"])
    two.to_netcdf(tmp_path / "two.nc", engine="h5netcdf")
    with pytest.raises(ConfigError, match=r"--datasets: .*found 2 among rain, more"):
        read_stack(tmp_path / "two.nc", Request())
    (source,) = read_stack(tmp_path / "two.nc", Request(datasets=("more", "time")))
    check(source)
    with h5py.File(tmp_path / "times.h5", "w") as file:
        file["rain"] = RATES
        file["valid_time"] = file["init_time"] = np.arange(4)
    with pytest.raises(ConfigError, match=r"times of /rain, found 2 among init_time, valid_time"):
        read_stack(tmp_path / "times.h5", Request(unit="mm/h"))


def test_a_damaged_store_is_one_error(tmp_path: Path):
    WRITERS["zarr3"](rain(), tmp_path / "rain.zarr")
    chunk = next(path for path in (tmp_path / "rain.zarr" / "rain").rglob("*") if path.name == "0")
    chunk = next(path for path in chunk.parent.rglob("*") if path.is_file())
    chunk.write_bytes(b"nothing")
    (source,) = read_stack(tmp_path / "rain.zarr", Request())
    with pytest.raises(DataError, match=r"rain\.zarr: .*cannot be read"):
        _ = [field.values for field in source]
    (tmp_path / "rain.zarr" / "zarr.json").write_text("{")
    with pytest.raises(DataError, match=r"rain\.zarr: .*cannot be read"):
        read_stack(tmp_path / "rain.zarr", Request())
