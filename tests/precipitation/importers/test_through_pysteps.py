"""Formats through pysteps: its fields are ours where both read one, and its errors name the file.

The first tests need pysteps (an optional extra); the others put a module of the tests in its place.
"""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from radar_files import LAEA, write_odim

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.importers import through_pysteps
from nowcast.precipitation.importers.field import Request
from nowcast.precipitation.importers.knmi import read_knmi
from nowcast.precipitation.importers.odim import read_odim
from nowcast.precipitation.importers.through_pysteps import read_through_pysteps

KNMI_NAMES = "RAD_NL25_RAP_5min_%Y%m%d%H%M.h5"


@pytest.fixture
def pysteps(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of packages it could not import
        pytest.importorskip("pysteps")
    capsys.readouterr()  # its banner


def test_pysteps_reads_the_knmi_originals_as_we_do(
    pysteps: None, radar_dev: Path, capsys: pytest.CaptureFixture[str]
):
    folder = radar_dev / "knmi_hdf5_originals"
    (theirs,) = read_through_pysteps("knmi_hdf5", folder, Request("mm", name_pattern=KNMI_NAMES))
    (ours,) = read_knmi(folder, Request("mm"))
    assert len(theirs) == 12 and np.array_equal(theirs.moments, ours.moments)
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(a.values, b.values, rtol=1e-15)
        assert (a.moment, a.unit, a.accumulation_minutes) == (b.moment, "mm", 5)
        assert a.grid == b.grid
    assert any("1 files left out, not named" in note for note in theirs.notes)  # expected.json
    assert capsys.readouterr() == ("", "")


def test_pysteps_reads_an_odim_file_of_the_tests_as_we_do(pysteps: None, tmp_path: Path):
    pytest.importorskip("pyproj")
    raw = np.random.default_rng(0).integers(0, 256, (30, 20)).astype(np.uint8)
    write_odim(tmp_path / "opera_202006011200.h5", raw, quantity="RATE", gain=0.1, offset=0.0)
    request = Request("mm_h", name_pattern="opera_%Y%m%d%H%M.h5")
    (theirs,) = read_through_pysteps("odim_hdf5", tmp_path, request)
    (ours,) = read_odim(tmp_path, Request("mm_h"))
    a, b = theirs.read(0), ours.read(0)
    assert np.array_equal(a.values, b.values, equal_nan=True)
    assert a.moment == b.moment
    assert a.grid == b.grid and a.grid.projection == LAEA
    settings = {"qty": "DBZH"}
    (other,) = read_through_pysteps(
        "odim_hdf5", tmp_path, Request("dBZ", name_pattern=request.name_pattern, settings=settings)
    )
    with pytest.raises(DataError, match=r"opera_.*h5: pysteps could not read it .*not found"):
        other.read(0)


def test_an_unknown_importer_is_answered_with_those_there_are(pysteps: None, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"has none of that name; known: .*fmi_pgm, knmi_hdf5"):
        read_through_pysteps("knmi", tmp_path, Request("mm", name_pattern="%Y"))


def test_a_cut_off_file_is_an_error_with_its_name(pysteps: None, radar_dev: Path, tmp_path: Path):
    original = next((radar_dev / "knmi_hdf5_originals").glob("*.h5"))
    (tmp_path / original.name).write_bytes(original.read_bytes()[:9000])
    (source,) = read_through_pysteps("knmi_hdf5", tmp_path, Request("mm", name_pattern=KNMI_NAMES))
    with pytest.raises(DataError, match=rf"{original.name}: pysteps could not read it \(OSError"):
        source.read(0)


Stand = Callable[..., None]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Stand:
    """Puts a module with one importer, `import_x`, in the place of pysteps'."""

    def put(values: Any, **metadata: Any) -> None:
        module = ModuleType("pysteps.io.importers")

        def import_x(path: str, **settings: Any) -> tuple[Any, None, dict[str, Any]]:
            sys.stdout.write("a banner")
            if isinstance(values, Exception):
                raise values
            return values, None, metadata

        module.import_x = import_x
        monkeypatch.setitem(sys.modules, "pysteps", ModuleType("pysteps"))
        monkeypatch.setitem(sys.modules, "pysteps.io", ModuleType("pysteps.io"))
        monkeypatch.setitem(sys.modules, "pysteps.io.importers", module)
        monkeypatch.setattr(through_pysteps, "version", lambda name: "0")

    return put


REQUEST = Request("mm_h", name_pattern="a_%Y%m%d%H%M.x")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a_202006011200.x"
    path.touch()
    return path


def test_rows_units_and_place_of_a_field(
    stand_in: Stand, file: Path, capsys: pytest.CaptureFixture[str]
):
    values = np.ma.masked_equal([[1.0, 2.0], [3.0, -1.0]], -1)
    place = {"projection": "+proj=x", "x1": 10.0, "x2": 14.0, "y1": 20.0, "y2": 26.0}
    stand_in(values, unit="mm/h", yorigin="lower", **place)
    (source,) = read_through_pysteps("x", file.parent, REQUEST)
    field = source.read(0)
    assert np.array_equal(field.values, [[3, np.nan], [1, 2]], equal_nan=True)
    assert field.moment == np.datetime64("2020-06-01T12:00", "m")
    assert (field.grid.x_west, field.grid.y_north) == (10, 26)
    assert (field.grid.pixel_x, field.grid.pixel_y) == (2, 3)
    assert capsys.readouterr().out == ""


def test_settings_reach_the_importer_as_numbers(stand_in: Stand, file: Path):
    seen: dict[str, Any] = {}
    stand_in(np.zeros((1, 1)), unit="mm/h")
    module = sys.modules["pysteps.io.importers"]
    inner = module.import_x
    module.import_x = lambda path, **settings: seen.update(settings) or inner(path)
    settings = {"accutime": "5", "scale": "0.5", "product": "AQC"}
    request = Request("mm_h", name_pattern=REQUEST.name_pattern, settings=settings)
    read_through_pysteps("x", file, request)[0].read(0)
    assert seen == {"accutime": 5, "scale": 0.5, "product": "AQC"}


def test_mrms_is_not_averaged_unless_asked(stand_in: Stand, file: Path):
    seen: list[dict[str, Any]] = []
    stand_in(np.zeros((1, 1)), unit="mm/h")
    module = sys.modules["pysteps.io.importers"]
    inner = module.import_x
    module.import_mrms_grib = lambda path, **settings: seen.append(settings) or inner(path)
    asked = Request("mm_h", name_pattern=REQUEST.name_pattern, settings={"window_size": "4"})
    for request in (REQUEST, asked):
        read_through_pysteps("mrms_grib", file, request)[0].read(0)
    assert seen == [{"window_size": 1}, {"window_size": 4}]


class MissingOptionalDependency(Exception):
    """As pysteps has it."""


@pytest.mark.parametrize(
    ("values", "metadata", "kind", "message"),
    [
        (KeyError("image1"), {}, DataError, r"could not read it \(KeyError: 'image1'\)"),
        (MissingOptionalDependency("pygrib"), {}, ConfigError, "pysteps lacks a package .* pygrib"),
        (np.zeros((2, 2)), {"unit": "mm"}, DataError, "expected mm_h .*found mm; give --unit mm"),
        (np.zeros((2, 2)), {"unit": "K"}, DataError, "found K; no unit that can be converted"),
        (np.zeros((2, 2)), {"unit": "mm/h", "transform": "dB"}, DataError, r"transformed \(dB\)"),
        (np.zeros(2), {"unit": "mm/h"}, DataError, r"expected one field .*found \(2,\)"),
    ],
)
def test_what_it_gives_is_checked(
    stand_in: Stand, file: Path, values: Any, metadata: dict, kind: type, message: str
):
    stand_in(values, **metadata)
    (source,) = read_through_pysteps("x", file, REQUEST)
    with pytest.raises(kind, match=rf"a_202006011200\.x: .*{message}"):
        source.read(0)


def test_what_is_lacking_is_said(
    stand_in: Stand, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    with pytest.raises(ConfigError, match="--name-pattern: pysteps takes the time from"):
        read_through_pysteps("x", file, Request("mm"))
    stand_in(np.zeros((1, 1)))
    other = Request("mm", name_pattern="b_%Y.x")
    with pytest.raises(ConfigError, match=r"found none among 1 files, e\.g\. a_202006011200\.x"):
        read_through_pysteps("x", file.parent, other)
    with pytest.raises(ConfigError, match="expected a file or a folder"):
        read_through_pysteps("x", tmp_path / "none", REQUEST)
    monkeypatch.setitem(sys.modules, "pysteps.io.importers", None)
    with pytest.raises(ConfigError, match=r'install it with `pip install "nowcast\[pysteps\]"`'):
        read_through_pysteps("x", file, REQUEST)
