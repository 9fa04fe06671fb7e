"""Which importers there are, by the name that `--importer` takes."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from nowcast.core.errors import ConfigError
from nowcast.precipitation.sources.field import Request, Source
from nowcast.precipitation.sources.knmi import read_knmi
from nowcast.precipitation.sources.odim import read_odim
from nowcast.precipitation.sources.sevir import read_sevir
from nowcast.precipitation.sources.stack.reader import read_stack
from nowcast.precipitation.sources.through_pysteps import PREFIX, read_through_pysteps


@dataclass(frozen=True)
class Importer:
    """One format.

    Args:
        read: the sources at a path; one archive each.
        uses: which of a `Request`'s fields it reads; any other that is set is a mistake.
        many: it may hold several archives, each to be named by `Source.name`.
        lists_hdf5: it opens every HDF5 file of a folder to list them (`field.files_in`).
    """

    read: Callable[[Path, Request], list[Source]]
    uses: frozenset[str]
    many: bool = False
    lists_hdf5: bool = False


IMPORTERS = {
    "odim": Importer(read_odim, frozenset({"unit"}), lists_hdf5=True),
    "knmi": Importer(read_knmi, frozenset({"unit"}), lists_hdf5=True),
    "sevir": Importer(read_sevir, frozenset({"unit", "catalog", "events"}), many=True),
    "stack": Importer(
        read_stack,
        frozenset(
            {"unit", "times", "datasets", "south_first", "north_first", "projection", "bounds"}
        ),
    ),
}
_OPTIONS = {
    "times": "--times",
    "datasets": "--datasets",
    "south_first": "--south-first",
    "north_first": "--north-first",
    "projection": "--projection",
    "bounds": "--bounds",
    "name_pattern": "--name-pattern",
    "settings": "--setting",
    "catalog": "--catalog",
    "events": "--event",
}


def importer(name: str) -> Importer:
    """The importer of a name: one of `IMPORTERS`, or ``pysteps:NAME``.

    Raises:
        ConfigError: there is none.
    """
    if name.startswith(PREFIX):
        return Importer(
            lambda path, request: read_through_pysteps(name.removeprefix(PREFIX), path, request),
            frozenset({"unit", "name_pattern", "settings"}),
        )
    if name not in IMPORTERS:
        raise ConfigError(
            f"--importer: expected {', '.join(IMPORTERS)} or {PREFIX}NAME, found {name}"
        )
    return IMPORTERS[name]


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
            raise ConfigError(f"{_OPTIONS[entry.name]}: --importer {name} does not use it")
    return chosen.read(path, request)
