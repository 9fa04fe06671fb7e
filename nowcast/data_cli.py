"""`nowcast data`: make, describe and prepare radar archives."""

from pathlib import Path
from typing import Annotated

import typer

from nowcast.core.terminal import print_table

data = typer.Typer(help="Make, describe and prepare radar archives.", no_args_is_help=True)


@data.command("sample")
def data_sample(out: Annotated[Path, typer.Argument(help="Folder to make.")]) -> None:
    """Write eleven days of real DWD radar, which arrive with the package pycomlink, as an archive.

    Example: `nowcast data sample data/dwd`
    """
    from nowcast.core.log import counted
    from nowcast.precipitation.sample import write_sample

    with counted("DWD sample") as progress:
        write_sample(out, progress)
    typer.echo(f"{out}: written; look at it with `nowcast data info {out}`")


@data.command("synth")
def data_synth(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    days: Annotated[int, typer.Option(help="Days of rain, at least 3.")] = 6,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Rows and columns of a frame.")] = 128,
    step: Annotated[int, typer.Option(help="Minutes between frames.")] = 6,
    clutter: Annotated[
        bool, typer.Option("--clutter", help="Add speckle, rings and sun spikes, and mask them.")
    ] = False,
) -> None:
    """Write an archive of synthetic rain that moves, grows and decays.

    Example: `nowcast data synth data/synthetic --days 6 --seed 0`
    """
    from nowcast.core.log import counted
    from nowcast.precipitation.synthetic import write_synthetic

    with counted("synthetic rain") as progress:
        write_synthetic(
            out,
            days=days,
            seed=seed,
            height=size,
            width=size,
            step_minutes=step,
            clutter=clutter,
            progress=progress,
        )
    typer.echo(f"{out}: written; look at it with `nowcast data info {out}`")


@data.command("info")
def data_info(
    roots: Annotated[list[Path], typer.Argument(metavar="ROOT...", help="Archives to describe.")],
) -> None:
    """Describe archives: what they hold, and how their rain behaves.

    Example: `nowcast data info data/dwd data/synthetic`
    """
    from nowcast.precipitation.archive import Archive
    from nowcast.precipitation.info import archive_info

    columns = [archive_info(Archive(root)).rows() for root in roots]
    rows = [
        [label, *(column[position][1] for column in columns)]
        for position, (label, _) in enumerate(columns[0])
    ]
    print_table(["", *map(str, roots)], rows)
