"""Trained weights as a nowcast method of pysteps: rain rates in, rain rates out.

pysteps has no plug-ins for nowcasts, so `register` puts `forecast` among its own methods:

    from nowcast.pysteps import register

    register()
    nowcast = pysteps.nowcasts.get_method("nowcast")
    forecast = nowcast(rate, velocity, 12, weights="runs/first")

pysteps itself is needed for `register` alone. A `ResultWarning` says where a call differs from what
the weights were trained for (another step, more lead times, fewer input frames), or has no data.
"""

import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.system.distributed import current
from nowcast.core.terminal.result_warnings import ResultWarning
from nowcast.core.training.evaluate import pick_device
from nowcast.precipitation.clips.trained_on import TrainedOn, trained_on
from nowcast.precipitation.forecasting.call_of_pysteps import (
    check_keywords,
    notes_of_gaps,
    notes_of_keywords,
)
from nowcast.precipitation.forecasting.forecast import DRY_MM_H
from nowcast.precipitation.forecasting.frames_needed import least_of_run, takers
from nowcast.precipitation.forecasting.outages import STRONG_MM_H, WEAK_MM_H, find_outages, reach_px
from nowcast.precipitation.forecasting.released import weights as released
from nowcast.precipitation.forecasting.trained import settings_of_run, trained_forecaster
from nowcast.precipitation.units import HKO7_ZR_A, HKO7_ZR_B, Calibration

METHOD = "nowcast"  # what pysteps calls it


def register(name: str = METHOD) -> None:
    """Make ``pysteps.nowcasts.get_method(name)`` give `forecast`, in this process.

    Raises:
        ConfigError: pysteps is not installed, or keeps its methods elsewhere.
    """
    try:
        interface = importlib.import_module("pysteps.nowcasts.interface")
    except ImportError as error:
        raise ConfigError(
            f"register: expected the optional package pysteps, found none ({error}); install it "
            'with `pip install "nowcast[pysteps]"`'
        ) from error
    methods = getattr(interface, "_nowcast_methods", None)
    if not isinstance(methods, dict):
        raise ConfigError(
            "register: expected the methods of pysteps in pysteps.nowcasts.interface, found none; "
            "call nowcast.pysteps.forecast itself"
        )
    methods[name.lower()] = forecast


def forecast(
    precip: ArrayLike,
    velocity: ArrayLike | None,
    timesteps: int | Sequence[int | float],
    *,
    weights: str | None = None,
    zr_a: float = HKO7_ZR_A,
    zr_b: float = HKO7_ZR_B,
    timestep: int | float | None = None,
    kmperpixel: int | float | None = None,
    **others: object,
) -> Float[np.ndarray, "leads height width"]:
    """A deterministic nowcast, with the arguments of those of pysteps.

    Unlike most of them it takes rain rates as they are, without ``utils.transformation``. Unlike
    its extrapolation it leaves no gap where rain flows in from outside: weights with a motion of
    their own put persistence there, others what they learned. NaN stands only where none of the
    frames has data; where there are no data at all, the forecast is NaN and a warning says so.

    Args:
        precip: rain rates in mm/h, ``time height width``, evenly spaced in time and oldest first;
            NaN or masked is no data. The last `data.in_len` of the run are used. With fewer, from
            the shortest clips that it was trained on, a warning says so (5 to 10 frames for the
            weights that come with nowcast).
        velocity: motion in pixels a step, ``2 height width``, x (columns) and y (rows), as
            ``pysteps.motion`` gives it; None: OpenCV's optical flow, with which the weights were
            trained. Weights of a comoving forecaster use it; others learned motion themselves and
            warn that they do not.
        timesteps: how many, or which whole ones, ascending. Beyond those that the weights were
            trained for there is a warning.
        weights: name of weights that come with nowcast, or the folder of a run; None: the
            default ones.
        zr_a: of the Z-R relation by which rates become the network's pixels, that of the archive
            it was trained on: HKO-7's by default. A comoving forecaster was trained on many, and
            does not depend on it.
        zr_b: the same relation's exponent.
        timestep: minutes between the frames; where the weights were trained on another one, a
            warning says so.
        kmperpixel: side of a pixel in km, likewise.
        others: further keywords of pysteps' methods (`call_of_pysteps.KEYWORDS`), so that a call
            written for one of them works; a network has no such settings, and a warning names
            them.

    Frames that a radar's outage made dry, or a part of them, and frames that stand still while it
    rains count as no data (`outages`), and a warning says which.

    Returns:
        Rain rates in mm/h, ``timesteps height width``, from the first step after the last frame.

    Raises:
        ValueError: shapes, values or time steps that are none of those.
        TypeError: a keyword that no method of pysteps has.
        ConfigError: there are no such weights.
        RunError: they cannot be loaded, or give no numbers.
    """
    rates = np.asarray(np.ma.filled(np.ma.asarray(precip, dtype=np.float64), np.nan))
    steps = _steps(timesteps)
    motion = None if velocity is None else np.asarray(velocity, dtype=np.float32)
    check_keywords(others, timestep, kmperpixel)
    loaded = _loaded(weights, steps[-1], Calibration(zr_a, zr_b))
    _check(rates, motion, loaded)
    if motion is not None and not loaded.takes_motion:
        warnings.warn(
            f"velocity: {loaded.name} learned how rain moves and does not use it; pass None",
            stacklevel=2,
        )
    rates = rates[-loaded.in_len :]
    data = np.isfinite(rates)
    outages = find_outages(rates, data, WEAK_MM_H, STRONG_MM_H, _reach(motion))
    for note in (
        *loaded.notes(len(rates), steps[-1], timestep, kmperpixel),
        *notes_of_gaps(data),
        *notes_of_keywords(others, loaded.name),
        *(f"precip: {note}; taken for no data" for note in outages.notes),
    ):
        warnings.warn(note, ResultWarning, stacklevel=2)
    data = outages.mask(data)
    if not bool((rates[data] >= DRY_MM_H).any()):
        found = np.zeros((steps[-1], *rates.shape[1:]))
    else:
        found = loaded.forecast(rates, data, motion)
    found[:, ~data.any(axis=0)] = np.nan
    return found[[step - 1 for step in steps]]


@dataclass(frozen=True)
class _Loaded:
    """A model with its weights, in evaluation mode."""

    name: str
    model: nn.Module
    takes_motion: bool
    in_len: int
    least_in_len: int
    out_len: int
    seen: TrainedOn | None
    calibration: Calibration

    def notes(
        self, frames: int, steps: int, timestep: int | float | None, kmperpixel: int | float | None
    ) -> list[str]:
        """Where what is asked differs from what it was trained for, a sentence each."""
        found: list[str | None] = []
        if frames < self.in_len:
            found.append(
                f"precip: {frames} frames, of the {self.in_len} that {self.name} takes; give as "
                "many where you have them"
            )
        if steps > self.out_len:
            found.append(
                f"timesteps: {steps} steps ahead is beyond the {self.out_len} that {self.name} was "
                "trained for"
            )
        if self.seen is not None:
            if timestep is not None:
                found.append(self.seen.step_note(self.name, timestep))
            found.append(self.seen.pixel_note(self.name, kmperpixel))
        return [note for note in found if note is not None]

    def forecast(
        self,
        rates: NDArray[np.float64],
        data: NDArray[np.bool_],
        motion: NDArray[np.float32] | None,
    ) -> NDArray[np.float64]:
        """Rain rates of all its steps."""
        pixels = self.calibration.pixel_from_rate(np.where(data, rates, 0.0)).astype(np.float32)
        frames, mask = _clip(pixels, self.model), _clip(data, self.model)
        with torch.inference_mode():
            if motion is not None and self.takes_motion:
                found = self.model(frames, mask, torch.from_numpy(motion)[None].to(frames))
            else:
                found = self.model(frames, mask)
        if not bool(found.isfinite().all()):
            raise RunError(
                f"{self.name}: expected a forecast in numbers, found NaN or infinity; choose other "
                "weights"
            )
        return self.calibration.rate_from_pixel(found[0, :, 0].clamp(0, 1).cpu().numpy())


def _reach(motion: NDArray[np.float32] | None) -> int:
    """How far rain may move in a step, pixels; without a motion, in 10 minutes at 1 km."""
    if motion is None:
        return reach_px(10)
    return max(reach_px(5), ceil(1.5 * float(np.abs(motion).max())))


def _clip(values: NDArray[np.generic], model: nn.Module) -> Tensor:
    device = next(model.parameters()).device
    return torch.from_numpy(values)[None, :, None].to(device)


def _loaded(weights: str | None, out_len: int, calibration: Calibration) -> _Loaded:
    name = weights or released.DEFAULT
    file = released.located(name).best_weights
    return _read(name, file.stat().st_mtime_ns, out_len, calibration)


@lru_cache(maxsize=8)
def _read(name: str, written: int, out_len: int, calibration: Calibration) -> _Loaded:
    """Read from disk once in a process, and again when the weights were written anew."""
    run = released.located(name)
    settings = settings_of_run(run)
    model = trained_forecaster(run, settings, out_len, calibration)
    model.to(pick_device(settings.train.device, current()))
    return _Loaded(
        name,
        model,
        settings.model.takes_motion,
        settings.data.in_len,
        least_of_run(run, settings.data),
        settings.data.out_len,
        trained_on(run, settings.data),
        calibration,
    )


def _steps(timesteps: int | Sequence[int | float]) -> list[int]:
    """The steps that are asked for, all of them counted from 1."""
    if isinstance(timesteps, int | np.integer):
        asked: list[float] = list(range(1, int(timesteps) + 1))
    else:
        asked = [float(step) for step in timesteps]
    steps = [int(step) for step in asked]
    if not steps or steps != asked or steps[0] < 1 or sorted(set(steps)) != steps:
        raise ValueError(
            f"timesteps: expected a number of steps or whole ones, ascending from 1 on, found "
            f"{timesteps!r}; interpolate between whole steps yourself"
        )
    return steps


def _check(rates: NDArray[np.float64], motion: NDArray[np.float32] | None, loaded: _Loaded) -> None:
    if rates.ndim != 3 or len(rates) < loaded.least_in_len:
        expected = f"precip: expected {loaded.least_in_len} frames or more"
        if loaded.least_in_len < loaded.in_len:
            expected += f" (better {loaded.in_len})"
        if rates.ndim != 3:
            raise ValueError(
                f"{expected}, time height width, found an array of shape {rates.shape}; give the "
                f"last {loaded.in_len} frames"
            )
        raise ValueError(
            f"{expected}, found {len(rates)}, an array of shape {rates.shape}, for "
            f"{loaded.name}; {takers(len(rates), baselines=False)}. Give more frames, or use a "
            "method of pysteps (sprog takes 3, extrapolation 1)"
        )
    if bool((rates < 0).any()):
        raise ValueError(
            "precip: expected rain rates in mm/h, found some below 0; pass them as they are before "
            "utils.transformation"
        )
    if motion is None:
        return
    if motion.shape != (2, *rates.shape[1:]) or not bool(np.isfinite(motion).all()):
        raise ValueError(
            f"velocity: expected finite numbers, {(2, *rates.shape[1:])}, found an array of shape "
            f"{motion.shape} with {int((~np.isfinite(motion)).sum())} that are not; pass None for "
            "the weights' own"
        )
