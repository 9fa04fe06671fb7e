"""`nowcast watch`: a forecast whenever a frame lands, for as long as it is let."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nowcast.cli.arguments.files import ZR, Accumulation, Importer, NamePattern, Unit
from nowcast.cli.arguments.files import reading as read_reading
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
    Size,
    Thresholds,
    Weights,
    Windows,
    read_ensemble,
    read_formats,
)
from nowcast.precipitation.forecasting.products.widths import WIDTH

if TYPE_CHECKING:
    from nowcast.precipitation.sources.feed.reader import Reading

watches = typer.Typer()


@watches.command()
def watch(
    feed: Annotated[
        Path,
        typer.Argument(
            metavar="FEED", help="The folder of an archive, or of radar files, where frames land."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the forecasts.")],
    weights: Weights = None,
    lead: Lead = None,
    formats: Formats = None,
    size: Size = WIDTH,
    every: Annotated[str, typer.Option(help="Time between looks.")] = "10s",
    keep: Annotated[int | None, typer.Option(min=1, help="Keep only so many forecasts.")] = None,
    deadline: Annotated[
        str | None,
        typer.Option(
            help="From a frame's arrival to its forecast; where the network would not keep it, "
            "optical flow or persistence does: 60s, 2min.  [a step of the archive]"
        ),
    ] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(help="Also write health.json for Prometheus' node_exporter: a file *.prom."),
    ] = None,
    alarms: Annotated[
        list[str] | None,
        typer.Option(
            "--alarm",
            metavar="NAME,LAT,LON,MM/H,TIME",
            help='Say when rain is forecast there: "Mill,52.1,5.2,5mm/h,30min", with members '
            '",p>=0.4" behind it; may repeat.',
        ),
    ] = None,
    alarms_file: Annotated[
        Path | None, typer.Option("--alarms", help="A YAML file with a list of alarms.")
    ] = None,
    alarm_command: Annotated[
        str | None, typer.Option(help="Run with each alarm as JSON on its standard input.")
    ] = None,
    alarm_webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Gets each alarm as JSON by POST.")
    ] = None,
    members: MemberCount = None,
    seed: Seed = None,
    probability: Thresholds = None,
    quantiles: Quantiles = None,
    window: Windows = None,
    radius: Radius = None,
    at_point: AtPoint = None,
    importer: Importer = None,
    unit: Unit = None,
    zr: ZR = None,
    accumulation_minutes: Accumulation = None,
    name_pattern: NamePattern = None,
) -> None:
    """Follow a folder and forecast whenever a frame lands there, until it is told to stop.

    OUT/health.json says how it is doing, OUT/latest.json which forecast is the newest.

    Example: `nowcast watch data/radar --out forecasts --keep 288 --deadline 60s`

    Example: `nowcast watch data/radar --out forecasts --alarm "Mill,52.10,5.18,5mm/h,30min"`
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
    follow(
        feed,
        out,
        weights=weights,
        lead=lead,
        formats=formats,
        size=size,
        every=every,
        keep=keep,
        ensemble=ensemble,
        deadline=deadline,
        metrics=metrics,
        alarms=alarms or [],
        alarms_file=alarms_file,
        alarm_command=alarm_command,
        alarm_webhook=alarm_webhook,
        reading=read_reading(importer, unit, zr, accumulation_minutes, name_pattern),
    )


def follow(
    feed: Path,
    out: Path,
    *,
    weights: str | None,
    lead: str | None,
    formats: list[Asked] | None,
    size: int,
    every: str,
    keep: int | None,
    ensemble: Ensemble,
    deadline: str | None = None,
    metrics: Path | None = None,
    alarms: Sequence[str] = (),
    alarms_file: Path | None = None,
    alarm_command: str | None = None,
    alarm_webhook: str | None = None,
    reading: "Reading | None" = None,
) -> None:
    """Forecast whenever a frame lands in `feed`, until a signal; options as `watch` has them.

    Raises:
        ConfigError: an option cannot be, there is no such folder, or another watch writes to `out`.
    """
    from nowcast.precipitation.forecasting.places import check_there

    check_there([feed], watching=True)
    # These wait for torch.
    from nowcast.api.forecasters import load
    from nowcast.api.watch import Service
    from nowcast.core.system.signals import stop_signals
    from nowcast.precipitation.forecasting.init_time import seconds
    from nowcast.precipitation.forecasting.products.words import lead_in_words
    from nowcast.precipitation.forecasting.released.weights import default
    from nowcast.precipitation.forecasting.service.alarms.rule import read_rules
    from nowcast.precipitation.forecasting.service.alarms.sending import targets

    service = Service(
        feed,
        out,
        load(weights or default(ensemble.members)),
        read_formats(formats),
        lead_minutes=None if lead is None else seconds("--lead", lead, "min") / 60,
        every_seconds=seconds("--every", every, "s"),
        deadline_seconds=None if deadline is None else seconds("--deadline", deadline, "s"),
        keep=keep,
        members=ensemble.members,
        seed=ensemble.seed,
        probabilities=ensemble.request,
        metrics=metrics,
        rules=read_rules(alarms, alarms_file),
        targets=targets(alarm_command, alarm_webhook),
        reading=reading,
        size=size,
    )

    def ready(text: str) -> None:
        typer.echo(f"{text}; {out}/latest.json names the newest forecast (Ctrl-C ends it)")

    with stop_signals() as stopping:
        said: set[str] = set()
        for made in service.forecasts(stopping.wait, say, ready):
            with suppress(OSError):  # a full log does not end the watch
                for note in made.facts["replaced"]:
                    if note not in said:
                        say(note)
                        said.add(note)
                typer.echo(f"{made.init}  {lead_in_words(made, len(made.pixels) - 1)}")


def say(text: str) -> None:
    """A note on stderr; a log that is full ends no watch."""
    with suppress(OSError):
        typer.echo(f"nowcast: {text}", err=True)
