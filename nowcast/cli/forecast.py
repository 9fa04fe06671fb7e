"""`nowcast forecast`: from the newest frames of a radar, once or whenever a frame lands."""

from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from nowcast.cli.arguments import ZR, Accumulation, Importer, NamePattern, Unit, reading

if TYPE_CHECKING:
    from nowcast.api.forecasters import LoadedForecaster
    from nowcast.precipitation.forecasting.forecast import Choice
    from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
    from nowcast.precipitation.forecasting.products.result import Forecast
    from nowcast.precipitation.forecasting.products.written import Format
    from nowcast.precipitation.sources.feed.reader import Reading

forecasts = typer.Typer()


class Asked(StrEnum):
    """The formats, as an enumeration for typer."""

    png = "png"
    gif = "gif"
    nc = "nc"
    h5 = "h5"


FORMAT_OF: "dict[Asked, Format]" = {
    Asked.png: "png",
    Asked.gif: "gif",
    Asked.nc: "nc",
    Asked.h5: "h5",
}
DEFAULT_FORMATS = (Asked.png, Asked.gif, Asked.nc)  # h5 for those who ask for it

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
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|RUN|BASELINE",
            help="Weights that come with nowcast, the folder of a run, hf://OWNER/NAME, or a "
            "baseline as in `nowcast evaluate`: flow, sprog, persistence ...",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Use no frame after this time, ISO, UTC.  [the newest]"),
    ] = None,
    lead: Annotated[
        str | None,
        typer.Option(
            help="How far ahead: 120min, 2h or 90 (minutes).  [as trained; 10 steps for a baseline]"
        ),
    ] = None,
    formats: Annotated[
        list[Asked] | None,
        typer.Option("--format", help="What to write; may repeat.  [all but h5]"),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Follow the folder: forecast whenever a new frame is there."),
    ] = False,
    every: Annotated[str, typer.Option(help="With --watch: time between checks.")] = "10s",
    keep: Annotated[
        int | None, typer.Option(min=1, help="With --watch: keep only so many forecasts.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the forecast in the folder.")
    ] = False,
    members: Annotated[
        int | None,
        typer.Option(min=2, help="Members of an ensemble, of a forecaster that has them."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="With --members: of what is random.  [0]")
    ] = None,
    probability: Annotated[
        str | None,
        typer.Option(
            metavar="MM_H,...",
            help="With --members: thresholds that have a probability.  [0.5,2,5,10,30]",
        ),
    ] = None,
    quantiles: Annotated[
        str | None,
        typer.Option(metavar="LEVEL,...", help="With --members.  [0.1,0.5,0.9]"),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="max:MIN,sum:MIN,...",
            help="With --members: the largest rain rate or the rain of the next minutes.",
        ),
    ] = None,
    radius: Annotated[
        str | None,
        typer.Option(help="With --members: probability of rain within 5km or 8px, too."),
    ] = None,
    at_point: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAT,LON[,NAME]|px:ROW,COLUMN|FILE.csv",
            help="Rain there by lead time, to points.json and .csv; may repeat.",
        ),
    ] = None,
    importer: Importer = None,
    unit: Unit = None,
    zr: ZR = None,
    accumulation_minutes: Accumulation = None,
    name_pattern: NamePattern = None,
) -> None:
    """Forecast from the newest frames of an archive, or of radar files as they come.

    Example: `nowcast forecast data/dwd --weights flow --lead 120min --out forecast`

    Example: `nowcast forecast incoming/*.h5 --zr 200,1.6 --out forecast`

    Example: `nowcast forecast data/radar --weights runs/first --watch --keep 288 --out forecasts`

    Example: `nowcast forecast data/dwd --weights steps --members 24 --probability 0.5,5 --out out`
    """
    from nowcast.core.errors import ConfigError
    from nowcast.precipitation.forecasting.init_time import seconds
    from nowcast.precipitation.forecasting.places import check_there

    check_there(places, watch)
    read = reading(importer, unit, zr, accumulation_minutes, name_pattern)
    asked = {
        "--seed": seed,
        "--probability": probability,
        "--quantiles": quantiles,
        "--window": window,
        "--radius": radius,
    }
    ensemble = _ensemble(members, asked, at_point or [])
    minutes = None if lead is None else seconds("--lead", lead, "min") / 60
    # These wait for torch.
    from nowcast.api.forecasters import load
    from nowcast.precipitation.forecasting.released.weights import DEFAULT

    loaded = load(weights or DEFAULT)
    if watch and overwrite:
        raise ConfigError("--overwrite: --watch makes a folder for each forecast; leave it out")
    replaced = _check_out(out, watch, overwrite)
    chosen = tuple(FORMAT_OF[kind] for kind in dict.fromkeys(formats or DEFAULT_FORMATS))
    if not watch:
        if keep is not None:
            raise ConfigError("--keep: only --watch makes several forecasts; leave it out")
        _once(places, read, loaded, at, minutes, out, chosen, ensemble)
        if replaced is not None:
            typer.echo(f"replaced  {replaced}")
        return
    if at is not None:
        raise ConfigError("--at: --watch forecasts from the newest frames; leave one of them out")
    if len(places) != 1:
        raise ConfigError(
            f"--watch: expected the folder of one archive to follow, found {len(places)} paths"
        )
    pause = seconds("--every", every, "s")
    _follow(places[0], loaded.choice, minutes, out, chosen, pause, keep, ensemble)


class _Ensemble(NamedTuple):
    """What is asked for of members."""

    members: int | None
    seed: int
    request: "ProbabilityRequest | None"


def _ensemble(members: int | None, asked: "dict[str, Any]", points: list[str]) -> _Ensemble:
    """Raise ConfigError for options that need --members without it, or cannot be read."""
    from nowcast.core.errors import ConfigError

    if members is None:
        lonely = [name for name, value in asked.items() if value is not None]
        if lonely:
            raise ConfigError(
                f"{lonely[0]}: expected --members beside it, found none; add --members 24, or "
                f"leave {lonely[0]} out"
            )
        if not points:
            return _Ensemble(None, 0, None)
    from nowcast.precipitation.forecasting.probabilities.request import (
        ProbabilityRequest,
        numbers,
    )

    given: dict[str, Any] = {"radius": asked["--radius"], "points": tuple(points)}
    for option, name in (("--probability", "thresholds"), ("--quantiles", "quantiles")):
        if asked[option] is not None:
            given[name] = numbers(option, asked[option])
    if asked["--window"] is not None:
        given["windows"] = tuple(part.strip() for part in asked["--window"].split(","))
    return _Ensemble(members, asked["--seed"] or 0, ProbabilityRequest(**given))


def _once(
    places: list[Path],
    read: "Reading | None",
    loaded: "LoadedForecaster",
    at: str | None,
    minutes: float | None,
    out: Path,
    formats: "tuple[Format, ...]",
    ensemble: _Ensemble,
) -> None:
    from time import perf_counter

    from nowcast.api.forecast import Nowcast
    from nowcast.core.terminal.result_warnings import collected

    with collected() as notes:
        made = Nowcast.of(
            places,
            loaded,
            at=at,
            lead=minutes,
            members=ensemble.members,
            seed=ensemble.seed,
            probabilities=ensemble.request,
            reading=read,
        )
    for note in notes:
        _say(note)
    began = perf_counter()
    files = made.save(out, formats)
    _show(made.product, out, files, perf_counter() - began)


def _follow(
    root: Path,
    choice: "Choice",
    minutes: float | None,
    out: Path,
    formats: "tuple[Format, ...]",
    every: float,
    keep: int | None,
    ensemble: _Ensemble,
) -> None:
    from nowcast.core.system.signals import stop_signals
    from nowcast.precipitation.forecasting.forecast import Forecaster
    from nowcast.precipitation.forecasting.inputs import FrameSource
    from nowcast.precipitation.forecasting.products.outlet import LATEST, Outlet
    from nowcast.precipitation.forecasting.products.written import write
    from nowcast.precipitation.forecasting.watch import Watch, opened_when_there

    with stop_signals() as stopping:
        archive = opened_when_there(root, every, stopping.wait, _say)
        if archive is None:
            return
        source = FrameSource(archive, choice.masks)
        members, seed, request = ensemble
        forecaster = Forecaster(choice, source.description, minutes, members=members, seed=seed)
        if request is not None:
            request.of(source.description, forecaster.out_len)  # told before it rains
        outlet = Outlet(out, partial(write, formats=formats, request=request), keep)
        watching = Watch(source, forecaster, outlet, _say)
        for note in (*source.notes, *forecaster.notes):
            _say(note)
        typer.echo(
            f"following {archive.root}, a look every {every:g} s; {out / LATEST} names the "
            "newest forecast (Ctrl-C ends it)"
        )
        said: set[str] = set()
        for made in watching.forecasts(every, stopping.wait):
            with suppress(OSError):  # a full log does not end the watch
                for note in made.facts["replaced"]:
                    if note not in said:
                        _say(note)
                        said.add(note)
                typer.echo(f"{made.init}  {_rain(made, len(made.pixels) - 1)}")


def _check_out(out: Path, watching: bool, overwrite: bool) -> str | None:
    """Raise ConfigError if a folder holds other files, or a forecast without --overwrite.

    Returns:
        the forecast that will be replaced, in words; None if there is none.
    """
    from nowcast.core.errors import ConfigError
    from nowcast.precipitation.forecasting.products.outlet import FOLDER_NAME, LATEST
    from nowcast.precipitation.forecasting.products.written import named

    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out: expected a folder, found the file {out}; choose another")
    found = out.iterdir() if out.is_dir() else ()
    held = {path.name for path in found if not path.name.startswith(".")}  # a killed process's
    earlier = None if watching else named(out)
    if watching:
        foreign = sorted(
            name for name in held if name != LATEST and FOLDER_NAME.fullmatch(name) is None
        )
        what = "an empty one or one of forecasts of --watch"
    else:
        foreign = [] if earlier else sorted(held)
        what = "or an empty one"
    if foreign:
        raise ConfigError(
            f"--out: expected a new folder{',' * watching} {what}; {out} holds something else "
            f"({', '.join(foreign[:3])}); choose another"
        )
    if earlier is not None and not overwrite:
        raise ConfigError(
            f"--out: expected a new folder or an empty one, found {earlier} in {out}; --overwrite "
            "replaces it, or choose another folder"
        )
    return earlier


def _say(text: str) -> None:
    with suppress(OSError):  # a full log does not end the watch
        typer.echo(f"nowcast: {text}", err=True)


def _show(made: "Forecast", out: Path, files: list[Path], write_seconds: float) -> None:
    import numpy as np

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
        typer.echo(f"  {_rain(made, position)}")
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


def _rain(made: "Forecast", position: int) -> str:
    """Mean and largest rain rate at one lead time."""
    import numpy as np

    calibration = made.description.calibration
    rate = np.where(made.mask, calibration.rate_from_pixel(made.pixels[position]), np.nan)
    lead = f"+{(position + 1) * made.description.step_minutes} min"
    if not made.mask.any():
        return f"{lead}: no data"
    row, column = np.unravel_index(np.nanargmax(rate), rate.shape)
    if rate[row, column] == 0:
        return f"{lead}: dry"
    return (
        f"{lead}: mean {np.nanmean(rate):.2f} mm/h, largest {rate[row, column]:.1f} mm/h in row "
        f"{row}, column {column}"
    )


def _listed(files: list[Path]) -> str:
    """Names of files; for a folder the number of its files."""
    counts: dict[str, int] = {}
    for path in files:
        counts[path.parts[0]] = counts.get(path.parts[0], 0) + 1
    alone = {path.parts[0] for path in files if len(path.parts) == 1}
    return ", ".join(
        name if name in alone else f"{name}/ ({count} files)" for name, count in counts.items()
    )
