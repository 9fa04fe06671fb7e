"""`nowcast export`: a trained forecaster for programs without nowcast."""

from pathlib import Path
from typing import Annotated

import typer

exports = typer.Typer()


@exports.command()
def export(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="Folder of a run, weights that come with nowcast, or hf://OWNER/NAME.",
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="The file to write, OUT.pt2 or OUT.onnx.")
    ],
    lead_frames: Annotated[
        int | None, typer.Option(min=1, help="Frames to forecast.  [as trained]")
    ] = None,
) -> None:
    """Write a run's forecaster as a torch.export program or as ONNX, for frames of any size.

    The file is written only if its forecasts equal the network's within 1e-4 (for a comoving
    forecaster in 99 % of the pixels, since others get their value by rank, where rounding counts).
    MEmeL is not exported. The motion is an input of a comoving forecaster.

    Example: `nowcast export runs/first first.onnx`

    Example: `nowcast export runs/first first.pt2 --lead-frames 24`
    """
    from nowcast.api.forecasters import run_of
    from nowcast.core.terminal.progress import line
    from nowcast.precipitation.forecasting.export import export as write

    with line(f"exporting {run} and running what was written"):
        made = write(run_of(run), out, lead_frames)
    facts = made.metadata
    for name, told in facts["inputs"].items():
        typer.echo(f"{name:9} {told['axes']}: {told['meaning']}")
    for name, told in facts["outputs"].items():
        typer.echo(f"{name:9} {told['axes']}: {told['meaning']}")
    typer.echo(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; height and width from {facts['least_side']}; "
        f"at most {made.difference:.1g} pixels from the module's forecasts"
        + (f", {made.apart:.2%} of pixels by more than 1e-4" if made.apart else "")
    )
