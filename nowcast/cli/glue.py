"""What is of GLUE alone: `nowcast submit` and `nowcast data glue`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nowcast.core.terminal.tables import print_table

if TYPE_CHECKING:
    from torch import nn


glue = typer.Typer()
glue_data = typer.Typer()


@glue.command()
def submit(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="One of each data set.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of submission.zip.")],
    root: Annotated[
        Path | None, typer.Option("--data", help="GLUE's folder.  [that of the runs]")
    ] = None,
    majority: Annotated[
        list[str] | None,
        typer.Option(help="A data set to answer with its most common class; may repeat."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Write it although files are missing.")
    ] = False,
) -> None:
    """Predict GLUE's test files and write the zip file for its leaderboard.

    Example: `nowcast submit runs/cola runs/mnli ... --majority wnli --out runs/submission`
    """
    from nowcast import registry
    from nowcast.api.settings import settings_of
    from nowcast.core.errors import ConfigError
    from nowcast.core.storage.runs import Run
    from nowcast.core.system.devices import pick_device
    from nowcast.core.system.distributed import Ranks
    from nowcast.core.training.trainer import trained_model
    from nowcast.glue.submit import check_each_once
    from nowcast.glue.submit import submit as write
    from nowcast.glue.task import GlueTask

    found: list[tuple[str, GlueTask, nn.Module]] = []
    changes = {} if root is None else {"data.root": str(root)}
    for folder in runs:
        settings = settings_of(Run(folder).config(), folder, changes, evaluating=True)
        task = registry.build(settings)
        if not isinstance(task, GlueTask):
            raise ConfigError(f"{folder}: expected a run of the task glue, found {settings.task}")
        found.append((task.data_set.name, task, trained_model(task, settings, Run(folder))))
    first = Run(runs[0]).config()
    for name in majority or ():
        settings = settings_of(first, runs[0], changes | {"data.name": name}, evaluating=True)
        task = registry.build(settings)
        assert isinstance(task, GlueTask)
        found.append((name, task, task.baseline(task.reference)))
    check_each_once([name for name, _, _ in found])
    device = pick_device(settings.train.device, Ranks())
    models = {name: (task, model) for name, task, model in found}
    path, counts = write(models, device, out, partial)
    for file, count in sorted(counts.items()):
        typer.echo(f"{file:12} {count} predictions")
    typer.echo(f"submission  {path}")


@glue_data.command("glue")
def data_glue(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of GLUE's data sets.")],
    json: Annotated[Path | None, typer.Option(help="Also write the results to this file.")] = None,
) -> None:
    """Describe a folder of GLUE's data sets; exit status 1 if one is broken.

    Example: `nowcast data glue data/glue`
    """
    from dataclasses import asdict

    from nowcast.core.storage.files import write_json
    from nowcast.core.terminal.progress import line
    from nowcast.glue.data.info import HEADER, glue_info

    with line(f"reading {root}"):
        infos = glue_info(root)
    print_table(HEADER, [info.row() for info in infos], text=(0, 1, 4))
    for info in infos:
        for note in info.notes():
            typer.echo(note)
    if json is not None:
        write_json(json, [asdict(info) | {"is_published": info.is_published} for info in infos])
    if any(info.state == "broken" for info in infos):
        raise typer.Exit(1)
