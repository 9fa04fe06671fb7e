"""`nowcast forecast`: from the newest frames of a radar."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nowcast.cli.arguments.files import ZR, Accumulation, Importer, NamePattern, Unit, reading
from nowcast.cli.arguments.forecasts import (
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
from nowcast.cli.watch import follow, say
from nowcast.core.system.allocator import uncollected
from nowcast.precipitation.forecasting.products.widths import WIDTH

if TYPE_CHECKING:
    from nowcast.api.forecasters import LoadedForecaster
    from nowcast.precipitation.forecasting.products.result import Forecast
    from nowcast.precipitation.forecasting.products.written import Format
    from nowcast.precipitation.sources.feed.reader import Reading

forecasts = typer.Typer()

SHOWN_LEADS = 4


@forecasts.command()
def forecast(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="SRC...",
            help="An archive (folder or pack) or frames of it; or radar files, folders and globs.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the forecast.")],
    weights: Weights = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Use no frame after this time, ISO, UTC.  [the newest]"),
    ] = None,
    lead: Lead = None,
    formats: Formats = None,
    size: Size = WIDTH,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow the folder, as `nowcast watch` does.")
    ] = False,
    every: Annotated[str, typer.Option(help="With --watch: time between checks.")] = "10s",
    keep: Annotated[
        int | None, typer.Option(min=1, help="With --watch: keep only so many forecasts.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the forecast in the folder.")
    ] = False,
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
    """Forecast from the newest frames of an archive, or of radar files as they come.

    Example: `nowcast forecast data/dwd --weights flow --lead 120min --out forecast`

    Example: `nowcast forecast incoming/*.h5 --zr 200,1.6 --out forecast`

    Example: `nowcast forecast data/dwd --members 24 --probability 0.5,5 --out out`
    """
    from nowcast.core.errors import ConfigError
    from nowcast.precipitation.forecasting.init_time import seconds
    from nowcast.precipitation.forecasting.places import check_there

    check_there(places, watch)
    read = reading(importer, unit, zr, accumulation_minutes, name_pattern)
    ensemble = read_ensemble(
        members,
        seed=seed,
        probability=probability,
        quantiles=quantiles,
        window=window,
        radius=radius,
        at_point=at_point,
    )
    minutes = None if lead is None else seconds("--lead", lead, "min") / 60
    if watch:
        if overwrite:
            raise ConfigError("--overwrite: --watch makes a folder for each forecast; leave it out")
        if at is not None:
            raise ConfigError(
                "--at: --watch forecasts from the newest frames; leave one of them out"
            )
        if len(places) != 1:
            raise ConfigError(
                f"--watch: expected the folder of one archive to follow, found {len(places)} paths"
            )
        follow(
            places[0],
            out,
            weights=weights,
            lead=lead,
            formats=formats,
            size=size,
            every=every,
            keep=keep,
            ensemble=ensemble,
            reading=read,
        )
        return
    if keep is not None:
        raise ConfigError("--keep: only --watch makes several forecasts; leave it out")
    with uncollected():  # these wait for torch
        from nowcast.api.forecasters import load
        from nowcast.precipitation.forecasting.released.weights import default

    loaded = load(weights or default(ensemble.members))
    replaced = _check_out(out, overwrite)
    _once(places, read, loaded, at, minutes, out, read_formats(formats), ensemble, size)
    if replaced is not None:
        typer.echo(f"replaced  {replaced}")


def _once(
    places: list[Path],
    read: "Reading | None",
    loaded: "LoadedForecaster",
    at: str | None,
    minutes: float | None,
    out: Path,
    formats: "tuple[Format, ...]",
    ensemble: Ensemble,
    size: int,
) -> None:
    from time import perf_counter

    from nowcast.api.forecast import Nowcast
    from nowcast.core.terminal.result_warnings import collected

    with collected() as notes:
        made = Nowcast.of(
            places,
            loaded,
            reading=read,
            at=at,
            lead=minutes,
            members=ensemble.members,
            seed=ensemble.seed,
            probabilities=ensemble.request,
        )
    for note in notes:
        say(note)
    began = perf_counter()
    files = made.save(out, formats, size)
    _show(made.product, out, files, perf_counter() - began)


def _check_out(out: Path, overwrite: bool) -> str | None:
    """Raise ConfigError if a folder holds other files, or a forecast without --overwrite.

    Returns:
        the forecast that will be replaced, in words; None if there is none.
    """
    from nowcast.core.errors import ConfigError
    from nowcast.precipitation.forecasting.products.outlet import entries
    from nowcast.precipitation.forecasting.products.written import named

    foreign, earlier = entries(out), named(out)
    if foreign and not earlier:
        raise ConfigError(
            f"--out: expected a new folder or an empty one; {out} holds something else "
            f"({', '.join(foreign[:3])}); choose another"
        )
    if earlier is not None and not overwrite:
        raise ConfigError(
            f"--out: expected a new folder or an empty one, found {earlier} in {out}; --overwrite "
            "replaces it, or choose another folder"
        )
    return earlier


def _show(made: "Forecast", out: Path, files: list[Path], write_seconds: float) -> None:
    import numpy as np

    from nowcast.precipitation.forecasting.products.words import lead_in_words

    facts, step = made.facts, made.description.step_minutes
    inputs = facts["inputs"]
    typer.echo(f"init      {made.init} UTC")
    typer.echo(f"model     {made.model}")
    typer.echo(
        f"inputs    {len(inputs)} frames, {step} minutes apart, from {inputs[0]}, "
        f"{len(facts['carried'])} of them carried; masks: {facts['masks']}"
    )
    typer.echo(f"lead      {facts['lead_minutes']} minutes in {len(made.pixels)} steps")
    shown = np.linspace(0, len(made.pixels) - 1, SHOWN_LEADS)
    for position in dict.fromkeys(np.rint(shown).astype(int).tolist()):
        typer.echo(f"  {lead_in_words(made, position)}")
    if made.description.note is not None:
        typer.echo(made.description.note)
    if made.members is not None:
        _show_members(files[-1])
    _show_points(files)
    typer.echo(f"written   {out}: {_listed([path.relative_to(out) for path in files])}")
    seconds = {**facts["seconds"], "write": write_seconds}
    typer.echo(f"seconds   {', '.join(f'{part} {spent:.2f}' for part, spent in seconds.items())}")


def _show_members(summary: Path) -> None:
    """What ``forecast.json`` says of members."""
    import json

    told = json.loads(summary.read_text())["ensemble"]
    typer.echo(f"members   {told['members']}, seed {told['seed']}")


def _show_points(files: list[Path]) -> None:
    """When rain arrives at each point, by ``points.json``, where there are some."""
    import json

    for path in files:
        if path.name == "points.json":
            told = json.loads(path.read_text())
            within = f" within {told['radius']}" if told["radius"] else ""
            for point in told["points"]:
                place = f"(row {point['row']}, column {point['column']})"
                typer.echo(f"at {point['point']}{within} {place}")
                for arrival in point["arrivals"]:
                    typer.echo(f"  {arrival['text']}")


def _listed(files: list[Path]) -> str:
    """Names of files; for a folder the number of its files."""
    counts: dict[str, int] = {}
    for path in files:
        counts[path.parts[0]] = counts.get(path.parts[0], 0) + 1
    alone = {path.parts[0] for path in files if len(path.parts) == 1}
    return ", ".join(
        name if name in alone else f"{name}/ ({count} files)" for name, count in counts.items()
    )
