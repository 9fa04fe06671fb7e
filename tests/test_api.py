"""The Python API: what notebooks call, on the paths that the command line takes."""

import csv
import io
import json
import re
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray

import nowcast
from nowcast.core.errors import ConfigError, DataError
from nowcast.core.terminal.result_warnings import ResultWarning
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.forecasting.released.weights import located
from tests.tiny_runs import IN_LEN, OUT_LEN, write_run

QUICK = {
    "train__steps": 2,
    "train__validate_every": 2,
    "data__random_crop": [32, 32],
    "data__stride": 60,
}


def shower(times: int = 10) -> np.ndarray:
    """A shower of 20 mm/h that moves 3 pixels a frame."""
    rows, columns = np.mgrid[:48, :64]
    return np.stack(
        [20 * np.exp(-((rows - 24) ** 2 + (columns - 15 - 3 * t) ** 2) / 32) for t in range(times)]
    )


def clock(times: int = 10) -> np.ndarray:
    return np.datetime64("2024-07-01T10:00", "m") + 5 * np.arange(times)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    write_run(folder)
    return folder


def test_the_stub_has_the_public_names():
    stubbed = re.findall(r" as (\w+)", Path(nowcast.__file__).with_suffix(".pyi").read_text())
    assert sorted(stubbed) == sorted(nowcast.__all__)
    assert {"load", "compare"} <= set(dir(nowcast))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        nowcast.nothing  # noqa: B018


def test_a_loaded_run_is_its_network(tiny: Path):
    import torch

    loaded = nowcast.load(tiny)
    assert (loaded.name, loaded.settings.task) == ("tiny", "precipitation")
    frames = torch.zeros(1, IN_LEN, 1, 16, 16)
    assert loaded.module(frames, torch.ones_like(frames, dtype=torch.bool)).shape[1] == OUT_LEN
    assert not loaded.module.training and nowcast.load(loaded) is loaded
    assert nowcast.load().run == located("comoving-memel")
    with pytest.raises(ConfigError, match=r"found 'flaw'; did you mean flow\?"):
        nowcast.load("flaw")


@pytest.mark.parametrize("weights", ["flow", "comoving-memel"])
def test_an_array_of_rates_is_forecast_along_its_motion(weights: str):
    made = nowcast.Nowcast.of(shower(), weights, times=clock(), lead=15)
    assert made.rates.shape == (3, 48, 64) and made.init == clock()[-1]
    assert list(made.times) == list(clock()[-1] + 5 * np.arange(1, 4))
    for lead, rates in enumerate(made.rates, 1):
        row, column = np.unravel_index(np.nanargmax(rates), rates.shape)
        assert abs(row - 24) <= 2 and abs(column - (15 + 3 * (9 + lead))) <= 2
    assert 10 < made.rates[0].max() < 25


def test_units_agree_and_missing_data_stay_missing():
    rain = shower()
    rain[:, :, -1] = np.nan
    one = nowcast.load("flow").forecast(rain, clock(), lead=5)
    dbz = 10 * np.log10(200) + 16 * np.log10(np.maximum(rain, 1e-9))
    other = nowcast.Nowcast.of(
        np.ma.masked_invalid(dbz), "flow", times=clock(), unit="dBZ", zr=(200, 1.6), lead=5
    )
    assert np.isnan(one.rates[:, :, -1]).all() and np.isnan(other.rates[:, :, -1]).all()
    # Both are rounded to 8 bits, on scales that differ by the Z-R relation.
    np.testing.assert_allclose(one.rates[0, :, :-1], other.rates[0, :, :-1], rtol=0.1, atol=0.2)


def test_arrays_go_in_and_come_out(tmp_path: Path):
    made = nowcast.Nowcast.of(shower(), "persistence", times=clock(), lead="10min")
    data = nowcast.forecast(shower(), "persistence", "10min", times=clock())
    assert data.rainfall_rate.dims == ("time", "y", "x")
    np.testing.assert_array_equal(data.rainfall_rate, made.rates)
    assert list(data.time.values.astype("datetime64[m]")) == list(made.times)
    files = made.save(tmp_path / "out", ["nc"])
    assert [file.name for file in files] == ["forecast.nc", "observed.nc", "forecast.json"]
    with pytest.raises(ConfigError, match="formats: expected some of png"):
        made.save(tmp_path / "out", ["tiff"])


def test_an_xarray_object_is_forecast_where_it_lies():
    plain = nowcast.Nowcast.of(shower(), "flow", times=clock(), lead=10)
    crs = {"grid_mapping_name": "latitude_longitude", "note": "ours"}
    rain = xarray.DataArray(
        shower()[:, ::-1] / 3600,
        dims=("time", "lat", "lon"),
        coords={
            "time": clock().astype("datetime64[ns]"),
            "lat": ("lat", 50 + 0.01 * np.arange(48), {"units": "degrees_north"}),
            "lon": ("lon", 5 + 0.015 * np.arange(64), {"units": "degrees_east"}),
            "wgs84": ((), 0, crs),
        },
        attrs={"units": "kg m-2 s-1", "grid_mapping": "wgs84"},
        name="precip",
    )
    data = nowcast.forecast(rain, "flow", timedelta(minutes=10))
    assert data.rainfall_rate.dims == ("time", "lat", "lon")
    np.testing.assert_allclose(data.rainfall_rate.values[:, ::-1], plain.rates, rtol=1e-5)
    for axis in ("lat", "lon"):
        xarray.testing.assert_equal(data[axis].variable, rain[axis].variable)
    assert data.lat.attrs["standard_name"] == "latitude"
    assert data.rainfall_rate.attrs["grid_mapping"] == "wgs84"
    assert data.wgs84.attrs["note"] == "ours" and "crs_wkt" in data.wgs84.attrs
    aligned = data.rainfall_rate - rain.isel(time=-1, drop=True)
    assert aligned.shape == (2, 48, 64)


def test_what_an_array_leaves_open_is_said():
    rain = xarray.DataArray(shower() / 12, dims=("time", "y", "x"), coords={"time": clock()})
    with pytest.warns(ResultWarning, match="frames states no units: taken for mm/h"):
        nowcast.forecast(rain, "persistence", 5)
    with pytest.warns(ResultWarning, match="rain sums taken over the step of 5 minutes"):
        summed = nowcast.forecast(rain.assign_attrs(units="mm"), "persistence", 5)
    rates = nowcast.Nowcast.of(shower(), "persistence", times=clock(), lead=5).rates
    np.testing.assert_allclose(summed.rainfall_rate, rates)


def test_fill_values_are_no_rain():
    dbz = np.where(shower() > 0.1, 30.0, -999.0)
    with pytest.raises(DataError, match="expected -60 to 100 dBZ"):
        nowcast.Nowcast.of(dbz, "persistence", times=clock(), unit="dBZ", lead=5)


@pytest.mark.parametrize(
    "lead", ["15min", "0.25h", 15, 12.5, timedelta(minutes=15), np.timedelta64(900, "s")]
)
def test_the_lead_is_said_in_many_ways(lead: object):
    made = nowcast.Nowcast.of(shower(), "persistence", times=clock(), lead=lead)
    assert len(made.times) == 3


def test_members_come_with_what_is_made_of_them(tmp_path: Path):
    request = nowcast.ProbabilityRequest((1, 5), (0.5,), ("max:10",), "2px", ("px:24,45",))
    frames = {"times": clock(), "lead": 15}
    made = nowcast.Nowcast.of(
        shower(), "lagged-flow", **frames, members=5, seed=2, probabilities=request
    )
    assert made.members is not None and made.members.shape == (5, 3, 48, 64)
    assert repr(made).startswith("<Nowcast by lagged-flow") and "5 members, 3 x 5" in repr(made)
    found = made.probabilities()
    np.testing.assert_allclose(found.exceedance[:, 1], (made.members >= 5).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        found.mean, made.rates, rtol=0.01, atol=0.02
    )  # 0.017 mm/h is pixel 0
    assert found.points[0].arrivals[0].probability == 1
    data = made.to_xarray()
    assert data.rainfall_rate.dims == ("realization", "time", "y", "x")
    np.testing.assert_array_equal(
        data.maximum_rainfall_rate_quantile[0, 0], found.windows[0].quantiles[0]
    )
    other = made.probabilities(nowcast.ProbabilityRequest((30,)))
    assert other.exceedance.shape == (3, 1, 48, 64) and other.windows == ()
    told = json.loads(made.save(tmp_path / "out", ["nc"])[-1].read_text())["ensemble"]
    assert told["radius"] == "2px" and told["seed"] == 2


def test_what_is_asked_of_members_must_suit_before_anything_is_forecast():
    with pytest.raises(ConfigError, match="expected members beside it"):
        nowcast.forecast(
            shower(), "flow", times=clock(), probabilities=nowcast.ProbabilityRequest((30,))
        )
    with pytest.raises(ConfigError, match="ask for --lead 60min"):
        nowcast.forecast(
            shower(),
            "lagged-flow",
            times=clock(),
            lead=15,
            members=4,
            probabilities=nowcast.ProbabilityRequest(windows=("sum:60",)),
        )
    plain = nowcast.Nowcast.of(shower(), "lagged-flow", times=clock(), lead=5)
    assert plain.members is None
    with pytest.raises(ConfigError, match="expected a forecast with members"):
        plain.probabilities()


def test_what_must_be_known_of_a_forecast_is_a_warning():
    gap = np.r_[0:5, 6:11]
    with pytest.warns(ResultWarning, match="2024-07-01T10:25: missing, carried"):
        made = nowcast.Nowcast.of(shower(11)[gap], "flow", times=clock(11)[gap], lead=5)
    assert any("10:25: missing" in note for note in made.notes)


@pytest.mark.parametrize(
    ("frames", "options", "said"),
    [
        (np.zeros((4, 4)), {}, "expected an array time height width, found the shape"),
        (-shower(), {}, r'some below; of reflectivity, say unit="dBZ"'),
        (shower(), {"times": None}, "times: expected the valid time of each frame"),
        (shower(), {"times": clock(9)}, "times: expected 10 ascending times"),
        (shower(), {"times": clock()[::-1]}, "ascending times"),
        (shower(), {"times": ["noon"] * 10}, "expected dates and times"),
        (shower(3), {"times": clock(4)[[0, 2, 3]] + np.array([0, 0, 2])}, "gaps of 7, 10 minutes"),
        (shower(), {"unit": "K"}, "unit: expected dBZ or .*; found 'K'"),
        (shower(), {"lead": "soon"}, "lead: expected a time above 0 such as 120min"),
        (shower(), {"lead": timedelta(0)}, 'lead: expected "60min", "2h", minutes'),
        (shower(), {"zr": (0, 1)}, "a Z-R relation needs"),
        ("nowhere", {}, "nowhere: expected an archive"),
    ],
)
def test_mistakes_are_errors_that_say_what_was_expected(
    frames: object, options: dict[str, object], said: str
):
    with pytest.raises(ConfigError, match=said):
        nowcast.forecast(frames, "persistence", **{"times": clock(), **options})


def test_too_few_frames_say_how_many(tiny: Path):
    from nowcast.core.errors import DataError

    with pytest.raises(DataError, match="frames: expected 4 frames"):
        nowcast.forecast(shower(2), tiny, times=clock(2))


def test_an_archive_is_forecast_as_on_the_command_line(run, synthetic: Path, tmp_path: Path):
    import json

    at = str(Archive(synthetic).moments[100])
    made = nowcast.Nowcast.of(synthetic, "flow", at=at, lead=12)
    status, _, err = run(
        *("forecast", synthetic, "--weights", "flow", "--at", at, "--lead", "12"),
        *("--format", "h5", "--out", tmp_path / "out"),
    )
    assert status == 0, err
    summary = json.loads((tmp_path / "out" / "forecast.json").read_text())
    largest = [round(float(np.nanmax(rates)), 4) for rates in made.rates]
    assert [lead["max_mm_h"] for lead in summary["leads"]] == largest
    assert summary["facts"]["inputs"] == made.facts["inputs"]


def test_train_evaluate_and_compare_return_objects(
    synthetic: Path, tmp_path: Path, few_resamples: None
):
    run = nowcast.train("smoke", tmp_path / "run", data__root=synthetic, **QUICK)
    assert run.is_finished and run.result()["steps"] == 2
    scored = nowcast.evaluate(run.folder, synthetic, overrides={"data.stride": 60})
    assert scored.score("b_mse") == scored.scores["run"].values["b_mse"]
    curves = scored.by_lead_time()
    assert len(curves["minutes"]) == len(curves["b_mse"]) == 5
    assert "| run |" in scored._repr_markdown_() and scored.table().rows[0].name == "run"
    with pytest.raises(ConfigError, match="expected a score of b_mse"):
        scored.score("nothing")
    out = tmp_path / "board"
    forecasters = {"mine": nowcast.load(run.folder), "still": "flow"}
    board = nowcast.evaluate(forecasters, synthetic, out=out, data__stride=60)
    assert set(board.scores) == {"persistence", "mine", "still"} and board.board is not None
    assert (out / "leaderboard.html").is_file()
    with pytest.raises(ConfigError, match="expected a forecaster of persistence, mine, still"):
        board.by_lead_time()
    with pytest.raises(ConfigError, match="expected one forecaster, found 2"):
        nowcast.evaluate(["flow", "persistence"], synthetic)
    config = {
        "task": "precipitation",
        "data": {"root": str(synthetic), "in_len": 3, "out_len": 2, "random_crop": [32, 32]},
        "model": {"stages": [{"channels": 2, "hidden": 2, "kernel": 3, "down": [4, 4, 0]}]},
        "compare": {"seeds": [0], "baselines": ["persistence"], "variants": {"A": {}}},
    }
    config["model"]["stages"][0]["up"] = [4, 4, 0]
    comparison = nowcast.compare(
        config, tmp_path / "comparison", train={"steps": 1, "validate_every": 1}, data__stride=60
    )
    assert [row.name for row in comparison.table().rows] == ["persistence", "A"]
    assert comparison.report.is_file() and comparison.runs["A/seed 0"].is_finished
    assert "| A |" in comparison._repr_markdown_()
    told = comparison.verdicts()
    assert {(each.contrast.one, each.contrast.other) for each in told} == {("A", "persistence")}
    rows = csv.DictReader((comparison.folder / "verdicts.csv").read_text().splitlines())
    assert [row["verdict"] for row in rows] == [each.verdict for each in told]
    with pytest.raises(ConfigError, match="expected a `compare:` section with variants"):
        nowcast.compare("smoke", tmp_path / "none")


def test_a_key_given_in_both_ways_is_an_error(synthetic: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"train\.steps: given twice"):
        nowcast.train("smoke", tmp_path / "run", {"train.steps": 2}, train__steps=3)


class Cell(io.StringIO):
    """The stderr of an IPython kernel: no terminal, and no file descriptor."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def test_progress_is_text_where_stderr_is_no_terminal(
    synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cell = Cell()
    monkeypatch.setattr(sys, "stderr", cell)
    monkeypatch.setattr(sys, "stdout", Cell())
    monkeypatch.setattr("nowcast.core.terminal.displays.FIRST_SECONDS", 0.0)
    nowcast.train("smoke", tmp_path / "run", data__root=synthetic, **QUICK)
    said = cell.getvalue()
    assert "run: 2 of 2 steps, loss " in said and "opening the data of precipitation" in said
