"""`nowcast evaluate`: scores, and leaderboards."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nowcast.cli.arguments.overrides import Cluster, parsed
from nowcast.core.terminal.tables import print_scores

evaluation = typer.Typer()


@evaluation.command()
def evaluate(
    forecasters: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]FORECASTER... [KEY=VALUE]...",
            help="Run folders, weights that come with nowcast, hf://OWNER/NAME, and baselines: "
            "persistence; flow (optical flow by DIS), dis or farneback; lagged-flow (an "
            "ensemble); with pysteps, extrapolation, sprog, anvil or steps (an ensemble). "
            "Where rain flows in from outside, they keep the last frame's value; with `:dry`, "
            "as in `flow:dry`, it is dry there. "
            "On GLUE: majority; on images: majority, linear. "
            "A run is called by its folder's name, or NAME. "
            "Then overrides of the config.",
        ),
    ],
    root: Annotated[Path, typer.Option("--data", help="The archive, or another task's data.")],
    split: Annotated[Literal["train", "valid", "test"], typer.Option(help="Which days.")] = "test",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the scores to this file.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of a leaderboard: several forecasters, all scores."),
    ] = None,
    match_bias: Annotated[
        Path | None,
        typer.Option(
            "--match-bias",
            help="With --out: leaderboard.json of the same forecasters on the validation split. "
            "CSI and bias also at the thresholds that took the bias away there.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Parts of the split scored in parallel.  [1; on a cluster: 16]"),
    ] = None,
    cluster: Cluster = None,
    online: Annotated[
        bool, typer.Option("--online", help="Learn from what has become past before each forecast.")
    ] = False,
) -> None:
    """Score forecasters on a split of an archive, on average and by lead time.

    With --out, all of them and persistence get all scores on exactly the same clips, and tests say
    which of them can be told apart.

    Example: `nowcast evaluate persistence --data data/dwd --split test data.out_len=12`

    Example: `nowcast evaluate runs/first flow --data data/dwd --out runs/board`

    Example, with names: `nowcast evaluate small=runs/a large=runs/b --data data/dwd --out b`

    Example, the HKO-7 online setting: `nowcast evaluate runs/first --data data/dwd --online`
    """
    from nowcast import registry
    from nowcast.api.evaluate import evaluate_named
    from nowcast.core.errors import ConfigError
    from nowcast.core.storage.files import check_place, write_json
    from nowcast.core.storage.labels import is_forecaster, split_label

    sections = registry.sections()
    split_up = [(text, *split_label(text, sections)) for text in forecasters]
    named = [(name, source) for text, name, source in split_up if name or is_forecaster(text)]
    changes = parsed([text for text, name, _ in split_up if not name and not is_forecaster(text)])
    if json_file is not None:
        if out is not None:
            raise ConfigError("--json: --out writes leaderboard.json; leave one of them out")
        check_place(json_file)
    result = evaluate_named(
        named,
        root,
        split=split,
        out=out,
        online=online,
        match_bias=match_bias,
        overrides=changes,
        jobs=jobs,
        cluster=cluster,
    )
    if not result.is_main:
        return
    if json_file is not None:
        write_json(json_file, {"forecaster": "", "online": online} | result.document())
    print_scores(result.table())
    for text in result.verdicts:
        typer.echo(text)
    typer.echo(result.description)
    for name, count in result.replaced.items():
        typer.echo(f"{name}: {count} clips were forecast otherwise; the warnings say why")
    for note in result.notes:
        typer.echo(f"nowcast: {note}", err=True)
    if "note" in result.facts:
        typer.echo(result.facts["note"])
    if out is not None:
        typer.echo(f"leaderboard  {out / 'leaderboard.html'}, .md, .csv, .json; differences.csv")
