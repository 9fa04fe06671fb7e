"""What every command takes that makes forecasts, and how it is read."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from nowcast.precipitation.forecasting.products.widths import LARGEST_WIDTH, LEAST_WIDTH

if TYPE_CHECKING:
    from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest
    from nowcast.precipitation.forecasting.products.written import Format


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

Weights = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|RUN|BASELINE",
        help="Weights that come with nowcast, the folder of a run, hf://OWNER/NAME, or a "
        "baseline as in `nowcast evaluate`: flow, sprog, persistence ...",
    ),
]
Lead = Annotated[
    str | None,
    typer.Option(
        help="How far ahead: 120min, 2h or 90 (minutes).  [as trained; 10 steps for a baseline]"
    ),
]
Formats = Annotated[
    list[Asked] | None,
    typer.Option("--format", help="What to write; may repeat.  [all but h5]"),
]
Size = Annotated[
    int,
    typer.Option("--size", min=LEAST_WIDTH, max=LARGEST_WIDTH, help="Width of pictures, pixels."),
]
MemberCount = Annotated[
    int | None, typer.Option(min=2, help="Members of an ensemble, of a forecaster that has them.")
]
Seed = Annotated[int | None, typer.Option(min=0, help="With --members: of what is random.  [0]")]
Thresholds = Annotated[
    str | None,
    typer.Option(
        metavar="MM_H,...",
        help="With --members: thresholds that have a probability.  [0.5,2,5,10,30]",
    ),
]
Quantiles = Annotated[
    str | None, typer.Option(metavar="LEVEL,...", help="With --members.  [0.1,0.5,0.9]")
]
Windows = Annotated[
    str | None,
    typer.Option(
        metavar="max:MIN,sum:MIN,...",
        help="With --members: the largest rain rate or the rain of the next minutes.",
    ),
]
Radius = Annotated[
    str | None, typer.Option(help="With --members: probability of rain within 5km or 8px, too.")
]
AtPoint = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LAT,LON[,NAME]|px:ROW,COLUMN|FILE.csv",
        help="Rain there by lead time, to points.json and .csv; may repeat.",
    ),
]


class Ensemble(NamedTuple):
    """What is asked for of members."""

    members: int | None
    seed: int
    request: "ProbabilityRequest | None"


def read_ensemble(
    members: int | None,
    *,
    seed: int | None,
    probability: str | None,
    quantiles: str | None,
    window: str | None,
    radius: str | None,
    at_point: list[str] | None,
) -> Ensemble:
    """Raise ConfigError for options that need --members without it, or cannot be read."""
    from nowcast.core.errors import ConfigError

    if members is None:
        asked = {
            "--seed": seed,
            "--probability": probability,
            "--quantiles": quantiles,
            "--window": window,
            "--radius": radius,
        }
        lonely = [name for name, value in asked.items() if value is not None]
        if lonely:
            raise ConfigError(
                f"{lonely[0]}: expected --members beside it, found none; add --members 24, or "
                f"leave {lonely[0]} out"
            )
        if not at_point:
            return Ensemble(None, 0, None)
    from nowcast.precipitation.forecasting.probabilities.request import ProbabilityRequest, numbers

    given: dict[str, Any] = {"radius": radius, "points": tuple(at_point or ())}
    if probability is not None:
        given["thresholds"] = numbers("--probability", probability)
    if quantiles is not None:
        given["quantiles"] = numbers("--quantiles", quantiles)
    if window is not None:
        given["windows"] = tuple(part.strip() for part in window.split(","))
    return Ensemble(members, seed or 0, ProbabilityRequest(**given))


def read_formats(asked: list[Asked] | None) -> "tuple[Format, ...]":
    """The formats to write, each once."""
    return tuple(FORMAT_OF[kind] for kind in dict.fromkeys(asked or DEFAULT_FORMATS))
