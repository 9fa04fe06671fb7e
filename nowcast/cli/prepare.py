"""`nowcast data check`, `masks` and `days`: prepare an archive for training."""

from pathlib import Path
from typing import Annotated

import typer

from nowcast.core.terminal.tables import print_table

preparation = typer.Typer()


@preparation.command("check")
def data_check(
    root: Annotated[Path, typer.Argument(help="Archive to check.")],
    lists: Annotated[
        Path | None, typer.Option(help="Folder of day lists and mask_dat.npz.  [ROOT/hko_data]")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every finding to this file.")] = None,
    quarantine: Annotated[
        Path | None, typer.Option(help="Write the times that training must skip to this CSV file.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Reading threads.  [all processors]")] = None,
) -> None:
    """Read a whole archive and report what is broken; exit status 1 if anything is.

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


@preparation.command("masks")
def data_masks(
    root: Annotated[Path, typer.Argument(help="An archive without masks.")],
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; compare estimates with the existing masks."),
    ] = False,
    radar: Annotated[
        str | None,
        typer.Option(
            metavar="ROW,COLUMN", help="Position of the radar.  [the middle of the frame]"
        ),
    ] = None,
    frames: Annotated[int, typer.Option(help="Frames sampled for the exclude mask.")] = 1000,
    most: Annotated[float, typer.Option(help="Largest share of pixels to exclude.")] = 0.3,
    picture: Annotated[
        Path | None,
        typer.Option(help="PNG of the frame with most pixels removed.  [ROOT/masks.png]"),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads.  [all processors]")] = None,
) -> None:
    """Estimate missing masks: the exclude mask, and one for each frame.

    The exclude mask covers pixels that never see rain (blocked beams, ground clutter); those of
    frames cover speckle, thin rings around the radar and sun spikes. Existing masks are kept.

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
            f"{removed.wet_share:.1%} of the rain is masked as clutter, which is a lot: look at "
            "the picture before you use these masks, and give the radar's position with --radar"
        )
    to = picture or (None if check else archive.root / "masks.png")
    if to is not None and removed.busiest is not None:
        estimates.picture(archive, removed.busiest, usable, place, to)
        typer.echo(f"{to}: {removed.busiest}, the frame with most removed, before and after")


@preparation.command("days")
def data_days(
    root: Annotated[Path, typer.Argument(help="An archive without day lists.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write the lists to.  [ROOT/hko_data; ROOT.lists of Zarr]"),
    ] = None,
    threshold_mm: Annotated[
        float | None,
        typer.Option(
            help="Least depth of a rainy day, mm, averaged over the frame.  [1; 0 with --all]"
        ),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="year or episode.  [year if rain fell in 3 or more]")
    ] = None,
    all_: Annotated[
        str | None,
        typer.Option("--all", metavar="SPLIT", help="Put all days into train, valid or test."),
    ] = None,
    every: Annotated[int, typer.Option(help="Read one frame in so many; the depth is scaled.")] = 1,
    quarantine: Annotated[
        Path | None,
        typer.Option(help="Skip the times listed in this file of `nowcast data check`."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Reading threads.  [all processors]")] = None,
) -> None:
    """Find the rainy days of an archive and split them into train, valid and test lists.

    Example: `nowcast data days data/mrms`, or `nowcast data days data/knmi --all test`
    """
    from nowcast.core.terminal.progress import counted
    from nowcast.precipitation.archive.quarantine import read_quarantine
    from nowcast.precipitation.preparation.rainy_days import (
        WET_DAY_MM,
        find_rainy_days,
        refuse_existing,
        write_lists,
    )
    from nowcast.precipitation.preparation.split_days import known_by, known_split
    from nowcast.precipitation.sources.stack.zarr_archive import open_folder

    way, into = known_by(by), known_split(all_)
    if threshold_mm is None:
        threshold_mm = WET_DAY_MM if into is None else 0.0
    archive = open_folder(root)
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
