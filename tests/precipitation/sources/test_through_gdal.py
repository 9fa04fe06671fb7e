"""GeoTIFF and GRIB as GDAL writes them: values, unit, no data, time and place come back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio import Affine

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.raw_files import next_move
from nowcast.precipitation.sources.feed.reader import Feed
from nowcast.precipitation.sources.field import Request
from nowcast.precipitation.sources.libraries.through_gdal import read_through_gdal

RATES = np.random.default_rng(0).uniform(0, 20, (6, 8)).astype(np.float32)
RATES[1, 2] = -9999


def tiff(path: Path, unit: str | None = "mm/h", **changed: Any) -> Path:
    """A GeoTIFF of one field on a grid of 1 km."""
    tags = changed.pop("tags", {})
    values = changed.pop("values", RATES)
    profile = {
        "driver": "GTiff",
        "height": 6,
        "width": 8,
        "count": 1,
        "dtype": "float32",
        "crs": "EPSG:3035",
        "transform": Affine(1000, 0, 4e6, 0, -1000, 3e6),
        "nodata": -9999,
        "compress": "deflate",
    } | changed
    with rasterio.open(path, "w", **profile) as file:
        for band in range(1, file.count + 1):
            file.write(values, band)
            if unit is not None:
                file.set_band_unit(band, unit)
        file.update_tags(**tags)
    return path


def grib(path: Path, time: str) -> Path:
    """GRIB2 with a precipitation rate in kg m-2 s-1, which GDAL wrote."""
    place: dict[str, Any] = {"crs": "EPSG:4326", "transform": Affine(0.1, 0, 5, 0, -0.1, 55)}
    rates = np.where(RATES < 0, -9999, RATES / 3600).astype(np.float32)
    made = tiff(path.with_suffix(".tif"), None, values=rates, **place)
    values = "1 7 2 0 0 0 0 0 0 0 1 0 0 255 0 0"
    options = {"NBITS": "24", "BAND_1_PDS_PDTN": "0"}
    options["BAND_1_PDS_TEMPLATE_ASSEMBLED_VALUES"] = values
    rasterio.shutil.copy(made, path, driver="GRIB", IDS_REF_TIME=f"{time}Z", **options)
    made.unlink()
    return path


def test_a_geotiff(tmp_path: Path):
    path = tiff(tmp_path / "rain_202405011205.tif")
    (source,) = read_through_gdal(path, Request())
    (field,) = source
    assert (str(field.time), field.unit) == ("2024-05-01T12:05", "mm_h")
    np.testing.assert_array_equal(field.values, np.where(RATES < 0, np.nan, RATES))
    assert field.grid is not None and "+proj=laea" in field.grid.projection
    assert (field.grid.x_west, field.grid.y_north, field.grid.pixel_y) == (4e6, 3e6, 1000)


def test_what_a_geotiff_states_of_its_numbers_and_rows(tmp_path: Path):
    turned = Affine(1000, 0, 4e6, 0, 1000, 3e6 - 6000)
    tags = {"TIFFTAG_DATETIME": "2024:05:01 12:05:00"}
    path = tiff(tmp_path / "a.tif", transform=turned, tags=tags)
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (0.5,), (2.0,)
    (field,) = read_through_gdal(path, Request())[0]
    np.testing.assert_allclose(field.values[::-1], np.where(RATES < 0, np.nan, RATES * 0.5 + 2))
    assert field.grid is not None and field.grid.y_north == 3e6
    assert str(field.time) == "2024-05-01T12:05"


def test_grib2_folders_are_a_feed(tmp_path: Path):
    for number in range(3):
        grib(tmp_path / f"t{number}.grib2", f"2024-05-01T12:{5 * number:02}:00")
    assert "GRIB" in str(next_move(tmp_path)) and "--importer gdal" in str(next_move(tmp_path))
    (source,) = read_through_gdal(tmp_path, Request())
    assert str(source.times[-1]) == "2024-05-01T12:10"
    field = source.read(0)
    np.testing.assert_allclose(field.values, np.where(RATES < 0, np.nan, RATES), atol=0.01)
    feed = Feed([tmp_path])
    assert len(feed.moments) == 3 and not feed.mask(feed.moments[0])[1, 2]
    assert feed.description.grid is not None and feed.description.grid.x_west == 5


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("a.tif", {}, "expected a time in its name"),
        ("a_202405011205.tif", {"unit": "K"}, "found 'K' as its units"),
        ("a_202405011205.tif", {"count": 2}, "expected one band of rain .* found 2 of 2"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path: Path, name: str, changed: Any, said: str):
    with pytest.raises(DataError, match=rf"{name}: .*{said}"):
        read_through_gdal(tiff(tmp_path / name, **changed), Request())


def test_a_file_without_unit_needs_one_and_a_damaged_one_is_an_error(tmp_path: Path):
    path = tiff(tmp_path / "a_202405011205.tif", None)
    with pytest.raises(ConfigError, match="--unit: --importer gdal needs to know it"):
        read_through_gdal(path, Request())
    assert read_through_gdal(path, Request(unit="mm"))[0].read(0).unit == "mm"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a_2024.*GDAL cannot read it"):
        read_through_gdal(path, Request(unit="mm"))[0].read(0)
