"""Comparisons: `nowcast compare`, `combine`, `tune`, `report` and `board`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nowcast.cli.arguments import Config, Overrides, parsed
from nowcast.core.terminal.tables import print_scores, print_table

if TYPE_CHECKING:
    from nowcast.core.comparison.estimate import Planned
    from nowcast.core.scoring.table import Table

comparisons = typer.Typer()


@comparisons.command()
def compare(
    config: Config,
    out: Annotated[Path, typer.Option("--out", help="Folder of the comparison.")],
    overrides: Overrides = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs trained side by side, each in its own process.")
    ] = 1,
    only: Annotated[
        list[str] | None, typer.Option(help="This variant and what it starts from; may repeat.")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help="Not this variant; may repeat.")] = None,
    runs: Annotated[
        Path | None,
        typer.Option(help="Folder of the runs, if comparisons share them; else runs/ in --out."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show runs, time and disk; train nothing.")
    ] = False,
) -> None:
    """Train, score and tabulate variants over seeds; what is finished is kept.

    Example: `nowcast compare configs/precipitation/demo.yaml data.root=data/dwd --out runs/demo`

    Example: the same with `--plan` first, and `--only T-MEmeL` for a part of it
    """
    from nowcast.api.compare import compare as compare_variants
    from nowcast.api.compare import plan as plan_variants

    changes = parsed(overrides)
    if plan:
        variants = plan_variants(
            config, out, only=only or (), skip=skip or (), runs=runs, overrides=changes
        )
        _print_plan(variants, jobs)
        return
    comparison = compare_variants(
        config, out, jobs=jobs, only=only or (), skip=skip or (), runs=runs, overrides=changes
    )
    if comparison.is_main:
        _show(comparison.table(), out)


def _show(table: "Table", out: Path) -> None:
    from nowcast.core.comparison.results import board_command

    print_scores(table)
    typer.echo(f"report       {out / 'report.html'}")
    typer.echo(f"tensorboard  {board_command(out)}")


def _print_plan(variants: "list[Planned]", jobs: int) -> None:
    from rich.filesize import decimal

    from nowcast.core.terminal.progress import duration

    print_table(
        ["", "", "runs", "complete", "steps", "time", "disk"],
        [
            [
                "   " * max(line.depth - 1, 0) + "└─ " * (line.depth > 0) + line.variant,
                line.kind,
                str(line.runs),
                str(line.complete),
                str(line.steps or ""),
                duration(line.seconds),
                decimal(line.disk),
            ]
            for line in variants
        ],
        text=(0, 1),
    )
    seconds = sum(line.seconds for line in variants)
    typer.echo(
        f"still to do: about {duration(seconds)} in one process, not less than "
        f"{duration(seconds / jobs)} with --jobs {jobs}; about "
        f"{decimal(sum(line.disk for line in variants))} of disk. Timed and measured here and now "
        "on a few steps; baselines and the report page are not counted."
    )


@comparisons.command()
def tune(
    config: Config,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the comparison; the search is in OUT/tune.")
    ],
    overrides: Overrides = None,
    variant: Annotated[
        str | None, typer.Option(help="Search for this variant alone; without it for all.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="URL of a database for the trials, which machines can share; without it they are "
            "kept in a file in OUT."
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Trials run side by side, each in its own process.")
    ] = 1,
) -> None:
    """Search for the settings of the variants that say `tune:`, by their validation scores.

    A config without `compare:` is searched itself, over its own `tune:` or the paper's grid of
    top_k and delta. What is done is kept; the same command goes on, and several side by side share
    the work.

    Example: `nowcast tune configs/precipitation/smoke.yaml data.root=data/dwd --out runs/tuned
    'tune.space={memel.top_k: [1, 5], memel.delta: [1, 10]}'`
    """
    from nowcast.api.compare import tune as search
    from nowcast.core.tuning.selection import search_folder

    found = search(
        config, out, variant=variant, storage=storage, jobs=jobs, overrides=parsed(overrides)
    )
    for name, selection in found.items():
        print_table(*selection.shown())
        typer.echo(f"* selected: the least on {selection.split}")
        typer.echo(
            f"{selection.note}\n{search_folder(out.resolve(), name) / 'best.json'}, trials.csv"
        )


@comparisons.command()
def combine(
    folders: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]DIR...", help="Folders of comparisons, two or more."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the table.")],
) -> None:
    """Put finished comparisons of the same variants into one table: data sets side by side.

    Where for all scores less is better, or for all more, the last column is their average.

    Example: `nowcast combine runs/table1/rte runs/table1/mrpc --out runs/table1/all`
    """
    from nowcast.core.comparison.combine import combine as combine_comparisons
    from nowcast.core.storage.labels import split_label
    from nowcast.core.terminal.progress import line

    named = [split_label(text) for text in folders]
    with line(f"table and report of {out}"):
        table = combine_comparisons(
            [Path(folder) for _, folder in named], out, [name for name, _ in named]
        )
    _show(table, out)


@comparisons.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a comparison.")],
) -> None:
    """Write table and report page of a comparison again, from its stored scores.

    Example: `nowcast report runs/demo`
    """
    from nowcast.core.comparison.results import report as write_report
    from nowcast.core.terminal.progress import line

    with line(f"table and report of {folder}"):
        table = write_report(folder)
    _show(table, folder)


@comparisons.command()
def board(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a comparison, of runs, or one run.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 6006,
    host: Annotated[str, typer.Option(help="Name or address to listen at.")] = "localhost",
) -> None:
    """Watch runs in TensorBoard, with charts laid out and a table of runs, until Ctrl-C.

    Curves follow the runs as they train; charts (Custom Scalars) and table (HParams) are of the
    runs that are there at the start.

    Example: `nowcast board runs/demo`
    """
    from contextlib import suppress
    from threading import Event

    from nowcast.core.monitoring.tensorboard import launch, prepare
    from nowcast.core.terminal.progress import line

    with line(f"looking through the runs of {folder}"):
        prepare(folder)
    typer.echo(f"TensorBoard on {folder}: {launch(folder, host, port)} (Ctrl-C ends it)")
    with suppress(KeyboardInterrupt):
        Event().wait()
