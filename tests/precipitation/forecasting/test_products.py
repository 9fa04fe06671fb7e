"""A folder holds one forecast, whole, and what else lies there is left alone."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError, NowcastError, RunError
from nowcast.precipitation.forecasting.products import written as products
from nowcast.precipitation.forecasting.products.written import Format, write
from tests.made_forecasts import made


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_forecast_json_tells_what_is_forecast_and_what_lies_beside_it(tmp_path: Path):
    forecast = made()
    paths = write(forecast, tmp_path / "out", ["nc", "h5"])
    assert [path.name for path in paths] == ["forecast.h5", "forecast.nc", "forecast.json"]
    told = json.loads(paths[-1].read_text())
    assert told["files"] == ["forecast.h5", "forecast.nc"]
    assert (told["model"], told["init"]) == ("persistence", "2026-07-01T23:50Z")
    assert (told["step_minutes"], told["height"], told["width"]) == (5, 6, 8)
    assert told["credit"] == "Météo of the tests" and told["note"] is None
    assert told["facts"] == dict(forecast.facts)
    assert told["known_share"] == 0.875
    assert [lead["lead_minutes"] for lead in told["leads"]] == [5, 10, 15]
    assert [lead["time"] for lead in told["leads"]] == [
        "2026-07-01T23:55Z",
        "2026-07-02T00:00Z",
        "2026-07-02T00:05Z",
    ]
    for lead, rates in zip(told["leads"], forecast.rate_mm_h(), strict=True):
        assert lead["max_mm_h"] == pytest.approx(rates[:, :-1].max(), abs=1e-4)
        assert lead["mean_mm_h"] == pytest.approx(rates[:, :-1].mean(), abs=1e-4)


def test_what_is_masked_counts_for_no_rate(tmp_path: Path):
    forecast = made()
    forecast.pixels[:, :, -1] = 1.0
    forecast.pixels[:, :, :-1] = 0.5
    told = json.loads(write(forecast, tmp_path, [])[-1].read_text())
    rate = forecast.rate_mm_h()[0, 0, 0]
    assert (
        told["leads"][0]["max_mm_h"] == told["leads"][0]["mean_mm_h"] == pytest.approx(rate, 1e-4)
    )
    blind = replace(forecast, mask=np.zeros_like(forecast.mask))
    told = json.loads(write(blind, tmp_path, [])[-1].read_text())
    assert told["leads"][0]["max_mm_h"] is None and told["leads"][0]["mean_mm_h"] is None


def test_rates_of_vil_are_called_nominal(tmp_path: Path):
    told = json.loads(write(made(quantity="VIL"), tmp_path, [])[-1].read_text())
    assert "nominal" in told["note"]


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ([], set()),
        (["gif"], {"forecast.gif"}),
        (["h5", "nc"], {"forecast.h5", "forecast.nc"}),
    ],
)
def test_only_the_formats_asked_for_are_written(
    tmp_path: Path, formats: list[Format], expected: set[str]
):
    paths = write(made(), tmp_path, formats)
    assert files(tmp_path) == expected | {"forecast.json"}
    assert {path.name for path in paths} == files(tmp_path)


def test_another_forecast_takes_the_place_of_the_first(tmp_path: Path):
    write(made(leads=4), tmp_path, ["png", "gif"])
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "pictures" / "mine.png").write_text("mine")
    paths = write(made(init="2026-07-03T10:00", seed=1), tmp_path, ["png", "nc"])
    kept = {"notes.txt", "pictures/mine.png"}
    assert files(tmp_path) == {p.relative_to(tmp_path).as_posix() for p in paths} | kept
    assert [folder.name for folder in (tmp_path / "radarPNG" / "2026" / "07").iterdir()] == ["03"]
    assert not list(tmp_path.glob(".forecast*"))
    again = write(made(init="2026-07-03T10:00", seed=1), tmp_path, ["png", "nc"])
    assert again == paths


def test_files_of_no_listed_forecast_are_not_overwritten(tmp_path: Path):
    (tmp_path / "archive.json").write_text("an archive's own")
    with pytest.raises(ConfigError, match=r"archive\.json, which no forecast\.json there lists"):
        write(made(), tmp_path, ["png"])
    assert files(tmp_path) == {"archive.json"}
    write(made(), tmp_path, ["nc"])
    assert (tmp_path / "archive.json").read_text() == "an archive's own"


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"files": [1]}', '{"files": ["../mine"]}', '{"files": ["."]}']
)
def test_a_forecast_json_of_someone_else_stays(tmp_path: Path, text: str):
    (tmp_path / "mine").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "forecast.json").write_text(text)
    with pytest.raises(ConfigError, match=r"forecast\.json: expected the list of files"):
        write(made(), out, ["nc"])
    assert (out / "forecast.json").read_text() == text
    assert files(tmp_path) == {"mine", "out/forecast.json"}


def test_a_forecast_that_cannot_be_written_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(made(), tmp_path, ["nc", "gif"])
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setitem(products._WRITERS, "gif", full)
        with pytest.raises(RunError, match=r"No space left on device.*make room"):
            write(made(seed=1), tmp_path, ["nc", "gif"])
    unsayable = replace(made(seed=1), facts={"seconds": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        write(unsayable, tmp_path, ["gif"])
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


@pytest.mark.parametrize("kind", ["nc", "h5"])
def test_hdf5_never_meets_a_full_disk(
    kind: Format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where it did, the process that had gone on ended with a segmentation fault."""

    def full(path: Path, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NowcastError, match="No space left on device"):
        write(made(), tmp_path / "out", [kind])


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RunError, match=r"out: cannot be written .*in the way"):
        write(made(), tmp_path / "out", ["nc"])
