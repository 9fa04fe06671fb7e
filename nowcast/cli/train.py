"""`nowcast train`."""

from pathlib import Path
from typing import Annotated

import typer

from nowcast.cli.arguments.overrides import Config, Overrides, parsed

training = typer.Typer()


@training.command()
def train(
    config: Config,
    run: Annotated[Path, typer.Option(help="Folder of the run; the same one resumes it.")],
    overrides: Overrides = None,
    detect_anomaly: Annotated[
        bool,
        typer.Option("--detect-anomaly", help="Name the operation that first gives NaN; slow."),
    ] = False,
) -> None:
    """Train one forecaster; the same command resumes it.

    Example: `nowcast train smoke data.root=data/dwd --run runs/first`

    On several GPUs or machines: `torchrun --nproc-per-node 4 -m -- nowcast train ...`
    """
    import os

    from nowcast.api.train import train as train_run

    changes = parsed(overrides) | ({"train.detect_anomaly": True} if detect_anomaly else {})
    finished = train_run(config, run, changes)
    if os.environ.get("RANK", "0") == "0":
        result = finished.result()
        typer.echo(
            f"{run}: finished {result['steps']} steps; best at step {result['best_step']} "
            f"({' + '.join(result['objective'])} {result['best_objective']:.5g} on valid)"
        )
