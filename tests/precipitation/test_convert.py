"""What is converted is what the source says, to the pixel."""

import sys
from pathlib import Path

import numpy as np
import pytest

from nowcast.cli import main
from nowcast.precipitation.archive import Archive


def convert(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["nowcast", "data", "convert", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_knmi_originals_give_the_frames_of_the_archive(
    radar_dev: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = ["--importer", "knmi", "--unit", "mm", "--accumulation-minutes", 5]
    source = radar_dev / "knmi_hdf5_originals"
    out = tmp_path / "out"
    assert not convert(monkeypatch, source, out, *options, "--crop", "188,668,129,609")
    made, known = Archive(out), Archive(radar_dev)
    assert len(made.moments) == 12 and made.description.step_minutes == 5
    for moment in made.moments:
        assert np.array_equal(made.frame(moment), known.frame(moment))
        assert np.array_equal(made.mask(moment), known.mask(moment))


def test_a_stack_becomes_an_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rate_mm_h = np.zeros((3, 4, 6), dtype=np.float32)
    rate_mm_h[1, 0, 0], rate_mm_h[2, 3, 5] = 10.0, np.nan
    np.save(tmp_path / "rain.npy", rate_mm_h)
    times = np.datetime64("2020-05-01T10:00", "m") + 10 * np.arange(3)
    np.save(tmp_path / "times.npy", times)
    options = ["--importer", "stack", "--unit", "mm_h", "--times", tmp_path / "times.npy"]
    out = tmp_path / "out"
    assert not convert(monkeypatch, tmp_path / "rain.npy", out, *options)
    archive = Archive(out)
    assert archive.moments.tolist() == times.tolist()
    pixel = archive.calibration.rate_from_pixel(archive.frame(times[1]) / 255)
    assert pixel[0, 0] == pytest.approx(10.0, rel=0.03) and pixel[1:].max() == 0
    assert not archive.mask(times[2])[3, 5] and archive.mask(times[0]).all()

    np.save(tmp_path / "times.npy", times[::-1])  # a clock going backwards
    assert convert(monkeypatch, tmp_path / "rain.npy", tmp_path / "back", *options) == 1
    np.save(tmp_path / "times.npy", times)
    np.save(tmp_path / "rain.npy", -1 - rate_mm_h)  # negative rates
    assert convert(monkeypatch, tmp_path / "rain.npy", tmp_path / "minus", *options) == 1
    assert not (tmp_path / "back").exists() and not (tmp_path / "minus").exists()
