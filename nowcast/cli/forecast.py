"""`nowcast forecast`: from the newest frames of an archive, once or whenever a frame lands."""

import re
from contextlib import suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from nowcast.api.forecasters import LoadedForecaster
    from nowcast.precipitation.forecasting.forecast import Choice
    from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
    from nowcast.precipitation.forecasting.products.result import Forecast
    from nowcast.precipitation.forecasting.products.written import Format

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
SECONDS = {"s": 1, "min": 60, "h": 3600}
DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)?", re.ASCII)


@forecasts.command()
def forecast(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="ROOT_OR_FILES...",
            help="An archive (folder or packed file), or some of its frames.",
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
    size: Annotated[int, typer.Option(min=400, max=4000, help="Width of pictures, pixels.")] = 800,
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
            metavar="LAT,LON|px:ROW,COLUMN",
            help="With --members: when rain arrives there; may repeat.",
        ),
    ] = None,
) -> None:
    """Forecast from the newest frames of an archive.

    Example: `nowcast forecast data/dwd --weights flow --lead 120min --out forecast`

    Example: `nowcast forecast data/radar --weights runs/first --watch --keep 288 --out forecasts`

    Example: `nowcast forecast data/dwd --weights steps --members 24 --probability 0.5,5 --out out`
    """
    from nowcast.core.errors import ConfigError
    from nowcast.precipitation.forecasting.places import check_there

    check_there(places, watch)
    asked = {
        "--seed": seed,
        "--probability": probability,
        "--quantiles": quantiles,
        "--window": window,
        "--radius": radius,
        "--at-point": at_point,
    }
    ensemble = _ensemble(members, asked)
    minutes = None if lead is None else _seconds("--lead", lead, "min") / 60
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
        _once(places, loaded, at, minutes, out, chosen, ensemble, size)
        if replaced is not None:
            typer.echo(f"replaced  {replaced}")
        return
    if at is not None:
        raise ConfigError("--at: --watch forecasts from the newest frames; leave one of them out")
    if len(places) != 1:
        raise ConfigError(
            f"--watch: expected the folder of one archive to follow, found {len(places)} paths"
        )
    seconds = _seconds("--every", every, "s")
    _follow(places[0], loaded.choice, minutes, out, chosen, seconds, keep, ensemble, size)


class _Ensemble(NamedTuple):
    """What is asked for of members."""

    members: int | None
    seed: int
    request: "ProbabilityRequest | None"


def _ensemble(members: int | None, asked: "dict[str, Any]") -> _Ensemble:
    """Raise ConfigError for options that need --members without it, or cannot be read."""
    from nowcast.core.errors import ConfigError

    if members is None:
        lonely = [name for name, value in asked.items() if value not in (None, [])]
        if lonely:
            raise ConfigError(
                f"{lonely[0]}: expected --members beside it, found none; add --members 24, or "
                f"leave {lonely[0]} out"
            )
        return _Ensemble(None, 0, None)
    from nowcast.precipitation.forecasting.probabilities.request import (
        ProbabilityRequest,
        numbers,
    )

    given: dict[str, Any] = {
        "radius": asked["--radius"],
        "points": tuple(asked["--at-point"] or ()),
    }
    for option, name in (("--probability", "thresholds"), ("--quantiles", "quantiles")):
        if asked[option] is not None:
            given[name] = numbers(option, asked[option])
    if asked["--window"] is not None:
        given["windows"] = tuple(part.strip() for part in asked["--window"].split(","))
    return _Ensemble(members, asked["--seed"] or 0, ProbabilityRequest(**given))


def _once(
    places: list[Path],
    loaded: "LoadedForecaster",
    at: str | None,
    minutes: float | None,
    out: Path,
    formats: "tuple[Format, ...]",
    ensemble: _Ensemble,
    size: int,
) -> None:
    from time import perf_counter

    from nowcast.api.forecast import forecast as make
    from nowcast.core.terminal.result_warnings import collected

    with collected() as notes:
        made = make(
            places,
            loaded,
            at=at,
            lead_minutes=minutes,
            members=ensemble.members,
            seed=ensemble.seed,
            probabilities=ensemble.request,
        )
    for note in notes:
        _say(note)
    began = perf_counter()
    files = made.save(out, formats, size)
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
    size: int,
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
        outlet = Outlet(out, partial(write, formats=formats, request=request, width=size), keep)
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


def _seconds(option: str, text: str, unit: str) -> float:
    from nowcast.core.errors import ConfigError

    match = DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ConfigError(
            f"{option}: expected a time above 0 such as 120min, 2h or 90 ({unit} if it says none), "
            f"found {text!r}"
        )
    return float(match[1]) * SECONDS[match[2] or unit]


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
    typer.echo(f"written   {out}: {_listed([path.relative_to(out) for path in files])}")
    seconds = {**facts["seconds"], "write": write_seconds}
    typer.echo(f"seconds   {', '.join(f'{part} {spent:.2f}' for part, spent in seconds.items())}")


def _show_members(summary: Path) -> None:
    """What ``forecast.json`` says of members and points."""
    import json

    told = json.loads(summary.read_text())["ensemble"]
    typer.echo(f"members   {told['members']}, seed {told['seed']}")
    within = f" within {told['radius']}" if told["radius"] else ""
    for point in told["points"]:
        typer.echo(f"at {point['point']}{within} (row {point['row']}, column {point['column']})")
        for arrival in point["arrivals"]:
            typer.echo(f"  {arrival['text']}")


def _rain(made: "Forecast", position: int) -> str:
    """How much it rains at one lead time, and where most."""
    from nowcast.precipitation.forecasting.products.words import rain_in_words

    lead = (position + 1) * made.description.step_minutes
    said = rain_in_words(made.rate_at(position), made.mask, made.description)
    return f"+{lead} min: {said}"


def _listed(files: list[Path]) -> str:
    """Names of files; for a folder the number of its files."""
    counts: dict[str, int] = {}
    for path in files:
        counts[path.parts[0]] = counts.get(path.parts[0], 0) + 1
    alone = {path.parts[0] for path in files if len(path.parts) == 1}
    return ", ".join(
        name if name in alone else f"{name}/ ({count} files)" for name, count in counts.items()
    )
