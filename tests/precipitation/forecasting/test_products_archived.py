"""A forecast is read as an archive, and is called a forecast there."""

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.packed import open_archive
from nowcast.precipitation.archive.reader import ArchiveReader
from nowcast.precipitation.forecasting.products.result import Forecast
from nowcast.precipitation.forecasting.products.written import write
from tests.made_forecasts import LONGLAT, made


def opened(kind: str, forecast: Forecast, out: Path) -> ArchiveReader:
    write(forecast, out, [kind])
    return open_archive(out if kind == "png" else out / "forecast.h5")


@pytest.mark.parametrize("kind", ["png", "h5"])
def test_what_is_read_is_what_was_forecast(tmp_path: Path, kind: str):
    forecast = made(grid=LONGLAT)
    archive = opened(kind, forecast, tmp_path)
    assert (archive.moments == forecast.times).all()
    for moment, pixels in zip(forecast.times, forecast.pixels, strict=True):
        levels = archive.frame(moment)
        assert np.abs(levels[:, :-1] / 255 - pixels[:, :-1]).max() <= 0.5 / 255 + 1e-6
        assert (levels[:, -1] == 0).all()
        assert (archive.mask(moment) == forecast.mask).all()
    assert (archive.usable == forecast.mask).all()


@pytest.mark.parametrize("kind", ["png", "h5"])
def test_no_one_takes_it_for_a_measurement(tmp_path: Path, kind: str):
    forecast = made(grid=LONGLAT)
    described = opened(kind, forecast, tmp_path).description
    assert described.name == "tiny forecast"
    assert described.history == ("made up", "forecast of persistence from 2026-07-01T23:50 UTC")
    assert (described.grid, described.credit) == (LONGLAT, forecast.description.credit)
    assert (described.zr_a, described.zr_b, described.step_minutes) == (200.0, 1.6, 5)


def test_a_frame_is_an_8_bit_grey_png_under_hko_7s_name(tmp_path: Path):
    write(made(), tmp_path, ["png"])
    path = tmp_path / "radarPNG" / "2026" / "07" / "02" / "RAD260702000500.png"
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image.dtype == np.uint8 and image.shape == (6, 8)
    assert (image[:, 0] == 0).all() and image[:, 1:-1].any()


def test_plain_hdf5_without_a_plugin(tmp_path: Path):
    forecast = made()
    write(forecast, tmp_path, ["h5"])
    with h5py.File(tmp_path / "forecast.h5") as file:
        assert {file[name].compression for name in ("levels", "usable")} == {"gzip"}
        minutes = file["times"][...].astype("datetime64[m]")
        assert (minutes == forecast.times).all()
        assert (file["usable"][...].astype(bool) == forecast.mask).all()
        assert Description.from_json(file.attrs["description"]).name == "tiny forecast"
        assert {len(days) for days in file["days"].values()} == {0}
        assert (file.attrs["init"], file.attrs["model"]) == ("2026-07-01T23:50Z", "persistence")
