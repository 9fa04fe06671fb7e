"""What lies where an archive was expected is told by its content, with the command to go on by."""

import gzip
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import h5netcdf
import h5py
import numpy as np
import pytest

from nowcast.core.errors import ConfigError
from nowcast.precipitation.archive.raw_files import next_move
from nowcast.precipitation.archive.tree import Archive
from nowcast.precipitation.forecasting.places import check_there
from nowcast.precipitation.forecasting.service.feed import opened_when_there
from tests.radar_files import write_knmi, write_odim

FIELD = np.ones((4, 5), dtype=np.uint16)


def knmi(path: Path) -> None:
    write_knmi(path, FIELD)


def odim_dbz(path: Path) -> None:
    write_odim(path, FIELD.astype(np.uint8))


def odim_polar(path: Path) -> None:
    odim_dbz(path)
    with h5py.File(path, "a") as file:
        file["what"].attrs["object"] = np.bytes_("PVOL")


def sevir(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["vil"], file["id"] = np.zeros((1, 2, 2, 3), np.uint8), np.array([b"S1"])


def netcdf(path: Path) -> None:
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"t": 2, "y": 4, "x": 5}
        file.create_variable("rain", ("t", "y", "x"), float, data=np.ones((2, 4, 5)))
        file.create_variable("time", ("t",), int, data=np.arange(2))


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["frames"], file["times"] = np.ones((2, 4, 5)), np.arange(2)


def bytes_of(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def zipped_grib(path: Path) -> None:
    path.write_bytes(gzip.compress(b"GRIB" + bytes(30)))


def tar(path: Path) -> None:
    with tarfile.open(path, "w"):
        pass


def png(path: Path) -> None:
    cv2.imwrite(str(path), FIELD.astype(np.uint8))


KINDS: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("a.h5", knmi, "KNMI's HDF5", "--importer knmi --unit mm`"),
    ("b.hf5", knmi, "KNMI's HDF5", "--importer knmi --unit mm`"),
    ("c", odim_dbz, "ODIM-HDF5", "--importer odim --unit dBZ --zr 200,1.6`"),
    ("d.h5", odim_polar, "polar data (PVOL)", "make composites on a grid"),
    ("e.h5", sevir, "SEVIR", "--importer sevir --catalog"),
    ("f.nc", netcdf, "netCDF-4", "--importer stack --unit UNIT --datasets rain,time`"),
    ("g.h5", hdf5, "HDF5", "--importer stack --unit UNIT`"),
    ("h.nc", bytes_of(b"CDF\x01" + bytes(20)), "netCDF-3", "--importer stack --unit UNIT`"),
    ("PrecipRate.grib2", bytes_of(b"GRIB" + bytes(9)), "GRIB", "--importer gdal`"),
    ("PrecipRate.grib2.gz", zipped_grib, "GRIB", "--importer gdal`"),
    ("i.gz", bytes_of(gzip.compress(b"else")), "gzip", "unpack them first"),
    ("j.tar", tar, "packed files", "unpack them first"),
    ("k.npy", lambda path: np.save(path, FIELD), "NumPy", "--importer stack --unit UNIT --times"),
    ("RAD200101000000.png", png, "PNG pictures", "lie in radarPNG/YYYY/MM/DD/RADyymmdd"),
    ("l.bin", bytes_of(b"nothing known"), "no format that is known", "nowcast data convert --help"),
    ("m.h5", bytes_of(b"\x89HDF\r\n\x1a\ncut off"), "no readable kind", "another folder"),
    ("n.gz", bytes_of(b"\x1f\x8bcut"), "no readable kind", "another folder"),
    ("o", bytes_of(b""), "no format that is known", "nowcast data convert --help"),
]


@pytest.mark.parametrize(("name", "write", "label", "how"), KINDS, ids=[kind[0] for kind in KINDS])
def test_each_format_has_its_next_move(
    tmp_path: Path, name: str, write: Callable[[Path], object], label: str, how: str
):
    folder = tmp_path / "my radar"
    folder.mkdir()
    write(folder / name)
    (folder / "readme.txt").write_text("about the data")
    (folder / ".hidden").write_bytes(b"\x89HDF")
    for place in (folder, folder / name):
        said = next_move(place)
        assert said is not None and said.startswith("found ") and label in said and how in said
        if how.endswith("`"):
            assert f"`nowcast data convert '{place}' OUT --importer" in said
    assert name in str(next_move(folder))


def test_most_files_decide_and_some_are_named(tmp_path: Path):
    assert next_move(tmp_path) is None and next_move(tmp_path / "nothing") is None
    for number in range(7):
        write_knmi(tmp_path / f"rain_{number}.h5", FIELD)
    (tmp_path / "logo.gif").write_bytes(b"GIF89a")
    said = str(next_move(tmp_path))
    assert "found 7 files of KNMI's HDF5 (rain_0.h5, rain_1.h5, rain_2.h5 ...)" in said
    assert "1 of other kinds" in said


def test_archives_one_folder_further_down_are_named(write_archive: Callable[..., Path]):
    root = write_archive({"test": ["2020-01-01 00:00", "2020-01-01 00:06"]})
    assert next_move(root.parent) == f"found 1 archives below it ({root}); give one of them"
    elsewhere = root.parent / "data"
    elsewhere.mkdir()
    root.rename(elsewhere / "dwd")
    with pytest.raises(ConfigError, match="with a radarPNG/ folder, found 1 archives below it"):
        Archive(elsewhere)


def test_every_command_says_so(tmp_path: Path):
    write_knmi(tmp_path / "a.h5", FIELD)
    with pytest.raises(ConfigError, match=r"nowcast data convert .* OUT --importer knmi --unit mm"):
        Archive(tmp_path)


@pytest.mark.parametrize("watching", [False, True])
def test_what_is_neither_an_archive_nor_radar_is_refused(tmp_path: Path, watching: bool):
    raw, pictures = tmp_path / "raw", tmp_path / "pictures"
    raw.mkdir()
    pictures.mkdir()
    write_knmi(raw / "a.h5", FIELD)
    png(pictures / "a.png")
    for place in (raw, raw / "a.h5", raw / "*.h5"):
        check_there([place], watching)
    with pytest.raises(ConfigError, match=r"an archive or radar files, found 1 files of PNG pict"):
        check_there([raw, pictures], watching)
    with pytest.raises(ConfigError, match="found nothing there; is the path right"):
        check_there([tmp_path / "nothing"], watching)
    opened = opened_when_there(raw, 1.0, lambda _: False, lambda _: None)
    assert opened is not None and opened.shape == FIELD.shape


def test_an_empty_folder_may_become_an_archive(tmp_path: Path):
    check_there([tmp_path], watching=True)
    said: list[str] = []
    assert opened_when_there(tmp_path, 1.0, lambda _: True, said.append) is None
    assert "waiting for frames" in said[0]
    with pytest.raises(ConfigError, match="found a folder without radar; fill it"):
        check_there([tmp_path], watching=False)


@pytest.mark.parametrize("options", [[], ["--watch"]])
def test_the_first_error_comes_before_torch(tmp_path: Path, options: list[str]):
    png(tmp_path / "a.png")
    arguments = ["forecast", str(tmp_path), "--out", str(tmp_path / "out"), *options]
    without_torch = (
        f"import sys; sys.modules['torch'] = None; sys.argv = ['nowcast', *{arguments!r}]\n"
        "from nowcast.cli.app import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", without_torch], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert f"{tmp_path}: expected an archive or radar files, found 1 files of PNG" in done.stderr
