"""Which unit a source is in: the one that its file states, else the one that the user gives."""

from collections.abc import Sequence
from pathlib import Path

from nowcast.core.errors import ConfigError, DataError
from nowcast.precipitation.sources.field import Request
from nowcast.precipitation.sources.measure import WORKS, Measure, Unit, measure


def said_measure(request: Request) -> Measure | None:
    """What ``--unit`` says; None where it is not given.

    Raises:
        ConfigError: it is no unit of rain or reflectivity.
    """
    if request.unit is None:
        return None
    try:
        found = measure(request.unit)
    except ValueError as error:
        raise ConfigError(f"--unit: {error}") from error
    if found is None:
        raise ConfigError(f"--unit: expected {WORKS}; found {request.unit!r}")
    return found


def agreed_measure(
    stated: str | None,
    request: Request,
    where: str,
    importer: str,
    advice: str = "mend the attribute, or leave it out of the file and give --unit",
) -> Measure:
    """The unit of a source: what it states, or where it states none what the user says.

    Args:
        stated: by the source, in its own spelling; None where it states none.
        request: what the user says.
        where: what to name in a message.
        importer: by name, likewise.
        advice: what to do about a unit that is not understood.

    Raises:
        ConfigError: neither states it, or the user's is none.
        DataError: the source's is not understood, or they contradict each other.
    """
    said = said_measure(request)
    try:
        found = None if stated is None else measure(stated)
    except ValueError as error:
        raise DataError(f"{where}: {error} as its units; {advice}") from error
    if found is None:
        if said is None:
            raise ConfigError(
                f"--unit: --importer {importer} needs to know it, since {where} states none; give "
                "dBZ, mm/h (a rain rate) or mm (a rain sum)"
            )
        return said
    if said is not None and not said.same(found):
        raise DataError(
            f"{where}: states the units {stated!r}, but --unit says {request.unit}; leave --unit "
            "out (or mend the attribute)"
        )
    return found


def only_unit(held: list[Unit], request: Request, importer: str, path: Path) -> Unit:
    """The unit in which a file is read: the one that the user says, else the only one it holds.

    Args:
        held: units of what the file holds.
        request: what the user says.
        importer: by name, for messages.
        path: of the file, likewise.

    Raises:
        ConfigError: none is stated and the file holds several, or it is no unit.
        DataError: the user's is not one that the format has.
    """
    said = said_measure(request)
    if said is not None:
        if said.factor != 1 or said.linear:
            raise DataError(
                f"{path}: {importer} files are in {said.unit} or another unit that they state, but "
                f"--unit says {request.unit}; leave --unit out"
            )
        return said.unit
    if not held:
        raise DataError(f"{path}: expected rain or reflectivity, found neither")
    several = sorted(set(held))
    if len(several) > 1:
        raise ConfigError(
            f"--unit: {path} holds {' and '.join(several)}; say which one to convert, e.g. --unit "
            f"{several[-1]}"
        )
    return several[0]


def no_field(
    path: Path, what: str, unit: Unit, names: Sequence[str], units: Sequence[Unit]
) -> DataError:
    """That a file holds nothing in the wanted unit.

    Args:
        path: of the file.
        what: was expected, e.g. ``an image``.
        unit: the wanted one.
        names: of what the file holds.
        units: of those among it that are rain or reflectivity.
    """
    advice = f"give --unit {units[0]}, or sort the files" if units else "it holds no rain"
    return DataError(
        f"{path}: expected {what} in {unit} as --unit or the first file says, found "
        f"{', '.join(names) or 'nothing'}; {advice}"
    )
