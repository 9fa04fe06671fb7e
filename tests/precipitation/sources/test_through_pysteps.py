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

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.sources.agencies.knmi import read_knmi
from nowcast.precipitation.sources.conversion.convert import convert
from nowcast.precipitation.sources.conversion.target import Target
from nowcast.precipitation.sources.field import Request
from nowcast.precipitation.sources.libraries import through_pysteps
from nowcast.precipitation.sources.libraries.through_pysteps import read_through_pysteps
from nowcast.precipitation.sources.odim.reader import read_odim
from tests.radar_files import LAEA, write_odim

KNMI_NAMES = "RAD_NL25_RAP_5min_%Y%m%d%H%M.h5"


@pytest.fixture
def pysteps(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of packages it could not import
        pytest.importorskip("pysteps", reason="the optional extra [pysteps]")
    capsys.readouterr()  # its banner


def test_pysteps_reads_the_knmi_originals_as_we_do(
    pysteps: None, radar_dev: Path, capsys: pytest.CaptureFixture[str]
):
    folder = radar_dev / "knmi_hdf5_originals"
    (theirs,) = read_through_pysteps("knmi_hdf5", folder, Request("mm", name_pattern=KNMI_NAMES))
    (ours,) = read_knmi(folder, Request("mm"))
    assert len(theirs) == 12 and np.array_equal(theirs.times, ours.times)
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(a.values, b.values, rtol=1e-15)
        assert (a.time, a.unit) == (b.time, "mm")
        assert a.grid == b.grid
    assert any("1 files left out, not named" in note for note in theirs.notes)  # expected.json
    assert capsys.readouterr() == ("", "")


def test_a_composite_of_meteoswiss_is_read_as_we_do(pysteps: None, pyart_files: Path):
    path = pyart_files / "RFO_example_h5_grid.h5"
    request = Request("mm_h", name_pattern=path.name)
    (ours,) = read_odim(path, Request("mm_h"))
    b = ours.read(0)
    # The name holds no time, so the pattern is the name itself: 1900-01-01.
    (theirs,) = read_through_pysteps("dwd_hdf5", path, request)
    a = theirs.read(0)
    assert np.array_equal(a.values, b.values, equal_nan=True)
    assert (b.values > 0).sum() > 50_000 and np.isnan(b.values).sum() > 100_000
    assert a.grid.projection == b.grid.projection
    for name in ("x_west", "y_north", "pixel_x", "pixel_y"):
        assert getattr(a.grid, name) == pytest.approx(getattr(b.grid, name), abs=1e-3)
    # Its texts are of variable length, which these two do not expect: an error, not a wrong field.
    for name in ("odim_hdf5", "opera_hdf5"):
        (source,) = read_through_pysteps(name, path, request)
        with pytest.raises(DataError, match=r"RFO_example_h5_grid\.h5: pysteps could not read it"):
            source.read(0)


@pytest.mark.parametrize("name", ["odim_hdf5", "dwd_hdf5"])
@pytest.mark.parametrize(
    ("quantity", "unit", "gain", "offset"),
    [("RATE", "mm_h", 0.1, 0.0), ("ACRR", "mm", 0.1, 0.0), ("DBZH", "dBZ", 0.5, -32.0)],
)
def test_every_quantity_of_odim_is_read_as_we_do(
    pysteps: None, tmp_path: Path, name: str, quantity: str, unit: Any, gain: float, offset: float
):
    raw = np.random.default_rng(1).integers(0, 256, (12, 9)).astype(np.uint8)
    raw[0, :3] = (0, 255, 7)  # dry, no data, rain
    path = tmp_path / "a_202006011210.h5"
    write_odim(path, raw, quantity=quantity, gain=gain, offset=offset, minutes=10)
    request = Request(unit, name_pattern="a_%Y%m%d%H%M.h5", settings={"qty": quantity})
    a, b = (
        source.read(0)
        for (source,) in (read_through_pysteps(name, path, request), read_odim(path, Request(unit)))
    )
    # Dry is -inf dBZ here, some low dBZ there: both are pixel 0.
    dry = raw == 0
    assert np.array_equal(a.values[~dry], b.values[~dry], equal_nan=True)
    assert (a.values[dry] <= (-30 if unit == "dBZ" else 0)).all()
    assert a.grid.projection == b.grid.projection and a.grid.x_west == b.grid.x_west
    assert a.grid.y_north == b.grid.y_north
    if unit == "mm":
        assert b.accumulation_minutes == 10
        # odim_hdf5 would say 15 of any file.
        assert a.accumulation_minutes == (10 if name == "dwd_hdf5" else None)


def test_minutes_that_pysteps_makes_up_are_asked_for(
    pysteps: None, radar_dev: Path, tmp_path: Path
):
    folder, name = radar_dev / "knmi_hdf5_originals", "pysteps:knmi_hdf5"
    request = Request("mm", name_pattern=KNMI_NAMES)
    crop = (188, 668, 129, 609)
    with pytest.raises(ConfigError, match=r"--accumulation-minutes: .* does not state"):
        convert(folder, tmp_path / "none", name, request, Target(crop=crop))
    target = Target(crop=crop, accumulation_minutes=5.0)
    (written,) = convert(folder, tmp_path / "out", name, request, target)
    made, known = Archive(written.root), Archive(radar_dev)
    assert len(made.moments) == 12
    for moment in made.moments:
        assert np.array_equal(made.frame(moment), known.frame(moment))
        assert np.array_equal(made.mask(moment), known.mask(moment))
    settings = {"accutime": "5"}  # or said to pysteps
    request = Request("mm", name_pattern=KNMI_NAMES, settings=settings)
    (source,) = read_through_pysteps("knmi_hdf5", folder, request)
    assert source.read(0).accumulation_minutes == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mch_hdf5", "without data; use --importer odim"),
        ("dwd_radolan", "takes 0.01 off every sum"),
    ],
)
def test_importers_whose_fields_would_be_wrong_are_refused(tmp_path: Path, name: str, message: str):
    with pytest.raises(ConfigError, match=rf"--importer pysteps:{name}: .*{message}"):
        read_through_pysteps(name, tmp_path, Request("mm_h", name_pattern="%Y"))


def test_why_mch_hdf5_is_refused(pysteps: None, tmp_path: Path):
    """Fails once pysteps tells dry from no data: then it can be let in."""
    from pysteps.io.importers import import_mch_hdf5

    path = tmp_path / "a.h5"
    write_odim(path, np.array([[0, 5, 9]], dtype=np.uint8), quantity="RATE", gain=0.1, offset=0.0)
    values, _, _ = import_mch_hdf5(str(path), qty="RATE")
    assert np.isnan(values[0, 0]) and values[0, 1] == 0.5


def test_pysteps_reads_an_odim_file_of_the_tests_as_we_do(pysteps: None, tmp_path: Path):
    raw = np.random.default_rng(0).integers(0, 256, (30, 20)).astype(np.uint8)
    write_odim(tmp_path / "opera_202006011200.h5", raw, quantity="RATE", gain=0.1, offset=0.0)
    request = Request("mm_h", name_pattern="opera_%Y%m%d%H%M.h5")
    (theirs,) = read_through_pysteps("odim_hdf5", tmp_path, request)
    (ours,) = read_odim(tmp_path, Request("mm_h"))
    a, b = theirs.read(0), ours.read(0)
    assert np.array_equal(a.values, b.values, equal_nan=True)
    assert a.time == b.time
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
    assert field.time == np.datetime64("2020-06-01T12:00", "m")
    assert (field.grid.x_west, field.grid.y_north) == (10, 26)
    assert (field.grid.pixel_x, field.grid.pixel_y) == (2, 3)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("unit", [None, "mm/h", "mm_h"])
def test_the_unit_is_the_importers(stand_in: Stand, file: Path, unit: str | None):
    stand_in(np.ones((1, 1)), unit="mm/h")
    request = Request(unit, name_pattern=REQUEST.name_pattern)
    assert read_through_pysteps("x", file, request)[0].read(0).unit == "mm_h"


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
        (
            np.zeros((2, 2)),
            {"unit": "mm"},
            DataError,
            "states the units 'mm', but --unit says mm_h; leave",
        ),
        (
            np.zeros((2, 2)),
            {"unit": "K"},
            DataError,
            "found 'K' as its units; this importer gives no rain",
        ),
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
    with pytest.raises(ConfigError, match=r"pip install .memel-nowcast\[pysteps\]"):
        read_through_pysteps("x", file, REQUEST)
