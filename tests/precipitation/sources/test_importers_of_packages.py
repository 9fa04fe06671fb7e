"""An importer that another package adds by an entry point, used from the command line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.sources.conversion.convert import convert
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.field import Field, Request
from nowcast.precipitation.sources.importer import Importer, file_importer
from nowcast.precipitation.sources.table import importer
from nowcast.precipitation.units import Calibration

MODULE = """
import numpy as np
from nowcast.precipitation.sources.field import Field
from nowcast.precipitation.sources.importer import file_importer

def fields(path):
    time = np.datetime64(path.stem.replace("h", ":"), "m")
    yield Field(time, np.loadtxt(path), "mm_h")

importer = file_importer("*.rain", fields)
"""
TIMES = ("2024-05-01T12h00", "2024-05-01T12h05", "2024-05-01T12h10")


def write_rain(folder: Path) -> np.ndarray:
    folder.mkdir()
    rates = np.random.default_rng(0).uniform(0, 20, (len(TIMES), 32, 40)).round(2)
    for time, values in zip(TIMES, rates, strict=True):
        np.savetxt(folder / f"{time}.rain", values)
    (folder / "readme.txt").write_text("not rain")
    return rates


Register = Callable[..., None]


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Register:
    """Puts a package with an entry point on the path, as an installer leaves it."""

    def write(package: str, name: str, source: str = MODULE) -> None:
        site = tmp_path / f"site_{package}"
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{package}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[nowcast.importers]\n{name} = {package}:importer")
        monkeypatch.syspath_prepend(site)

    return write


@pytest.mark.slow
def test_an_installed_package_converts_from_the_command_line(tmp_path: Path):
    project, installed = tmp_path / "project", tmp_path / "installed"
    project.mkdir()
    (project / "rain_text.py").write_text(MODULE)
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "rain-text"\nversion = "1.0"\n'
        '[project.entry-points."nowcast.importers"]\nrain_text = "rain_text:importer"\n'
        '[tool.setuptools]\npy-modules = ["rain_text"]\n'
    )
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", installed, project], check=True, capture_output=True)
    rates = write_rain(tmp_path / "raw")
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "nowcast", "data", "convert", tmp_path / "raw"]
    done = subprocess.run(
        [*command, tmp_path / "archive", "--importer", "rain_text"],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "3 frames of 32x40 every 5 minutes" in done.stdout
    check(tmp_path / "archive", rates)


def check(root: Path, rates: np.ndarray) -> None:
    archive = Archive(root)
    assert [str(moment) for moment in archive.moments] == [time.replace("h", ":") for time in TIMES]
    calibration = Calibration()
    for moment, values in zip(archive.moments, rates, strict=True):
        levels = np.rint(calibration.pixel_from_rate(values) * 255)
        assert np.abs(archive.frame(moment) - levels).max() <= 1


def test_damaged_files_of_a_package_are_skipped(tmp_path: Path, register: Register):
    register("rain_a", "rain_a")
    rates = write_rain(tmp_path / "raw")
    (tmp_path / "raw" / f"{TIMES[0]}.rain").write_text("1 2 x")
    with pytest.raises(DataError, match=r"T12h00.rain: its importer could not read it \(ValueErr"):
        convert(tmp_path / "raw", tmp_path / "out", "rain_a", Request(), Target())
    target = Target(skip_damaged=True)
    (written,) = convert(tmp_path / "raw", tmp_path / "out", "rain_a", Request(), target)
    assert written.frames == len(rates) - 1
    assert [Path(entry.file).stem for entry in written.skipped] == [TIMES[0]]


def test_a_clash_names_both_packages(register: Register):
    register("rain_b", "twice")
    register("rain_c", "twice")
    with pytest.raises(ConfigError, match=r"'twice' of the package rain_[bc] and of .* rain_[bc];"):
        importer("knmi")


def test_a_name_of_our_own_is_not_to_be_had(register: Register):
    register("rain_d", "knmi")
    with pytest.raises(ConfigError, match=r"'knmi' of the package rain_d and of nowcast itself"):
        importer("knmi")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_like_it", "ModuleNotFoundError.*uninstall"),
        ("importer = 3", "expected an instance of .*Importer, found 3"),
        ("other = 3", "AttributeError"),
    ],
)
def test_a_broken_package_is_one_error_that_names_it(
    source: str, message: str, register: Register, request: pytest.FixtureRequest
):
    package = f"broken_{abs(hash(source)) % 10**6}"
    register(package, "broken", source)
    with pytest.raises(ConfigError, match=f"of the package {package}: .*{message}"):
        importer("broken")
    with pytest.raises(ConfigError, match=r"expected odim, .*broken.* found other"):
        importer("other")


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (np.zeros((2, 2)), "expected a Field"),
        (("2024-01-01T00:00", np.zeros((2, 2)), "inch"), "expected a unit"),
        (("2024-01-01T00:00", np.zeros((2, 2, 2)), "mm"), "shape"),
        (("2024-01-01T00:00", np.array([["a"]]), "mm"), "expected values as numbers"),
        (("NaT", np.zeros((2, 2)), "mm"), "expected a time"),
        (("2024-01-01T00:00:30", np.zeros((2, 2)), "mm"), "whole minute"),
    ],
)
def test_what_a_package_gives_is_checked(tmp_path: Path, field: object, message: str):
    if isinstance(field, tuple):
        made = object.__new__(Field)  # as a package without type checks can make it
        for name, value in zip(("time", "values", "unit"), field, strict=True):
            object.__setattr__(made, name, value)
        object.__setattr__(made, "time", np.datetime64(field[0]))
        field = made
    (tmp_path / "one.rain").touch()
    with pytest.raises(DataError, match=f"one.rain: .*{message}"):
        file_importer("*.rain", lambda _: [field]).read(tmp_path, Request())  # type: ignore[list-item]


def test_several_fields_of_a_file_are_read_in_order_of_time(tmp_path: Path):
    def fields(path: Path) -> list[Field]:
        first = np.datetime64("2024-01-01T00:00") + int(path.stem)
        return [Field(first + later, np.full((2, 2), float(later)), "mm_h") for later in (5, 0)]

    for name in ("0", "10"):
        (tmp_path / f"{name}.rain").touch()
    of_files = file_importer("*.rain", fields)
    (source,) = of_files.read(tmp_path, Request())
    assert [field.values[0, 0] for field in source] == [0, 5, 0, 5]
    assert isinstance(of_files, Importer)
    with pytest.raises(ConfigError, match="found none"):
        of_files.read(tmp_path / "elsewhere", Request())
