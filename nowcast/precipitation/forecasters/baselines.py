"""Forecasters without training, by the names of the command line; a trained one must beat them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import get_args

from torch import nn

from nowcast.core.errors import ConfigError, UnknownForecaster, did_you_mean
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.forecasters.flow.extrapolation import Extrapolation, Inflow
from nowcast.precipitation.forecasters.flow.lagged import LaggedFlow
from nowcast.precipitation.forecasters.flow.motion import Method
from nowcast.precipitation.forecasters.persistence import Persistence
from nowcast.precipitation.forecasters.through_pysteps import PystepsMethod, ThroughPysteps

KM_PER_PIXEL = 1.0  # where an archive does not state its grid: the usual radar composite's


@dataclass(frozen=True)
class Setting:
    """What a baseline has to know.

    Args:
        out_len: frames to forecast.
        archive: whose frames they are.
    """

    out_len: int
    archive: Description


def _flow(motion: Method, setting: Setting, inflow: Inflow) -> nn.Module:
    return Extrapolation(setting.out_len, motion, inflow)


def _lagged(setting: Setting, inflow: Inflow) -> nn.Module:
    return LaggedFlow(setting.out_len, setting.archive.calibration, inflow=inflow)


def _through_pysteps(method: PystepsMethod, setting: Setting, inflow: Inflow) -> nn.Module:
    archive = setting.archive
    # STEPS alone uses the size; the others forecast from an archive whose grid is at fault, too.
    sides_km = archive.pixel_km if method == "steps" else None
    return ThroughPysteps(
        method,
        setting.out_len,
        archive.calibration,
        archive.step_minutes,
        KM_PER_PIXEL if sides_km is None else sides_km[1],
        inflow,
    )


# `flow` is the OpenCV method that scores better on validation rain: see docs/results.md.
EXTRAPOLATING: dict[str, Callable[[Setting, Inflow], nn.Module]] = {
    "flow": partial(_flow, "dis"),
    **{motion: partial(_flow, motion) for motion in get_args(Method)},
    "lagged-flow": _lagged,
    **{method: partial(_through_pysteps, method) for method in get_args(PystepsMethod)},
}
BASELINES = ("persistence", *EXTRAPOLATING)


def baseline(name: str, setting: Setting) -> nn.Module:
    """The baseline of a name; ``NAME:dry`` and ``NAME:persist`` choose its inflow.

    Raises:
        ConfigError: there is none of that name or inflow, or it needs pysteps, which is not
            installed.
    """
    stem, colon, inflow = name.partition(":")
    if stem not in BASELINES:
        raise UnknownForecaster(
            f"expected a baseline ({', '.join(BASELINES)}) or the folder of a run, found {name!r}"
            f"{did_you_mean(stem, BASELINES)}"
        )
    if stem == "persistence":
        if colon:
            raise ConfigError(f"persistence has no inflow; found {name!r}, write persistence")
        return Persistence(setting.out_len)
    known: dict[str, Inflow] = {kind: kind for kind in get_args(Inflow)}
    if colon and inflow not in known:
        raise ConfigError(
            f"expected {stem}:persist (the same as {stem}) or {stem}:dry, found {name!r}"
        )
    return EXTRAPOLATING[stem](setting, known.get(inflow, "persist"))
