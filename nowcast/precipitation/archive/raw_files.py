"""What lies where an archive was expected, by its content, and the command that makes one of it."""

import gzip
import os
import shlex
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

MOST_LISTED = 2000  # files looked for below a folder
MOST_READ = 5  # of them opened, of each ending
SHOWN = 3  # named in a message

# What belongs to an archive, or to its way here, and is no radar of another format.
NO_RADAR = (".json", ".csv", ".txt", ".md", ".npz", ".mask", ".yaml", ".part", ".tmp", ".log")

PACK = "a packed archive"
# First bytes of the formats that some importer reads, or gzip, in which GRIB comes.
HDF5, NETCDF_3, NPY, GRIB = b"\x89HDF\r\n\x1a\n", b"CDF", b"\x93NUMPY", b"GRIB"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GZIP = b"\x1f\x8b"
ZARR = ("zarr.json", ".zgroup", ".zmetadata")  # one of them lies in a store's folder
ODIM_UNITS = {"DBZH": "dBZ", "TH": "dBZ", "RATE": "mm_h", "ACRR": "mm"}
KNMI_UNITS = {"ACCUMULATED_PRECIPITATION_[MM]": "mm", "REFLECTIVITY_[DBZ]": "dBZ"}
ZR = "--zr 200,1.6"
STACK = "--importer stack --unit UNIT"
# What puts polar data on a grid; tried with xradar 0.12 and wradlib 2.9.
GRIDDED = (
    "xradar and wradlib put them on a grid: `s = xradar.io.open_odim_datatree(FILE)"
    '.xradar.georeference()["sweep_0"].ds; field = wradlib.comp.togrid(np.c_[s.x.values.ravel(), '
    "s.y.values.ravel()], GRID_XY, RADIUS, (0, 0), s.DBZH.values.ravel(), wradlib.ipol.Nearest)`"
)


class Kind(NamedTuple):
    """What a file is.

    Args:
        label: in words.
        how: the options of `nowcast data convert` that are needed, or else what to do.
        importer: that reads it; `PACK` for an archive; None where there is none.
    """

    label: str
    how: str
    importer: str | None = None


def next_move(place: Path) -> str | None:
    """What lies at a place that is no archive, and what to do with it: two halves of a sentence.

    Nothing is read further than needed to tell the format.

    Args:
        place: a file, or a folder without ``radarPNG/``.

    Returns:
        "found ...; ..."; None where there is nothing, or nothing that could be radar.
    """
    archives = _archives_below(place)
    if archives:
        shown = ", ".join(str(folder) for folder in archives[:3])
        return f"found {len(archives)} archives below it ({shown}); give one of them"
    kinds: Counter[Kind] = Counter()
    examples: dict[Kind, list[str]] = {}
    read: Counter[str] = Counter()
    known: dict[str, Kind] = {}
    count = 0
    for path in files_under(place, MOST_LISTED):
        count += 1
        ending = path.suffix.lower()
        if read[ending] < MOST_READ:
            read[ending] += 1
            known[ending] = kind_of(path)
        kinds[known[ending]] += 1
        examples.setdefault(known[ending], []).append(path.name)
    if not kinds:
        return None
    kind, alike = kinds.most_common(1)[0]
    label, how, importer = kind
    names = examples[kind]
    if place.is_file() or is_zarr(place):
        found = f"a file that is {label}"
    else:
        more = "or more " if count >= MOST_LISTED else ""
        others = f", {count - alike} of other kinds" if alike < count else ""
        dots = " ..." if len(names) > SHOWN else ""
        found = f"{alike} {more}files of {label} ({', '.join(names[:SHOWN])}{dots}){others}"
    return f"found {found}; {_advice(place, how, importer)}"


def _archives_below(place: Path) -> list[Path]:
    """Folders of the next two levels that are archives, at most a few."""
    found: list[Path] = []
    for pattern in ("*/radarPNG", "*/*/radarPNG"):
        for folder in place.glob(pattern):
            found.append(folder.parent)
            if len(found) > MOST_READ:
                return found
    return sorted(found)


def may_be_radar(place: Path) -> bool:
    """Whether a place is, or holds, what some importer may read, by first bytes alone."""
    starts = (HDF5, NETCDF_3, NPY, GRIB, GZIP, *TIFF)
    return any(
        is_zarr(path) or first_bytes(path).startswith(starts)
        for path in files_under(place, MOST_LISTED)
    )


def is_zarr(place: Path) -> bool:
    """Whether a place is a folder in which Zarr keeps arrays."""
    return place.is_dir() and any((place / name).is_file() for name in ZARR)


def files_under(place: Path, most: int | None = None) -> Iterator[Path]:
    """Files that might be radar, and Zarr's folders, in order of their names, at most so many."""
    return islice(_walked(place), most)


def _walked(place: Path) -> Iterator[Path]:
    if place.is_file() or is_zarr(place):
        yield place
        return
    for folder, folders, names in os.walk(place):
        folders.sort()
        stores = [name for name in folders if is_zarr(Path(folder) / name)]
        folders[:] = [name for name in folders if not name.startswith(".") and name not in stores]
        for name in sorted((*names, *stores)):
            if not (name.startswith(".") or name.lower().endswith(NO_RADAR)):
                yield Path(folder) / name


def first_bytes(path: Path) -> bytes:
    """The first bytes of a regular file; none of anything else."""
    try:
        if not path.is_file():  # opening a named pipe would wait for ever
            return b""
        with path.open("rb") as file:
            return file.read(16)
    except OSError:
        return b""


def _advice(place: Path, how: str, importer: str | None) -> str:
    if importer in (None, PACK):
        return how
    return (
        f"make an archive of them: `nowcast data convert {shlex.quote(str(place))} OUT {how}`, "
        "then give OUT"
    )


def kind_of(path: Path) -> Kind:
    """What a file is, by its content; HDF5 is opened, so strangers' files are asked apart."""
    if is_zarr(path):
        return Kind("Zarr", STACK, "stack")
    try:
        with path.open("rb") as file:
            head = file.read(16)
        if head.startswith(GZIP):
            with gzip.open(path, "rb") as file:
                inside = file.read(16)
            if not inside.startswith(GRIB):
                return Kind("files in gzip", "unpack them first (gunzip), then ask again")
            head = inside
        if head.startswith(HDF5):
            return _hdf5(path)
    except (OSError, EOFError, zlib.error) as error:
        return Kind(f"no readable kind ({error})", "look at the files, or give another folder")
    if head.startswith(GRIB):
        return Kind("GRIB", "--importer gdal", "gdal")
    if head.startswith(TIFF):
        return Kind("GeoTIFF", "--importer gdal --unit UNIT", "gdal")
    if head.startswith(NETCDF_3):
        return Kind("netCDF-3", STACK, "stack")
    if head.startswith(NPY):
        return Kind("NumPy arrays", f"{STACK} --times TIMES.npy", "stack")
    if head.startswith(b"\x89PNG"):
        return Kind(
            "PNG pictures",
            "frames of an archive lie in radarPNG/YYYY/MM/DD/RADyymmddHHMM00.png, with pixels of "
            "255 * (dBZ + 10) / 70; put them there, or save them as a stack (.npy) for `nowcast "
            "data convert --importer stack`",
        )
    if head.startswith((b"PK\x03\x04", b"BZh", b"\xfd7zXZ")) or path.suffix == ".tar":
        return Kind("packed files", "unpack them first, then ask again")
    return Kind(
        "no format that is known here",
        "`nowcast data convert --help` lists what can be made an archive; otherwise save the "
        "frames as a stack (.npy or .h5) for --importer stack",
    )


def _hdf5(path: Path) -> Kind:
    import h5py  # here, since most places hold an archive

    with h5py.File(path) as file:
        if _text(file, "format").startswith("nowcast pack"):
            return Kind(PACK, f"give the file itself: {shlex.quote(str(path))}", PACK)
        if "overview" in file and "image1" in file:
            unit = KNMI_UNITS.get(_text(file["image1"], "image_geo_parameter").upper(), "UNIT")
            return Kind("KNMI's HDF5", _options("knmi", unit), "knmi")
        if "what" in file and ("where" in file or "dataset1" in file):
            what = _text(file["what"], "object")
            if what not in ("COMP", "IMAGE", "CVOL", ""):
                return Kind(
                    f"ODIM-HDF5, polar data ({what})", f"make composites on a grid first; {GRIDDED}"
                )
            return Kind("ODIM-HDF5", _options("odim", _odim_unit(file)), "odim")
        if "vil" in file and "id" in file:
            return Kind("SEVIR's VIL", "--importer sevir --catalog CATALOG.csv", "sevir")
        names = [name for name in file if isinstance(file[name], h5py.Dataset)]
        if "_NCProperties" in file.attrs or any("_Netcdf4Dimid" in file[n].attrs for n in names):
            return Kind("netCDF-4", _stack(file, names), "stack")
        return Kind("HDF5", _stack(file, names), "stack")


def _options(importer: str, unit: str) -> str:
    return f"--importer {importer} --unit {unit}{f' {ZR}' if unit == 'dBZ' else ''}"


def _odim_unit(file: Any) -> str:
    """Unit of the first quantity that is rain or reflectivity."""
    for data in ("dataset1/data1", "dataset1"):
        if f"{data}/what" in file:
            unit = ODIM_UNITS.get(_text(file[f"{data}/what"], "quantity"))
            if unit is not None:
                return unit
    return "UNIT"


def _stack(file: Any, names: list[str]) -> str:
    """With the names of its frames and times, where they can be told."""
    frames = [name for name in names if file[name].ndim == 3]
    times = [name for name in names if "time" in name.lower() and file[name].ndim == 1]
    if len(frames) == 1 and len(times) == 1 and (frames[0], times[0]) != ("frames", "times"):
        return f"{STACK} --datasets {frames[0]},{times[0]}"
    return STACK


def _text(holder: Any, name: str) -> str:
    """An attribute as text; empty where there is none."""
    value = holder.attrs.get(name, "")
    if hasattr(value, "item"):
        value = value.item()
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
