"""`nowcast data`: make, describe and prepare radar archives; describe GLUE and trees of images."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Literal

import typer

from nowcast.core.terminal.plain import command
from nowcast.core.terminal.tables import print_table

data = typer.Typer(
    help="Make, describe and prepare radar archives; describe GLUE's files and trees of images.",
    no_args_is_help=True,
)


@data.command("sample")
def data_sample(out: Annotated[Path, typer.Argument(help="Folder to make.")]) -> None:
    """Write eleven days of real DWD radar, which arrive with the package pycomlink, as an archive.

    Example: `nowcast data sample data/dwd`
    """
    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.sources.sample import write_sample

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
    clutter: Annotated[
        bool, typer.Option("--clutter", help="Add speckle, rings and sun spikes, and mask them.")
    ] = False,
) -> None:
    """Write an archive of synthetic rain that moves, grows and decays.

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
            clutter=clutter,
            progress=progress,
        )
    typer.echo(f"{out}: written; look at it with `{command('nowcast', 'data', 'info', out)}`")


@data.command("info")
def data_info(
    roots: Annotated[list[Path], typer.Argument(metavar="ROOT...", help="Archives to describe.")],
) -> None:
    """Describe archives: what they hold, and how their rain behaves.

    Example: `nowcast data info data/dwd data/synthetic`
    """
    from nowcast.core.terminal.progress import line
    from nowcast.precipitation.archive.packed import open_archive
    from nowcast.precipitation.preparation.info import archive_info

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
        str | None, typer.Option(help="`paper`, or r0,r1,c0,c1; without it whole frames.")
    ] = None,
    masks: Annotated[
        Literal["frame", "exclude", "both"], typer.Option(help="Which data.masks it can give.")
    ] = "both",
    codec: Annotated[
        Literal["lz4", "zstd", "none"], typer.Option(help="zstd is smaller and slower.")
    ] = "lz4",
    lists: Annotated[Path | None, typer.Option(help="Folder of day lists and mask.")] = None,
    quarantine: Annotated[Path | None, typer.Option(help="Moments to leave out.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads; all processors if not given.")
    ] = None,
) -> None:
    """Pack the listed days of an archive into one HDF5 file that trains much faster.

    Use the file as `data.root=OUT.h5`.

    Example: `nowcast data pack data/dwd data/dwd.h5`
    """
    import os

    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.archive.pack import pack
    from nowcast.precipitation.archive.quarantine import read_quarantine
    from nowcast.precipitation.archive.tree import Archive
    from nowcast.precipitation.settings import PAPER_CROP
    from nowcast.precipitation.sources.conversion.options import window

    with counted("packed") as progress:
        pack(
            Archive(root, lists),
            out,
            crop=PAPER_CROP if crop == "paper" else window(crop),
            masks=masks,
            codec=codec,
            skipped=None if quarantine is None else read_quarantine(quarantine),
            workers=workers or os.cpu_count() or 1,
            progress=progress,
        )
    typer.echo(f"{out}: {out.stat().st_size / 2**20:.1f} MB; train on it with data.root={out}")


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
    from nowcast.core.storage.files import check_place, write_json
    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.archive.quarantine import write_quarantine
    from nowcast.precipitation.preparation.doctor.check import check_archive

    for path in (json, quarantine):
        if path is not None:
            check_place(path)
    with counted("checking") as progress:
        report = check_archive(root, lists, workers, progress)
    if report.findings:
        print_table(["finding", "severity", "count", "first"], report.rows(), text=(0, 1, 3))
    typer.echo(report.summary())
    if json is not None:
        write_json(json, report.content())
    if quarantine is not None:
        write_quarantine(quarantine, report.excluded())
    if report.is_broken:
        raise typer.Exit(1)


@data.command("masks")
def data_masks(
    root: Annotated[Path, typer.Argument(help="An archive that lacks masks.")],
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; compare with the masks there.")
    ] = False,
    radar: Annotated[
        str | None,
        typer.Option(metavar="ROW,COLUMN", help="Where the radar is; the frame's middle if not."),
    ] = None,
    frames: Annotated[int, typer.Option(help="Frames sampled for the exclude mask.")] = 1000,
    most: Annotated[float, typer.Option(help="Largest share of pixels to exclude.")] = 0.3,
    picture: Annotated[
        Path | None,
        typer.Option(help="PNG of the frame with most removed; ROOT/masks.png if not given."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads; all processors if not.")
    ] = None,
) -> None:
    """Estimate the masks an archive lacks: what never holds rain, and what in a frame is not rain.

    Left out is what never holds rain (blocked beams, ground clutter) and, frame by frame, speckle,
    thin rings around the radar and sun spikes. Masks that are there are never overwritten.

    Example: `nowcast data masks data/mine`, or `nowcast data masks data/synthetic --check`
    """
    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.archive.tree import Archive
    from nowcast.precipitation.preparation.masking import estimates
    from nowcast.precipitation.preparation.masking.static_mask import estimate_usable

    archive = Archive(root)
    place = None if radar is None else estimates.radar_place(radar, archive.shape)
    lacks_frames, lacks_exclude = (False, False) if check else estimates.absent(archive)
    rows: list[list[str]] = []
    if check or lacks_exclude:
        with counted("exclude mask") as progress:
            static = estimate_usable(archive, frames, most, progress)
        usable, rows = static.usable, static.rows()
    else:
        usable = archive.usable
    with counted("frame masks") as progress:
        if check:
            agreed, removed = estimates.check_masks(archive, usable, place, workers, progress)
        else:
            removed = estimates.write_masks(archive, usable, place, workers, progress)
    print_table(
        ["not used", "pixels", "share", "of rain >= 0.5 mm/h", "frames"], rows + removed.rows()
    )
    if check:
        print_table(["compared", "precision", "recall", "estimated", "there"], agreed)
    else:
        for path, lacked in estimates.places(archive, lacks_frames, lacks_exclude):
            typer.echo(f"{path}: {'written' if lacked else 'was there, kept'}")
    if removed.wet_share > estimates.ODD_WET_SHARE:
        typer.echo(
            f"{removed.wet_share:.1%} of the rain is taken for clutter, much for a radar: look at "
            "the picture before you use these masks, and give the radar's place with --radar"
        )
    to = picture or (None if check else archive.root / "masks.png")
    if to is not None and removed.busiest is not None:
        estimates.picture(archive, removed.busiest, usable, place, to)
        typer.echo(f"{to}: {removed.busiest}, the frame with most removed, before and after")


@data.command("convert")
def data_convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="File or folder to read.")],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    importer: Annotated[
        str,
        typer.Option(help="knmi, odim, stack, sevir, pysteps:NAME, or one that a package adds."),
    ],
    unit: Annotated[
        str | None,
        typer.Option(
            help="Of the values, where the files do not state it: dBZ, mm/h, mm, kg m-2 s-1, in/hr."
        ),
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
        float | None, typer.Option(help="A value of the file that means no data, besides NaN.")
    ] = None,
    valid_share: Annotated[
        float | None,
        typer.Option(help="Of the frames: pixels with data in fewer are excluded.  [0.95]"),
    ] = None,
    skip_damaged: Annotated[
        bool, typer.Option("--skip-damaged", help="Leave out what cannot be read; see skipped.csv.")
    ] = False,
    append: Annotated[
        bool, typer.Option("--append", help="Add to the archive at OUT; frames there are compared.")
    ] = False,
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
    north_first: Annotated[
        bool, typer.Option("--north-first", help="stack: row 0 is the northernmost.")
    ] = False,
    projection: Annotated[
        str | None,
        typer.Option(help="stack: what PROJ reads, e.g. EPSG:3035, where the file lacks it."),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(metavar="W,S,E,N", help="stack: outer edges in the projection's unit."),
    ] = None,
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

    Example: `nowcast data convert knmi_files/ data/knmi --importer knmi --crop 188,668,129,609`
    """
    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.sources.conversion import options
    from nowcast.precipitation.sources.conversion.convert import convert
    from nowcast.precipitation.sources.conversion.target import Target
    from nowcast.precipitation.sources.field import Request

    request = Request(
        unit=unit,
        times=times,
        datasets=options.names(datasets),
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
    with counted("converted") as progress:
        written = convert(source, out, importer, request, target, progress)
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


@data.command("days")
def data_days(
    root: Annotated[Path, typer.Argument(help="Archive without day lists.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write the lists to.  [ROOT/hko_data]")
    ] = None,
    threshold_mm: Annotated[
        float | None,
        typer.Option(
            help="Depth from which on a day is rainy, mm over the radar's area.  [1; 0 with --all]"
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="year or episode.  [year if rain fell in 3 or more]")
    ] = None,
    all_: Annotated[
        str | None,
        typer.Option("--all", metavar="SPLIT", help="Put all days into train, valid or test."),
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

    Example: `nowcast data days data/mrms`, or `nowcast data days data/knmi --all test`
    """
    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.archive.quarantine import read_quarantine
    from nowcast.precipitation.archive.tree import Archive
    from nowcast.precipitation.preparation.rainy_days import (
        WET_DAY_MM,
        find_rainy_days,
        refuse_existing,
        write_lists,
    )
    from nowcast.precipitation.preparation.split_days import known_by, known_split

    way, into = known_by(by), known_split(all_)
    if threshold_mm is None:
        threshold_mm = WET_DAY_MM if into is None else 0.0
    archive = Archive(root)
    folder = archive.lists if out is None else out
    refuse_existing(folder)
    skip = None if quarantine is None else read_quarantine(quarantine)
    with counted("rain of each day") as progress:
        found = find_rainy_days(
            archive,
            threshold_mm=threshold_mm,
            by=way,
            into=into,
            every=every,
            skip=skip,
            workers=workers,
            progress=progress,
        )
    write_lists(folder, found.lists())
    print_table(["", "days", "first", "last", "rain"], found.rows())
    typer.echo(
        f"{folder}: written; {found.rainy} of {len(found.depth_mm)} days have at least "
        f"{threshold_mm:g} mm, {f'split by {found.split.by}' if into is None else f'all in {into}'}"
    )
    if every > 1:
        typer.echo(f"depths are scaled: one frame in {every} of each day was read")
