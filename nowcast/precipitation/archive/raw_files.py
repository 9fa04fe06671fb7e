"""What lies where an archive was expected, by its content, and the command that makes one of it."""

import gzip
import os
import shlex
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_LISTED = 2000  # files looked for below a folder
MOST_READ = 5  # of them opened, of each ending
SHOWN = 3  # named in a message

# What belongs to an archive, or to its way here, and is no radar of another format.
NO_RADAR = (".json", ".csv", ".txt", ".md", ".npz", ".mask", ".yaml", ".part", ".tmp", ".log")

PACK = "a packed archive"
ODIM_UNITS = {"DBZH": "dBZ", "TH": "dBZ", "RATE": "mm_h", "ACRR": "mm"}
KNMI_UNITS = {"ACCUMULATED_PRECIPITATION_[MM]": "mm", "REFLECTIVITY_[DBZ]": "dBZ"}
ZR = "--zr 200,1.6"
STACK = "--importer stack --unit UNIT"


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
    kinds: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], list[str]] = {}
    read: Counter[str] = Counter()
    known: dict[str, tuple[str, str]] = {}
    count = 0
    for path in _files(place):
        count += 1
        ending = path.suffix.lower()
        if read[ending] < MOST_READ:
            read[ending] += 1
            known[ending] = _kind(path)
        kinds[known[ending]] += 1
        examples.setdefault(known[ending], []).append(path.name)
    if not kinds:
        return None
    (label, how), alike = kinds.most_common(1)[0]
    names = examples[label, how]
    if place.is_file():
        found = f"a file that is {label}"
    else:
        more = "or more " if count >= MOST_LISTED else ""
        others = f", {count - alike} of other kinds" if alike < count else ""
        dots = " ..." if len(names) > SHOWN else ""
        found = f"{alike} {more}files of {label} ({', '.join(names[:SHOWN])}{dots}){others}"
    return f"found {found}; {_advice(place, how)}"


def _archives_below(place: Path) -> list[Path]:
    """Folders of the next two levels that are archives, at most a few."""
    found: list[Path] = []
    for pattern in ("*/radarPNG", "*/*/radarPNG"):
        for folder in place.glob(pattern):
            found.append(folder.parent)
            if len(found) > MOST_READ:
                return found
    return sorted(found)


def is_pack(path: Path) -> bool:
    """Whether a file is a packed archive, whole or not."""
    return _kind(path)[0] == PACK


def _advice(place: Path, how: str) -> str:
    if not how.startswith("--importer"):
        return how
    return (
        f"make an archive of them: `nowcast data convert {shlex.quote(str(place))} OUT {how}`, "
        "then give OUT"
    )


def _files(place: Path) -> Iterator[Path]:
    """Files that might be radar, at most `MOST_LISTED`, in order of their names."""
    if place.is_file():
        yield place
        return
    listed = 0
    for folder, folders, names in os.walk(place):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in sorted(names):
            if name.startswith(".") or name.lower().endswith(NO_RADAR):
                continue
            yield Path(folder) / name
            listed += 1
            if listed >= MOST_LISTED:
                return


def _kind(path: Path) -> tuple[str, str]:
    """What a file is, in words, and the options that convert it, or else what to do."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(path, "rb") as file:
                inside = file.read(16)
            if inside.startswith(b"GRIB"):
                return _grib(path)
            return "files in gzip", "unpack them first (gunzip), then ask again"
        if head.startswith(b"\x89HDF\r\n\x1a\n"):
            return _hdf5(path)
    except (OSError, EOFError, zlib.error) as error:
        return f"no readable kind ({error})", "look at the files, or give another folder"
    if head.startswith(b"GRIB"):
        return _grib(path)
    if head.startswith(b"CDF"):
        return "netCDF-3", STACK
    if head.startswith(b"\x93NUMPY"):
        return "NumPy arrays", f"{STACK} --times TIMES.npy"
    if head.startswith(b"\x89PNG"):
        return "PNG pictures", (
            "frames of an archive lie in radarPNG/YYYY/MM/DD/RADyymmddHHMM00.png, with pixels of "
            "255 * (dBZ + 10) / 70; put them there, or save them as a stack (.npy) for `nowcast "
            "data convert --importer stack`"
        )
    if head.startswith((b"PK\x03\x04", b"BZh", b"\xfd7zXZ")) or path.suffix == ".tar":
        return "packed files", "unpack them first, then ask again"
    return "no format that is known here", (
        "`nowcast data convert --help` lists what can be made an archive; otherwise save the "
        "frames as a stack (.npy or .h5) for --importer stack"
    )


def _grib(path: Path) -> tuple[str, str]:
    stem = "mrms_grib" if "precip" in path.name.lower() or "mrms" in path.name.lower() else "NAME"
    return "GRIB", f'--importer pysteps:{stem} --unit mm_h --name-pattern "..._%Y%m%d-%H%M%S..."'


def _hdf5(path: Path) -> tuple[str, str]:
    import h5py  # here, since most places hold an archive

    with h5py.File(path) as file:
        if _text(file, "format").startswith("nowcast pack"):
            return PACK, f"give the file itself: {shlex.quote(str(path))}"
        if "overview" in file and "image1" in file:
            unit = KNMI_UNITS.get(_text(file["image1"], "image_geo_parameter").upper(), "UNIT")
            return "KNMI's HDF5", _options("knmi", unit)
        if "what" in file and ("where" in file or "dataset1" in file):
            what = _text(file["what"], "object")
            if what not in ("COMP", "IMAGE", "CVOL", ""):
                return f"ODIM-HDF5, polar data ({what})", (
                    "make composites on a grid of them first (with wradlib or Py-ART), then "
                    "convert those"
                )
            return "ODIM-HDF5", _options("odim", _odim_unit(file))
        if "vil" in file and "id" in file:
            return "SEVIR's VIL", "--importer sevir --catalog CATALOG.csv"
        names = [name for name in file if isinstance(file[name], h5py.Dataset)]
        if "_NCProperties" in file.attrs or any("_Netcdf4Dimid" in file[n].attrs for n in names):
            return "netCDF-4", _stack(file, names)
        return "HDF5", _stack(file, names)


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
