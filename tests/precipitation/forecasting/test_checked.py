"""Outages count as missing, by the same rules, and are said."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nowcast.cli.app import app
from nowcast.core.errors import DataError
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.archive.writer import ArchiveWriter
from nowcast.precipitation.forecasting import inputs
from nowcast.precipitation.forecasting.checked import newest
from nowcast.precipitation.forecasting.forecast import Choice, Forecaster
from nowcast.precipitation.forecasting.inputs import FrameSource
from nowcast.precipitation.forecasting.products.outlet import Outlet
from nowcast.precipitation.forecasting.service.ladder import Ladder
from nowcast.precipitation.forecasting.service.rungs import Here
from nowcast.precipitation.forecasting.service.watch import Watch
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.units import Calibration, encode

START = np.datetime64("2020-06-01T12:00", "m")
SIDE = 96
FRAMES = 14


def rain(time: int) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    found = np.zeros((SIDE, SIDE))
    for row, column in ((24, 20), (26, 60), (66, 30), (70, 66)):
        away = (rows - row) ** 2 + (columns - column - 2 * time) ** 2
        found += 9.0 * np.exp(-away / 120)
    return np.where(found < 0.1, 0, found)


def moment(number: int) -> np.datetime64:
    return START + number * np.timedelta64(5, "m")


def archive(root: Path, dry: dict[int, slice] | None = None, frames: int = FRAMES) -> Path:
    """Rain, with these rows of these frames dry."""
    description = Description("made", "the tests", 5, SIDE, SIDE, 200.0, 1.6)
    mask = np.ones((SIDE, SIDE), dtype=bool)
    with ArchiveWriter(root, description) as writer:
        for number in range(frames):
            rate = rain(number)
            if dry and number in dry:
                rate[dry[number]] = 0
            level = encode(Calibration(200.0, 1.6).pixel_from_rate(rate))
            writer.write(moment(number), level, mask)
        writer.finish(mask, None)
    return root


def source(root: Path) -> FrameSource:
    return FrameSource(Archive(root), "frame")


WHOLE = slice(None)


def test_a_dry_frame_among_wet_ones_is_carried_and_said(tmp_path: Path):
    found = newest(source(archive(tmp_path / "one", {9: WHOLE})), 10)
    assert list(found.carried) == [str(moment(9))] == list(found.suspect)
    assert not found.mask[5].any() and found.mask[[4, 6]].all()
    assert (found.levels[5] == found.levels[4]).all()
    assert any("outage" in note for note in found.notes)
    plain = inputs.newest(source(tmp_path / "one"), 10)
    assert not plain.suspect and plain.mask.all()


def test_a_dry_newest_frame_is_passed_over(tmp_path: Path):
    found = newest(source(archive(tmp_path / "one", {12: WHOLE, 13: WHOLE})), 10)
    assert found.init == moment(11)
    assert list(found.passed_over) == [str(moment(12)), str(moment(13))]


def test_too_many_are_the_same_error_as_missing_ones(tmp_path: Path):
    dry = dict.fromkeys(range(13), WHOLE)
    with pytest.raises(DataError, match=r"expected 10 frames.*3 may be missing.*outage") as error:
        newest(source(archive(tmp_path / "one", dry)), 10)
    assert str(error.value).count("outage") == 1  # one reason of nine frames
    assert "--at" not in str(error.value)  # since no other window is complete


def test_a_dry_half_is_masked_and_said(tmp_path: Path):
    found = newest(source(archive(tmp_path / "one", {12: slice(0, 48)})), 10)
    assert not found.carried and list(found.suspect) == [str(moment(12))]
    hidden = ~found.mask[8]
    assert hidden[:40].any() and not hidden[60:].any()
    assert not found.levels[8][hidden].any()
    assert found.mask[np.arange(10) != 8].all()
    assert any("partly taken for no data" in note for note in found.notes)


def test_nothing_is_said_of_rain(tmp_path: Path):
    found = newest(source(archive(tmp_path / "one")), 10)
    assert not found.suspect and not found.notes and found.mask.all()


def test_a_frozen_feed(tmp_path: Path):
    root = archive(tmp_path / "one", frames=13)
    last = Archive(root).frame(moment(12))
    description = Archive(root).description
    with ArchiveWriter(tmp_path / "two", description) as writer:
        for number in range(13):
            writer.write(moment(number), Archive(root).frame(moment(number)), last >= 0)
        writer.write(moment(13), last, last >= 0)
        writer.finish(last >= 0, None)
    found = newest(source(tmp_path / "two"), 10)
    assert found.init == moment(12)
    assert "stands still" in found.passed_over[str(moment(13))]


def test_the_command_line_and_the_json_say_so(tmp_path: Path):
    root = archive(tmp_path / "one", {9: WHOLE, 12: slice(0, 48)})
    out = tmp_path / "out"
    ran = CliRunner().invoke(
        app, ["forecast", str(root), "--weights", "flow", "--out", str(out), "--format", "h5"]
    )
    assert ran.exit_code == 0, ran.output
    said = " ".join(ran.output.split())
    assert "outage of the radar" in said and "1 of them carried" in said
    facts = json.loads((out / "forecast.json").read_text())["facts"]
    assert list(facts["suspect"]) == [str(moment(9)), str(moment(12))]


def test_a_watch_says_each_once_and_makes_no_forecast_twice(tmp_path: Path):
    root = archive(tmp_path / "one", {9: WHOLE, 13: WHOLE}, frames=13)
    settings = PrecipitationSettings()
    made = Forecaster(Choice("flow", settings), source(root).description)
    said: list[str] = []
    written: list[np.datetime64] = []

    def write(forecast: object, folder: Path) -> list[Path]:
        folder.mkdir(parents=True)
        return []

    watch = Watch(
        source(root), Ladder([Here("flow", made)]), Outlet(tmp_path / "out", write), said.append
    )
    first = watch.poll()
    assert first is not None and first.init == moment(12)
    written.append(first.init)
    assert sum("outage" in text for text in said) == 1
    later = archive(tmp_path / "more", {9: WHOLE, 13: WHOLE})
    for kind in ("radarPNG", "radarPNG_mask"):
        for file in (later / kind).rglob("RAD*1305*"):
            file.rename(root / file.relative_to(later))
    assert watch.poll() is None
    assert sum("outage" in text for text in said) == 2
    assert any("no forecast" in text and str(moment(12)) in text for text in said)
