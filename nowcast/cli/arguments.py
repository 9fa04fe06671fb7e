"""Arguments that several commands take."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nowcast.precipitation.sources.feed.reader import Reading


def _config_names(incomplete: str) -> list[str]:
    """For the shell's completion; a path is completed by the shell itself."""
    from nowcast.api.shipped_configs import names

    return [name for name in names() if name.startswith(incomplete)]


Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE ...]", help="Dotted config keys, e.g. train.steps=100."),
]
Config = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        help="A name from `nowcast config list`, or the path of a YAML file.",
        autocompletion=_config_names,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="What does the work: processes of this machine, dask:ADDRESS, submitit (Slurm), or a "
        "YAML file that says more.  [processes]",
    ),
]
# How radar files are to be read, where they leave it open.
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


def parsed(overrides: list[str] | None) -> dict[str, Any]:
    """``key=value`` arguments by dotted key; raises ConfigError."""
    from nowcast.api import config as configs

    return configs.parse_overrides(overrides or [])
