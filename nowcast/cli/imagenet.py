"""What is of images alone: `nowcast data images`."""

from pathlib import Path
from typing import Annotated

import typer

from nowcast.core.terminal.tables import print_table

image_data = typer.Typer()


@image_data.command("images")
def data_images(
    root: Annotated[Path, typer.Argument(help="Folder with train/CLASS/* and val/CLASS/*.")],
    val_labels: Annotated[
        Path | None, typer.Option(help="File of classes, for a val folder without class folders.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the results to this file.")] = None,
    unreadable: Annotated[
        Path | None, typer.Option(help="Write the unreadable files to this CSV file.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.  [all processors]")] = None,
) -> None:
    """Decode every image of a folder of classes; exit status 1 if one cannot be read.

    Example: `nowcast data images data/imagenet --unreadable data/imagenet/unreadable.csv`
    """
    import time

    from nowcast.core.storage.files import write_json
    from nowcast.core.system.machine import usable_cpus
    from nowcast.core.terminal.progress import counted
    from nowcast.imagenet.data.check import HEADER, check_images
    from nowcast.imagenet.data.unreadable import write_unreadable

    processes, began = workers or usable_cpus(), time.monotonic()
    with counted("images") as progress:
        reports = check_images(root, val_labels, processes, progress)
    per_second = sum(len(report.files) for report in reports) / (time.monotonic() - began)
    print_table(HEADER, [report.row() for report in reports], text=(0, 3, 4, 5))
    typer.echo(f"{per_second:.0f} images a second were decoded by {processes} processes")
    found = [one for report in reports for one in report.unreadable]
    for report in reports:
        if lacking := report.files.without_images():
            typer.echo(f"{report.files.split}: no images of {', '.join(lacking)}")
    for one in found[:20]:
        typer.echo(one.reason)
    if len(found) > 20:
        typer.echo(f"{len(found) - 20} more, which --json and --unreadable list")
    if json is not None:
        write_json(json, [report.content() for report in reports])
    if unreadable is not None:
        write_unreadable(unreadable, found)
        typer.echo(f"{unreadable}: written; train without them with data.unreadable={unreadable}")
    if found:
        raise typer.Exit(1)
