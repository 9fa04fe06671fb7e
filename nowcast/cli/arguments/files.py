"""How radar files are to be read, where they leave it open."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nowcast.precipitation.sources.feed.reader import Reading

Importer = Annotated[
    str | None,
    typer.Option(
        help="odim, knmi, stack, gdal, sevir, pysteps:NAME, or one that a package adds.  [by "
        "content]"
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(
        help="Unit of the values, if the files lack it: dBZ, mm/h, mm, kg m-2 s-1, in/hr."
    ),
]
Accumulation = Annotated[
    float | None,
    typer.Option(help="With --unit mm: minutes of accumulation, if the file lacks them."),
]
ZR = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="Z = A R^B; required for dBZ.  [58.53,1.56 for rain rates, as HKO-7]",
    ),
]
NamePattern = Annotated[
    str | None, typer.Option(help="pysteps: names with their time, e.g. radar_%Y%m%d%H%M.h5.")
]


def reading(
    importer: str | None,
    unit: str | None,
    zr: str | None,
    accumulation_minutes: float | None,
    name_pattern: str | None,
) -> "Reading | None":
    """What these options say of radar files; None where they say nothing. Raises ConfigError."""
    if all(v is None for v in (importer, unit, zr, accumulation_minutes, name_pattern)):
        return None
    from nowcast.precipitation.sources.conversion.options import calibration
    from nowcast.precipitation.sources.conversion.target import Target
    from nowcast.precipitation.sources.feed.reader import Reading
    from nowcast.precipitation.sources.field import Request

    return Reading(
        importer,
        Request(unit=unit, name_pattern=name_pattern),
        Target(calibration=calibration(zr), accumulation_minutes=accumulation_minutes),
    )
