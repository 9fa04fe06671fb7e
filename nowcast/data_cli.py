"""`nowcast data`: make, describe and prepare radar archives."""

from pathlib import Path
from typing import Annotated, Literal

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


@data.command("convert")
def data_convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="File or folder to read.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    importer: Annotated[
        str, typer.Option(help="knmi, odim, stack, sevir, or pysteps:NAME, e.g. pysteps:mrms_grib.")
    ],
    unit: Annotated[
        Literal["dBZ", "mm_h", "mm"] | None,
        typer.Option(help="Of the values: reflectivity, rain rate or rain sum. Not for sevir."),
    ] = None,
    accumulation_minutes: Annotated[
        float | None, typer.Option(help="Of --unit mm, where the file does not state it.")
    ] = None,
    zr: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Z = A R^B. Needed for dBZ; HKO-7's 58.53,1.56 for rain."),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(metavar="R0,R1,C0,C1", help="Rows R0 to R1 - 1 from north, and columns."),
    ] = None,
    block_mean: Annotated[
        int, typer.Option(metavar="N", help="Mean rain rate over N x N pixels, after the crop.")
    ] = 1,
    step: Annotated[
        int | None, typer.Option(help="Minutes between frames; the commonest gap if left out.")
    ] = None,
    no_data: Annotated[
        float | None, typer.Option(help="A value that means no data, besides NaN.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the archive, for tables.")] = None,
    credit: Annotated[str, typer.Option(help="Who made the data.")] = "not stated",
    times: Annotated[
        Path | None, typer.Option(help="stack: .npy of times (datetime64, or minutes since 1970).")
    ] = None,
    datasets: Annotated[
        str, typer.Option(metavar="FRAMES,TIMES", help="stack: names in an .h5 file.")
    ] = "frames,times",
    south_first: Annotated[
        bool, typer.Option("--south-first", help="stack: row 0 is the southernmost.")
    ] = False,
    name_pattern: Annotated[
        str | None, typer.Option(help="pysteps: names with their time, e.g. radar_%Y%m%d%H%M.h5.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="pysteps: for its importer.")
    ] = None,
    catalog: Annotated[Path | None, typer.Option(help="sevir: CATALOG.csv.")] = None,
    event: Annotated[list[str] | None, typer.Option(help="sevir: only these ids.")] = None,
) -> None:
    """Turn other radar into an archive; nothing is stretched, and what is no rain is an error.

    Example: `nowcast data convert knmi_files/ data/knmi --importer knmi --unit mm --crop
    188,668,129,609`
    """
    from nowcast.core.log import counted
    from nowcast.precipitation.convert import Target, convert
    from nowcast.precipitation.importers.field import Request
    from nowcast.precipitation.importers.options import calibration, names, settings, window

    request = Request(
        unit=unit,
        times=times,
        datasets=names(datasets),
        south_first=south_first,
        name_pattern=name_pattern,
        settings=settings(setting or []),
        catalog=catalog,
        events=tuple(event or ()),
    )
    target = Target(
        calibration=calibration(zr),
        accumulation_minutes=accumulation_minutes,
        crop=window(crop),
        block_mean=block_mean,
        step_minutes=step,
        no_data=no_data,
        name=name,
        credit=credit,
    )
    with counted("converted") as progress:
        written = convert(source, out, importer, request, target, progress)
    for archive in written:
        typer.echo(f"{archive.root}: {archive.summary()}")
    if any(archive.description.quantity == "VIL" for archive in written):
        typer.echo("VIL is no rain rate: thresholds in mm/h are nominal")
    typer.echo(f"next: nowcast data days {written[0].root}, which lists its rainy days")
