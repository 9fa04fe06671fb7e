"""`nowcast data`: make, convert, describe and pack radar archives."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import typer

from nowcast.cli.arguments.files import ZR, Accumulation, Importer, NamePattern, Unit
from nowcast.cli.arguments.overrides import Cluster
from nowcast.core.terminal.plain import command
from nowcast.core.terminal.tables import print_table

data = typer.Typer(
    help="Make, describe and prepare radar archives; describe GLUE's files and folders of images.",
    no_args_is_help=True,
)


@data.command("sample")
def data_sample(out: Annotated[Path, typer.Argument(help="Folder to make.")]) -> None:
    """Write eleven days of real DWD radar, from the package pycomlink, as an archive.

    Example: `nowcast data sample data/dwd`
    """
    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.sources.conversion.sample import write_sample

    with counted("DWD sample") as progress:
        write_sample(out, progress)
    typer.echo(f"{out}: written; look at it with `{command('nowcast', 'data', 'info', out)}`")


@data.command("synth")
def data_synth(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    days: Annotated[int, typer.Option(help="Days of rain, at least 3.")] = 6,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Rows and columns of a frame.")] = 128,
    step: Annotated[int, typer.Option(help="Minutes between frames.")] = 6,
    climate: Annotated[
        str,
        typer.Option(
            help="mixed, winter, fronts, embedded, showers, squalls or many: all by turns."
        ),
    ] = "mixed",
    pixel_km: Annotated[float, typer.Option(help="Side of a pixel, 0.5 to 4 km.")] = 1.0,
    clutter: Annotated[
        bool, typer.Option("--clutter", help="Add speckle, rings and sun spikes, and mask them.")
    ] = False,
) -> None:
    """Write an archive of synthetic rain: it moves, grows and decays.

    Example: `nowcast data synth data/synthetic --days 6 --seed 0`
    """
    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.synthetic.archive import write_synthetic

    with counted("synthetic rain") as progress:
        write_synthetic(
            out,
            days=days,
            seed=seed,
            height=size,
            width=size,
            step_minutes=step,
            climate=climate,
            pixel_km=pixel_km,
            clutter=clutter,
            progress=progress,
        )
    typer.echo(f"{out}: written; look at it with `{command('nowcast', 'data', 'info', out)}`")


@data.command("info")
def data_info(
    roots: Annotated[list[Path], typer.Argument(metavar="ROOT...", help="Archives to describe.")],
) -> None:
    """Describe archives: frames, days, grid, and statistics of the rain.

    Example: `nowcast data info data/dwd data/synthetic`
    """
    from nowcast.core.terminal.progress import line
    from nowcast.precipitation.preparation.info import archive_info
    from nowcast.precipitation.sources.stack.zarr_archive import open_archive

    infos = []
    for root in roots:
        with line(f"looking through {root}"):
            infos.append(archive_info(open_archive(root)))
    columns = [info.rows() for info in infos]
    rows = [
        [label, *(column[position][1] for column in columns)]
        for position, (label, _) in enumerate(columns[0])
    ]
    print_table(["", *map(str, roots)], rows)
    for root, info in zip(roots, infos, strict=True):
        if info.note is not None:
            typer.echo(f"{root}: {info.note}")


@data.command("pack")
def data_pack(
    root: Annotated[Path, typer.Argument(help="The archive.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.h5", help="The file to make.")],
    crop: Annotated[
        str | None, typer.Option(help="`paper`, or r0,r1,c0,c1; default: whole frames.")
    ] = None,
    masks: Annotated[
        Literal["frame", "exclude", "both"], typer.Option(help="Which masks to pack (data.masks).")
    ] = "both",
    codec: Annotated[
        Literal["lz4", "zstd", "none"],
        typer.Option(help="Compression; zstd is smaller and slower."),
    ] = "lz4",
    lists: Annotated[
        Path | None, typer.Option(help="Folder of day lists and mask.  [ROOT/hko_data]")
    ] = None,
    quarantine: Annotated[
        Path | None, typer.Option(help="Times to leave out, from `nowcast data check`.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads.  [all processors]")] = None,
) -> None:
    """Pack the listed days of an archive into one HDF5 file, from which training reads faster.

    Use the file as `data.root=OUT.h5`.

    Example: `nowcast data pack data/dwd data/dwd.h5`
    """
    from nowcast.core.system.machine import usable_cpus
    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.archive.pack import pack
    from nowcast.precipitation.archive.quarantine import read_quarantine
    from nowcast.precipitation.settings import PAPER_CROP
    from nowcast.precipitation.sources.conversion.options import window
    from nowcast.precipitation.sources.stack.zarr_archive import open_folder

    with counted("packed") as progress:
        pack(
            open_folder(root, lists),
            out,
            crop=PAPER_CROP if crop == "paper" else window(crop),
            masks=masks,
            codec=codec,
            skipped=None if quarantine is None else read_quarantine(quarantine),
            workers=workers or usable_cpus(),
            progress=progress,
        )
    typer.echo(f"{out}: {out.stat().st_size / 2**20:.1f} MB; train on it with data.root={out}")


@data.command("convert")
def data_convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="File or folder to read.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    importer: Importer = None,
    unit: Unit = None,
    accumulation_minutes: Accumulation = None,
    zr: ZR = None,
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="R0,R1,C0,C1",
            help="Keep rows R0 to R1 - 1, from north, and columns C0 to C1 - 1.",
        ),
    ] = None,
    block_mean: Annotated[
        int, typer.Option(metavar="N", help="Average rain rates over N x N pixels, after the crop.")
    ] = 1,
    step: Annotated[
        int | None, typer.Option(help="Minutes between frames.  [the most common gap]")
    ] = None,
    no_data: Annotated[
        float | None, typer.Option(help="A value that means no data, besides NaN.")
    ] = None,
    valid_share: Annotated[
        float | None,
        typer.Option(
            help="Exclude pixels with data in less than this share of the frames.  [0.95]"
        ),
    ] = None,
    skip_damaged: Annotated[
        bool,
        typer.Option(
            "--skip-damaged", help="Skip files that cannot be read; skipped.csv lists them."
        ),
    ] = False,
    append: Annotated[
        bool,
        typer.Option(
            "--append", help="Add to the archive at OUT; frames that exist must be equal."
        ),
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the archive, for tables.")] = None,
    credit: Annotated[
        str, typer.Option(help="Who made the data and must be named.")
    ] = "not stated",
    times: Annotated[
        Path | None, typer.Option(help="stack: .npy of times (datetime64, or minutes since 1970).")
    ] = None,
    datasets: Annotated[
        str | None,
        typer.Option(metavar="FRAMES,TIMES", help="stack: names in the file.  [by their axes]"),
    ] = None,
    south_first: Annotated[
        bool, typer.Option("--south-first", help="stack: row 0 is the southernmost.")
    ] = False,
    north_first: Annotated[
        bool, typer.Option("--north-first", help="stack: row 0 is the northernmost.")
    ] = False,
    projection: Annotated[
        str | None,
        typer.Option(help="stack: as PROJ reads it, e.g. EPSG:3035, if the file lacks it."),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(metavar="W,S,E,N", help="stack: outer edges in the projection's unit."),
    ] = None,
    name_pattern: NamePattern = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="pysteps: an argument of its importer."),
    ] = None,
    catalog: Annotated[Path | None, typer.Option(help="sevir: CATALOG.csv.")] = None,
    event: Annotated[
        list[str] | None, typer.Option(help="sevir: only this event; may repeat.")
    ] = None,
    to: Annotated[
        Literal["archive", "mlcast"],
        typer.Option(help="mlcast: a Zarr store after its specification, at full precision."),
    ] = "archive",
    mlcast: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="--to mlcast: license, created_by, created_with, identifier, version.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Parts converted in parallel, each in a process.  [1; on a cluster: 64]"
        ),
    ] = None,
    cluster: Cluster = None,
) -> None:
    """Convert radar files of other formats into an archive; frames are not resampled.

    With --jobs or --cluster what is converted waits in OUT.parts, and the same command goes on.

    Example: `nowcast data convert knmi_files/ data/knmi --crop 188,668,129,609`
    """
    from nowcast.api.cluster import cluster_settings
    from nowcast.core.errors import ConfigError
    from nowcast.core.execution.engines import executor_of
    from nowcast.core.execution.jobs import CLUSTER
    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.sources.conversion import options
    from nowcast.precipitation.sources.conversion.convert import convert
    from nowcast.precipitation.sources.conversion.parts import DEFAULT_PARTS, parts_folder
    from nowcast.precipitation.sources.conversion.target import Target
    from nowcast.precipitation.sources.field import Request

    request = Request(
        unit=unit,
        times=times,
        datasets=None if datasets is None else options.names(datasets),
        south_first=south_first,
        north_first=north_first,
        projection=projection,
        bounds=options.bounds(bounds),
        name_pattern=name_pattern,
        settings=options.settings(setting or []),
        catalog=catalog,
        events=tuple(event or ()),
    )
    target = Target(
        calibration=options.calibration(zr),
        accumulation_minutes=accumulation_minutes,
        crop=options.window(crop),
        block_mean=block_mean,
        step_minutes=step,
        no_data=no_data,
        valid_share=valid_share,
        skip_damaged=skip_damaged,
        append=append,
        name=name,
        credit=credit,
    )
    if to != "mlcast" and mlcast:
        raise ConfigError(
            f"--mlcast {mlcast[0]}: expected it with --to mlcast, found --to {to}; add --to mlcast "
            "for a Zarr store, or leave --mlcast out"
        )
    executor = executor_of(cluster_settings(cluster), jobs, parts_folder(out) / CLUSTER)
    if to == "mlcast":
        if executor is not None:
            raise ConfigError(
                "--to mlcast: one process writes the store; leave out --jobs and --cluster"
            )
        from nowcast.precipitation.sources.conversion.mlcast import Mlcast, write_mlcast

        about = Mlcast.read(options.settings(mlcast or [], "--mlcast"))
        with counted("converted") as progress:
            typer.echo(write_mlcast(source, out, importer, request, target, about, progress))
        return
    with counted("converted") as progress:
        parts = max(DEFAULT_PARTS, jobs or 1)
        written = convert(source, out, importer, request, target, progress, executor, parts)
    for archive in written:
        typer.echo(f"{archive.root}: {archive.summary()}")
        for line in archive.description.history:
            if line.startswith("grid not stated"):
                typer.echo(line)
    if any(archive.description.quantity == "VIL" for archive in written):
        typer.echo("VIL is no rain rate: thresholds in mm/h are nominal")
    place = quote(str(written[0].root))
    forecast = quote(f"{written[0].root}-forecast")
    typer.echo(f"next: nowcast forecast {place} --out {forecast}, what comes after its last frame")
    typer.echo(f"or:   nowcast data days {place}, its rainy days, to train and evaluate on")
