"""A config and the keys that a command line changes in it."""

from typing import Annotated, Any

import typer


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


def parsed(overrides: list[str] | None) -> dict[str, Any]:
    """``key=value`` arguments by dotted key; raises ConfigError."""
    from nowcast.api import config as configs

    return configs.parse_overrides(overrides or [])
