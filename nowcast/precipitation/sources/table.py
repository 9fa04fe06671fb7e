"""Which importers there are, by the name that `--importer` takes."""

from dataclasses import fields
from pathlib import Path

from nowcast.core.errors import ConfigError
from nowcast.core.system.plugins import added, loaded
from nowcast.precipitation.sources.agencies.knmi import read_knmi
from nowcast.precipitation.sources.agencies.sevir import read_sevir
from nowcast.precipitation.sources.field import Request, Source
from nowcast.precipitation.sources.hdf5 import files_in
from nowcast.precipitation.sources.importer import GROUP, Importer
from nowcast.precipitation.sources.libraries.through_gdal import gdal_files, read_through_gdal
from nowcast.precipitation.sources.libraries.through_pysteps import PREFIX, read_through_pysteps
from nowcast.precipitation.sources.odim.reader import read_odim
from nowcast.precipitation.sources.stack.reader import read_stack, stack_files


def _hdf5_files(path: Path) -> list[Path]:
    return files_in(path)[0]


IMPORTERS = {
    "odim": Importer(read_odim, frozenset({"unit"}), files=_hdf5_files, one_unit=True),
    "knmi": Importer(read_knmi, frozenset({"unit"}), files=_hdf5_files, one_unit=True),
    "sevir": Importer(read_sevir, frozenset({"unit", "catalog", "events"}), many=True),
    "stack": Importer(
        read_stack,
        frozenset(
            {"unit", "times", "datasets", "south_first", "north_first", "projection", "bounds"}
        ),
        files=stack_files,
    ),
    "gdal": Importer(read_through_gdal, frozenset({"unit"}), files=gdal_files),
}
_SINGULAR = {"settings": "setting", "events": "event"}  # options that may be given several times


def importer(name: str) -> Importer:
    """The importer of a name: of `IMPORTERS`, ``pysteps:NAME``, or an installed package's.

    Raises:
        ConfigError: there is none, or a package's cannot be used.
    """
    if name.startswith(PREFIX):
        return Importer(
            lambda path, request: read_through_pysteps(name.removeprefix(PREFIX), path, request),
            frozenset({"unit", "name_pattern", "settings"}),
        )
    others = added(GROUP, IMPORTERS)
    if name not in IMPORTERS and name not in others:
        known = ", ".join([*IMPORTERS, *sorted(others)])
        raise ConfigError(f"--importer: expected {known} or {PREFIX}NAME, found {name}")
    return IMPORTERS[name] if name in IMPORTERS else loaded(others[name], Importer)


def sources(name: str, path: Path, request: Request) -> list[Source]:
    """What an importer finds at a path.

    Raises:
        ConfigError: no such importer or path, or an option it does not use.
        DataError: a file cannot be used.
    """
    chosen = importer(name)
    plain = Request()
    for entry in fields(Request):
        given = getattr(request, entry.name) != getattr(plain, entry.name)
        if entry.name == "skip":  # not the user's
            continue
        if given and entry.name not in chosen.uses:
            option = _SINGULAR.get(entry.name, entry.name).replace("_", "-")
            raise ConfigError(f"--{option}: --importer {name} does not use it")
    return chosen.read(path, request)
