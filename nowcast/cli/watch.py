"""`nowcast watch`: a forecast whenever a frame lands, for as long as it is let."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nowcast.cli.arguments.forecasts import (
    Asked,
    AtPoint,
    Ensemble,
    Formats,
    Lead,
    MemberCount,
    Quantiles,
    Radius,
    Seed,
    Thresholds,
    Weights,
    Windows,
    read_ensemble,
    read_formats,
    read_seconds,
)

watches = typer.Typer()


@watches.command()
def watch(
    feed: Annotated[
        Path, typer.Argument(metavar="FEED", help="The folder of an archive, where frames land.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the forecasts.")],
    weights: Weights = None,
    lead: Lead = None,
    formats: Formats = None,
    every: Annotated[str, typer.Option(help="Time between looks.")] = "10s",
    keep: Annotated[int | None, typer.Option(min=1, help="Keep only so many forecasts.")] = None,
    members: MemberCount = None,
    seed: Seed = None,
    probability: Thresholds = None,
    quantiles: Quantiles = None,
    window: Windows = None,
    radius: Radius = None,
    at_point: AtPoint = None,
) -> None:
    """Follow a folder and forecast whenever a frame lands there, until it is told to stop.

    Example: `nowcast watch data/radar --out forecasts --keep 288`
    """
    ensemble = read_ensemble(
        members,
        seed=seed,
        probability=probability,
        quantiles=quantiles,
        window=window,
        radius=radius,
        at_point=at_point,
    )
    minutes = None if lead is None else read_seconds("--lead", lead, "min") / 60
    follow(feed, out, weights, minutes, formats, every, keep, ensemble)


def follow(
    feed: Path,
    out: Path,
    weights: str | None,
    minutes: float | None,
    formats: list[Asked] | None,
    every: str,
    keep: int | None,
    ensemble: Ensemble,
) -> None:
    """Forecast whenever a frame lands in `feed`, until a signal.

    Raises:
        ConfigError: an option cannot be, or there is no such folder.
    """
    from nowcast.precipitation.forecasting.places import check_there

    check_there([feed], watching=True)
    # These wait for torch.
    from nowcast.api.forecasters import load
    from nowcast.core.system.signals import stop_signals
    from nowcast.precipitation.forecasting.forecast import Forecaster
    from nowcast.precipitation.forecasting.inputs import FrameSource
    from nowcast.precipitation.forecasting.products.in_words import rain_in_words
    from nowcast.precipitation.forecasting.products.outlet import LATEST, Outlet
    from nowcast.precipitation.forecasting.products.written import write
    from nowcast.precipitation.forecasting.released.weights import DEFAULT
    from nowcast.precipitation.forecasting.service.watch import Watch, opened_when_there

    choice = load(weights or DEFAULT).choice
    seconds = read_seconds("--every", every, "s")
    _check_out(out)
    with stop_signals() as stopping:
        archive = opened_when_there(feed, seconds, stopping.wait, say)
        if archive is None:
            return
        source = FrameSource(archive, choice.masks)
        members, seed, request = ensemble
        forecaster = Forecaster(choice, source.description, minutes, members=members, seed=seed)
        if request is not None:
            request.of(source.description, forecaster.out_len)  # told before it rains
        outlet = Outlet(out, partial(write, formats=read_formats(formats), request=request), keep)
        watching = Watch(source, forecaster, outlet, say)
        for note in (*source.notes, *forecaster.notes):
            say(note)
        typer.echo(
            f"following {archive.root}, a look every {seconds:g} s; {out / LATEST} names the "
            "newest forecast (Ctrl-C ends it)"
        )
        said: set[str] = set()
        for made in watching.forecasts(seconds, stopping.wait):
            with suppress(OSError):  # a full log does not end the watch
                for note in made.facts["replaced"]:
                    if note not in said:
                        say(note)
                        said.add(note)
                typer.echo(f"{made.init}  {rain_in_words(made, len(made.pixels) - 1)}")


def say(text: str) -> None:
    """A note on stderr; a log that is full ends no watch."""
    with suppress(OSError):
        typer.echo(f"nowcast: {text}", err=True)


def _check_out(out: Path) -> None:
    """Raise ConfigError if a folder holds other files than a watch writes."""
    from nowcast.core.errors import ConfigError
    from nowcast.precipitation.forecasting.products.outlet import FOLDER_NAME, LATEST, entries

    foreign = [
        name for name in entries(out) if name != LATEST and FOLDER_NAME.fullmatch(name) is None
    ]
    if foreign:
        raise ConfigError(
            "--out: expected a new folder, an empty one or one of forecasts of --watch; "
            f"{out} holds something else ({', '.join(foreign[:3])}); choose another"
        )
