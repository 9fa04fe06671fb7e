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

from nowcast.api.forecasters import load, run_of
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.system.devices import arithmetic, pick_device
from nowcast.core.system.distributed import current
from nowcast.core.terminal.result_warnings import ResultWarning
from nowcast.precipitation.clips.trained_on import TrainedOn, trained_on
from nowcast.precipitation.forecasters.scale import Scale, numbers
from nowcast.precipitation.forecasters.settings import as_ensemble
from nowcast.precipitation.forecasting.call_of_pysteps import (
    check_keywords,
    notes_of_gaps,
    notes_of_keywords,
)
from nowcast.precipitation.forecasting.forecast import DRY_MM_H, Choice, beyond
from nowcast.precipitation.forecasting.frames_needed import takers
from nowcast.precipitation.forecasting.outages import STRONG_MM_H, WEAK_MM_H, find_outages, reach_px
from nowcast.precipitation.forecasting.probabilities.members import Draw, drawn
from nowcast.precipitation.forecasting.released.weights import default
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
            'with `pip install "memel-nowcast[pysteps]"`'
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
    n_ens_members: int | None = None,
    seed: int | None = None,
    **others: object,
) -> Float[np.ndarray, "leads height width"] | Float[np.ndarray, "member leads height width"]:
    """A nowcast, called as those of pysteps: deterministic, or members of an ensemble.

    Takes rain rates as they are, without ``utils.transformation``. Where rain flows in from outside
    the frame there is no gap: weights with a motion of their own put persistence there, others what
    they learned. NaN stands only where no frame has data. Frames that an outage of the radar made
    dry or left standing still count as no data (`outages`). Warnings (`ResultWarning`) say so, and
    where the call differs from training.

    Args:
        precip: rain rates in mm/h, ``time height width``, evenly spaced in time, oldest first; NaN
            or masked is no data. The last `data.in_len` of the run are used; it can do with fewer,
            down to its shortest training clips (5 of 10 for the weights that come with nowcast).
        velocity: motion in pixels a step, ``2 height width``, x (columns) and y (rows), as
            ``pysteps.motion`` gives it; None: OpenCV's optical flow, as in training. Only weights
            of a comoving forecaster use it.
        timesteps: how many, or which whole ones, ascending.
        weights: a name of weights that come with nowcast, the folder of a run, or
            ``hf://OWNER/NAME``; None: the default ones, with ``n_ens_members`` those with members.
        zr_a: of the Z-R relation of the archive that the network was trained on; HKO-7's by
            default. A comoving forecaster was trained on many and does not depend on it.
        zr_b: the same relation's exponent.
        timestep: minutes between the frames; a comoving forecaster uses what it is told.
        kmperpixel: side of a pixel in km; likewise.
        n_ens_members: with weights that have members (`as_ensemble`): how many; None: one
            deterministic nowcast. Weights without members ignore it, with a warning.
        seed: of what is random in members; None: 0. The same seed and frames give the same members.
        others: further keywords of pysteps' methods (`call_of_pysteps.KEYWORDS`), which are ignored
            with a warning, so that a call written for one of them works.

    Returns:
        Rain rates in mm/h, ``timesteps height width``, from the first step after the last frame;
        with ``n_ens_members``, ``member timesteps height width``, as pysteps' verification and
        blending take them.

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
    network = _network(weights or default(n_ens_members), steps[-1], Calibration(zr_a, zr_b))
    _check(rates, motion, network)
    draw = network.draw(n_ens_members, seed)
    if draw is None:
        given = {"n_ens_members": n_ens_members, "seed": seed}
        others = {name: value for name, value in given.items() if value is not None} | others
    if motion is not None and draw is not None:
        warnings.warn(
            f"velocity: members of {network.name} move as it sees the rain move; pass None",
            stacklevel=2,
        )
    elif motion is not None and not network.takes_motion:
        warnings.warn(
            f"velocity: {network.name} learned how rain moves and does not use it; pass None",
            stacklevel=2,
        )
    rates = rates[-network.choice.in_len :]
    data = np.isfinite(rates)
    outages = find_outages(rates, data, WEAK_MM_H, STRONG_MM_H, _reach(motion))
    for note in (
        *network.notes(len(rates), steps[-1], timestep, kmperpixel),
        *notes_of_gaps(data),
        *notes_of_keywords(others, network.name),
        *(f"precip: {note}; treated as no data" for note in outages.notes),
    ):
        warnings.warn(note, ResultWarning, stacklevel=2)
    data = outages.mask(data)
    if bool((rates[data] >= DRY_MM_H).any()):
        forecast_rates = network.forecast(
            rates, data, motion, Scale(_number(timestep), _number(kmperpixel)), draw
        )
    else:
        count = () if draw is None else (draw.count,)
        forecast_rates = np.zeros((*count, steps[-1], *rates.shape[1:]))
    forecast_rates[..., ~data.any(axis=0)] = np.nan
    return forecast_rates[..., [step - 1 for step in steps], :, :]


@dataclass(frozen=True)
class _Network:
    """Weights in a network that is ready to forecast."""

    name: str
    choice: Choice
    model: nn.Module
    calibration: Calibration
    trained_on: TrainedOn | None

    @property
    def takes_motion(self) -> bool:
        """Whether it can be given the motion of the rain."""
        return self.choice.settings.model.takes_motion

    def draw(self, n_ens_members: int | None, seed: int | None) -> Draw | None:
        """How members are drawn; None where none are asked for, or there are none."""
        if n_ens_members is None or as_ensemble(self.model) is None:
            return None
        return Draw(n_ens_members, seed or 0)

    def notes(
        self, frames: int, steps: int, timestep: int | float | None, kmperpixel: int | float | None
    ) -> list[str]:
        """Where the call differs from training, a sentence each."""
        notes: list[str | None] = []
        in_len = self.choice.in_len
        if frames < in_len:
            notes.append(
                f"precip: {frames} frames, of the {in_len} that {self.name} takes; give as many "
                "where you have them"
            )
        further = beyond(self.choice, self.trained_on, steps)
        notes.append(None if further is None else f"timesteps: {further}")
        if self.trained_on is not None:
            if timestep is not None:
                notes.append(self.trained_on.step_note(self.name, timestep))
            notes.append(self.trained_on.pixel_note(self.name, kmperpixel))
        return [note for note in notes if note is not None]

    def forecast(
        self,
        rates: NDArray[np.float64],
        data: NDArray[np.bool_],
        motion: NDArray[np.float32] | None,
        scale: Scale,
        draw: Draw | None = None,
    ) -> NDArray[np.float64]:
        """Rain rates of all its steps, or those of members."""
        pixels = self.calibration.pixel_from_rate(np.where(data, rates, 0.0)).astype(np.float32)
        frames, mask = _clip(pixels, self.model), _clip(data, self.model)
        ensemble = as_ensemble(self.model)
        if draw is not None and ensemble is not None:
            if self.choice.settings.model.takes_details:
                self.model.scale = scale  # type: ignore[assignment]
            drawn_pixels = drawn(ensemble, self.name, frames, mask, draw)[1].pixels
            return self.calibration.rate_from_pixel(drawn_pixels)
        inputs = [frames, mask]
        if motion is not None and self.takes_motion:
            inputs.append(torch.from_numpy(motion)[None].to(frames))
        takes = self.choice.settings.model.takes_details
        details = {"scale": numbers([scale]).to(frames.device)} if takes else {}
        with torch.inference_mode(), arithmetic():
            forecast: Tensor = self.model(*inputs, **details)
        if not bool(forecast.isfinite().all()):
            raise RunError(
                f"{self.name}: expected a forecast in numbers, found NaN or infinity; choose other "
                "weights"
            )
        return self.calibration.rate_from_pixel(forecast[0, :, 0].clamp(0, 1).cpu().numpy())


def _number(found: int | float | None) -> float | None:
    """Of a caller's own kind, e.g. a fraction."""
    return None if found is None else float(found)


def _reach(motion: NDArray[np.float32] | None) -> int:
    """How far rain may move in a step, pixels; without a motion, in 10 minutes at 1 km."""
    if motion is None:
        return reach_px(10)
    return max(reach_px(5), ceil(1.5 * float(np.abs(motion).max())))


def _clip(values: NDArray[np.generic], model: nn.Module) -> Tensor:
    device = next(model.parameters()).device
    return torch.from_numpy(values)[None, :, None].to(device)


def _network(name: str, out_len: int, calibration: Calibration) -> _Network:
    written = run_of(name).best_weights.stat().st_mtime_ns
    return _read(name, written, out_len, calibration)


@lru_cache(maxsize=8)
def _read(name: str, written: int, out_len: int, calibration: Calibration) -> _Network:
    """Read from disk once a process, and again when the weights have been written anew."""
    loaded = load(name)
    model = loaded.model(out_len, calibration)
    choice = loaded.choice
    assert choice.run is not None
    model.to(pick_device(choice.settings.train.device, current()))
    seen = trained_on(choice.run, choice.settings.data)
    return _Network(name, choice, model, calibration, seen)


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


def _check(
    rates: NDArray[np.float64], motion: NDArray[np.float32] | None, network: _Network
) -> None:
    least, in_len = network.choice.least_in_len, network.choice.in_len
    if rates.ndim != 3 or len(rates) < least:
        better = f" (better {in_len})" if least < in_len else ""
        expected = f"precip: expected {least} frames or more{better}"
        if rates.ndim != 3:
            raise ValueError(
                f"{expected}, time height width, found an array of shape {rates.shape}; give the "
                f"last {in_len} frames"
            )
        raise ValueError(
            f"{expected}, found {len(rates)}, an array of shape {rates.shape}, for "
            f"{network.name}; {takers(len(rates), baselines=False)}. Give more frames, or use a "
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
