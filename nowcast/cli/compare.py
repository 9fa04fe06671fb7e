"""Comparisons: `nowcast compare`, `combine`, `tune`, `report` and `board`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nowcast.cli.arguments.overrides import Cluster, Config, Overrides, parsed
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
        int | None,
        typer.Option(min=1, help="Runs in parallel, each in a process.  [1; on a cluster: all]"),
    ] = None,
    cluster: Cluster = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only this variant and what it starts from; may repeat."),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(help="Leave this variant out; may repeat.")
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the runs, which comparisons can share; default: runs/ in --out."
        ),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print runs, time and disk space; train nothing.")
    ] = False,
) -> None:
    """Train and score the variants of a config with several seeds, and write a report.

    The same command goes on where it stopped; finished runs are kept.

    Example: `nowcast compare demo data.root=data/dwd --out runs/demo --plan`

    Example: `nowcast compare demo data.root=data/dwd --out runs/demo --only T-MEmeL`
    """
    from nowcast.api.compare import compare as compare_variants
    from nowcast.api.compare import plan as plan_variants

    changes = parsed(overrides)
    if plan:
        variants = plan_variants(
            config, out, only=only or (), skip=skip or (), runs=runs, overrides=changes
        )
        _print_plan(variants, jobs or 1)
        return
    comparison = compare_variants(
        config,
        out,
        jobs=jobs,
        cluster=cluster,
        only=only or (),
        skip=skip or (),
        runs=runs,
        overrides=changes,
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
        f"still to do: about {duration(seconds)} in one process, at least "
        f"{duration(seconds / jobs)} with --jobs {jobs}; about "
        f"{decimal(sum(line.disk for line in variants))} of disk. Extrapolated from a few steps "
        "on this machine, without baselines and the report."
    )


@comparisons.command()
def tune(
    config: Config,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the comparison; the search is in OUT/tune.")
    ],
    overrides: Overrides = None,
    variant: Annotated[
        str | None, typer.Option(help="Search for this variant only; default: all.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="URL of a database of trials that machines can share.  [a file in OUT]"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Trials in parallel, each in a process.  [1; on a cluster: all]"),
    ] = None,
    cluster: Cluster = None,
) -> None:
    """Search for the best settings of the variants with a `tune:` section, by validation score.

    A config without `compare:` is searched over its own `tune:` section, or over the paper's grid
    of top_k and delta. The same command resumes a search; several at once share the work.

    Example: `nowcast tune smoke data.root=data/dwd --out runs/tuned
    'tune.space={memel.top_k: [1, 5], memel.delta: [1, 10]}'`
    """
    from nowcast.api.compare import tune as search
    from nowcast.core.tuning.selection import search_folder

    found = search(
        config,
        out,
        variant=variant,
        storage=storage,
        jobs=jobs,
        cluster=cluster,
        overrides=parsed(overrides),
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
    """Combine finished comparisons of the same variants in one table, a column a data set.

    If lower is better for all scores, or higher for all, the last column is their average.

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
    """Write the table and report of a comparison again, from its stored scores.

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
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 6006,
    host: Annotated[str, typer.Option(help="Host name or address to listen on.")] = "localhost",
) -> None:
    """Show runs in TensorBoard, with a layout of charts and a table of runs, until Ctrl-C.

    Curves are updated while runs train; charts (Custom Scalars) and table (HParams) hold the runs
    that exist at the start.

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
