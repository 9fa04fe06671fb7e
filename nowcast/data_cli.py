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


@data.command("check")
def data_check(
    root: Annotated[Path, typer.Argument(help="Archive to check.")],
    lists: Annotated[
        Path | None, typer.Option(help="Folder of day lists and mask_dat.npz.  [ROOT/hko_data]")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every finding here.")] = None,
    quarantine: Annotated[
        Path | None, typer.Option(help="Write the moments that training must skip here (csv).")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read.  [all processors]")
    ] = None,
) -> None:
    """Read all of an archive and say what is broken in it; exit status 1 if anything is.

    Example: `nowcast data check data/dwd --quarantine data/dwd/quarantine.csv`
    """
    from rich.markup import escape

    from nowcast.core.log import counted
    from nowcast.core.runs import write_json
    from nowcast.precipitation.check import check_archive
    from nowcast.precipitation.quarantine import write_quarantine

    with counted("checking") as progress:
        report = check_archive(root, lists, workers, progress)
    if report.findings:
        rows = [[*row[:3], escape(row[3])] for row in report.rows()]
        print_table(["finding", "severity", "count", "first"], rows, text=(0, 1, 3))
    typer.echo(report.summary())
    if json is not None:
        write_json(json, report.content())
    if quarantine is not None:
        write_quarantine(quarantine, report.excluded())
    if report.is_broken:
        raise typer.Exit(1)


@data.command("days")
def data_days(
    root: Annotated[Path, typer.Argument(help="Archive without day lists.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write the lists to.  [ROOT/hko_data]")
    ] = None,
    threshold_mm: Annotated[
        float, typer.Option(help="Depth from which on a day is rainy, mm over the radar's area.")
    ] = 1.0,
    by: Annotated[
        str | None, typer.Option(help="year or episode.  [year if rain fell in 3 or more]")
    ] = None,
    every: Annotated[
        int, typer.Option(help="Read every so many frames of a day; the depth is scaled.")
    ] = 1,
    quarantine: Annotated[
        Path | None, typer.Option(help="Skip the moments that `nowcast data check` listed here.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads that read.  [all processors]")
    ] = None,
) -> None:
    """Find the rainy days of an archive and split them into train, valid and test lists.

    Example: `nowcast data days data/mrms --out data/mrms/hko_data`
    """
    from nowcast.core.log import counted
    from nowcast.precipitation.archive import Archive
    from nowcast.precipitation.quarantine import read_quarantine
    from nowcast.precipitation.rainy_days import find_rainy_days, refuse_existing, write_lists
    from nowcast.precipitation.split_days import known_by

    way = known_by(by)
    archive = Archive(root)
    folder = archive.lists if out is None else out
    refuse_existing(folder)
    skip = None if quarantine is None else read_quarantine(quarantine)
    with counted("rain of each day") as progress:
        found = find_rainy_days(
            archive,
            threshold_mm=threshold_mm,
            by=way,
            every=every,
            skip=skip,
            workers=workers,
            progress=progress,
        )
    write_lists(folder, found.lists())
    print_table(["", "days", "first", "last", "rain"], found.rows())
    typer.echo(
        f"{folder}: written; {found.rainy} of {len(found.depth_mm)} days have at least "
        f"{threshold_mm:g} mm, split by {found.split.by}"
    )
    if every > 1:
        typer.echo(f"depths are scaled: one frame in {every} of each day was read")
