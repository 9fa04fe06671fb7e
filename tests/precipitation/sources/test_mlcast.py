"""Radar files become a dataset of mlcast, and such a store is an archive like any other."""

import pickle
import sys
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest
import requests
import xarray as xr

import nowcast
from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.frames import FrameError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.sources.stack.zarr_archive import ZarrArchive, open_archive

SIZE = 256
CLOCK = np.datetime64("2024-07-01T00:00", "m") + 5 * np.delete(np.arange(40), [7, 8])
ABOUT = {
    "license": "CC-BY-4.0",
    "created_by": "A. Tester <tester@example.org>",
    "created_with": "https://github.com/mlcast-community/mlcast-dataset-tests-rain@v0.1.0",
    "identifier": "NL-TESTS-rainfall_flux",
}
OPTIONS = [
    *(
        "--projection",
        "EPSG:3035",
        "--bounds",
        f"4000000,3000000,{4000 + SIZE}000,{3000 + SIZE}000",
    ),
    *("--importer", "stack", "--unit", "mm/h"),
]


def rates() -> np.ndarray:
    """Rain that drifts, NaN in a corner."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    frames = np.stack(
        [
            15 * np.exp(-((rows - 120) ** 2 + (columns - 60 - 3 * t) ** 2) / 400) - 0.05
            for t in range(len(CLOCK))
        ]
    ).clip(0)
    frames[:, :20, :20] = np.nan
    return frames


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "rain.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = rates().astype(np.float32)
        file["times"] = CLOCK.astype(np.int64)
    return path


@pytest.fixture(scope="module")
def store(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from nowcast.precipitation.sources.conversion.mlcast import Mlcast, write_mlcast
    from nowcast.precipitation.sources.conversion.target import Target
    from nowcast.precipitation.sources.field import Request

    root = tmp_path_factory.mktemp("stores") / "rain.zarr"
    bounds = (4e6, 3e6, 4e6 + 1000 * SIZE, 3e6 + 1000 * SIZE)
    request = Request(unit="mm/h", projection="EPSG:3035", bounds=bounds)
    said = write_mlcast(stack, root, "stack", request, Target(), Mlcast.read(ABOUT))
    assert said == f"{root}: 38 frames of 256x256 every 5 minutes, 2 missing times"
    return root


def test_the_validator_of_mlcast_finds_nothing_but_that_it_is_short(
    store: Path, monkeypatch: pytest.MonkeyPatch
):
    # Of botocore it wants one exception, for stores on S3.
    botocore = ModuleType("botocore.exceptions")
    botocore.NoCredentialsError = OSError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "botocore", ModuleType("botocore"))
    monkeypatch.setitem(sys.modules, "botocore.exceptions", botocore)
    radar = pytest.importorskip(
        "mlcast_dataset_validator.specs.source_data.radar_precipitation",
        reason="scripts/setup.sh installs mlcast-dataset-validator for the tests",
    )

    def offline(*args: object, **options: object) -> None:
        raise requests.RequestException("no network in tests")

    monkeypatch.setattr(requests, "get", offline)  # it asks GitHub for created_with
    with xr.open_zarr(store) as data:
        report, _ = radar.validate_dataset(data)
    fails = [result for result in report.results if result.status == "FAIL"]
    assert [result.requirement for result in fails] == ["Minimum 3-year coverage"], fails


def test_the_store_keeps_the_numbers_of_the_files(store: Path):
    with xr.open_zarr(store) as data:
        np.testing.assert_array_equal(data.rainfall_rate, rates().astype(np.float32))
        assert data.rainfall_rate.encoding["chunks"] == (1, SIZE, SIZE)
        expected = np.datetime64("2024-07-01T00:35") + np.array([0, 5], "timedelta64[m]")
        assert (data.missing_times == expected).all()
        assert data.crs.attrs["grid_mapping_name"] == "lambert_azimuthal_equal_area"


def test_a_store_is_read_as_the_archive_of_the_same_files(
    run, stack: Path, store: Path, tmp_path: Path
):
    status, _, err = run("data", "convert", stack, tmp_path / "tree", *OPTIONS)
    assert status == 0, err
    tree, found = Archive(tmp_path / "tree"), open_archive(store)
    assert isinstance(found, ZarrArchive) and (found.moments == tree.moments).all()
    assert found.description.grid is not None and tree.description.grid is not None
    assert found.description.grid.x_west == pytest.approx(tree.description.grid.x_west)
    for moment in tree.moments[::9]:
        np.testing.assert_array_equal(found.frame(moment), tree.frame(moment))
        np.testing.assert_array_equal(found.mask(moment), tree.mask(moment))
    window = (slice(100, 140), slice(40, 100))
    part = (slice(2, 12), slice(5, 45))
    filled = []
    for archive in (tree, pickle.loads(pickle.dumps(found))):
        levels = np.zeros((10, 10, 40), dtype=np.uint8)
        mask = np.zeros(levels.shape, dtype=bool)
        moments = np.datetime64("2024-07-01T00:20", "m") + 5 * np.arange(10)
        problems = archive.reader(window, 8).read(moments, part, levels, mask)
        assert [problem is None for problem in problems] == [t not in (3, 4) for t in range(10)]
        filled.append((levels, mask))
    np.testing.assert_array_equal(filled[0][0], filled[1][0])
    np.testing.assert_array_equal(filled[0][1], filled[1][1])
    with pytest.raises(FrameError, match="no frame at 2024-07-01T00:35"):
        found.frame(np.datetime64("2024-07-01T00:35"))


def test_days_are_listed_beside_it_to_score_and_pack_it(run, store: Path, tmp_path: Path):
    status, _, err = run("data", "days", store, "--all", "test")
    assert status == 0, err
    assert (store.with_name("rain.zarr.lists") / "hko7_rainy_test_days.txt").is_file()
    scored = nowcast.evaluate(
        "flow", store, overrides={"data.masks": "frame", "data.in_len": 3, "data.out_len": 2}
    )
    assert scored.score("b_mse") >= 0
    status, _, err = run("data", "pack", store, tmp_path / "rain.h5", "--masks", "frame")
    assert status == 0, err
    packed, found = open_archive(tmp_path / "rain.h5"), open_archive(store)
    np.testing.assert_array_equal(packed.frame(CLOCK[9]), found.frame(CLOCK[9]))


def of_cf(units: str, values: np.ndarray, **attrs: float) -> xr.Dataset:
    axes = {
        "time": CLOCK[:4].astype("datetime64[ns]"),
        "lat": ("lat", 50 + 0.01 * np.arange(30), {"units": "degrees_north"}),
        "lon": ("lon", 5 + 0.01 * np.arange(40), {"units": "degrees_east"}),
    }
    return xr.Dataset({"rain": (("time", "lat", "lon"), values, {"units": units, **attrs})}, axes)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("version", [2, 3])
def test_any_zarr_of_rain_by_cf_will_do(tmp_path: Path, version: int):
    amounts = np.random.default_rng(0).gamma(0.3, 0.5, (4, 30, 40))
    packed = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -1}
    amounts[:, 3, 3] = np.nan
    of_cf("mm", amounts).to_zarr(
        tmp_path / "sums.zarr", zarr_format=version, encoding={"rain": packed}
    )
    found = ZarrArchive(tmp_path / "sums.zarr")
    read = np.rint(amounts * 100)[1, ::-1] / 100 * 12
    known = ~np.isnan(read)
    pixels = found.calibration.pixel_from_rate(np.where(known, read, 0))
    np.testing.assert_array_equal(found.frame(CLOCK[1]), np.floor(255 * pixels + 0.5))
    np.testing.assert_array_equal(found.mask(CLOCK[1]), known)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_what_a_store_lacks_is_said(tmp_path: Path):
    dbz = np.full((4, 30, 40), 20.0)
    of_cf("dBZ", dbz).to_zarr(tmp_path / "dbz.zarr")
    with pytest.raises(ConfigError, match="state zr_a and zr_b of Z = a R\\^b"):
        ZarrArchive(tmp_path / "dbz.zarr")
    of_cf("dBZ", dbz, zr_a=200.0, zr_b=1.6).to_zarr(tmp_path / "good.zarr")
    found = ZarrArchive(tmp_path / "good.zarr")
    assert (found.frame(CLOCK[0]) == round(255 * 30 / 70)).all() and found.calibration.zr_b == 1.6
    of_cf("mm/h", dbz * 1e3).to_zarr(tmp_path / "absurd.zarr")
    with pytest.raises(DataError, match="expected mm_h of 0 to 2000"):
        ZarrArchive(tmp_path / "absurd.zarr").frame(CLOCK[0])
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "empty.zarr" / "zarr.json").write_text("{")
    with pytest.raises(DataError, match="expected a Zarr store with rain"):
        open_archive(tmp_path / "empty.zarr")


def test_what_mlcast_wants_is_asked_for(run, stack: Path, tmp_path: Path):
    place = ["data", "convert", stack, tmp_path / "out.zarr", "--to", "mlcast"]
    for options, said in (
        (OPTIONS, "--mlcast: expected license=CC-BY-4.0"),
        ([*OPTIONS, "--mlcast", "license"], "--mlcast: expected KEY=VALUE"),
        (
            [
                *OPTIONS[4:],
                *(word for pair in ABOUT.items() for word in ("--mlcast", "=".join(pair))),
            ],
            "expected a projected map, which mlcast wants, found none stated",
        ),
    ):
        status, _, err = run(*place, *options)
        assert status == 2 and said in err
    assert not (tmp_path / "out.zarr").exists()
    status, _, err = run("data", "convert", stack, tmp_path / "tree", *OPTIONS, "--mlcast", "a=b")
    assert status == 2 and "expected it with --to mlcast" in err
    assert not (tmp_path / "tree").exists()
