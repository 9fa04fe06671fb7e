"""Extrapolation, S-PROG, ANVIL and STEPS of pysteps, as forecasters like any other.

pysteps (Pulkkinen et al. 2019, doi:10.5194/gmd-12-4185-2019) is an optional extra:
``pip install "memel-nowcast[pysteps]"``.
"""

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

from nowcast.core.errors import ConfigError
from nowcast.core.terminal.result_warnings import ResultWarning
from nowcast.precipitation.archive.projection import LARGEST_KM, LEAST_KM
from nowcast.precipitation.forecasters.flow.advection import advect
from nowcast.precipitation.forecasters.flow.extrapolation import Inflow, with_data
from nowcast.precipitation.forecasters.flow.lagged import mean_of_rates
from nowcast.precipitation.forecasters.flow.motion import motion_field, newest_with_data
from nowcast.precipitation.units import Calibration

PystepsMethod = Literal["extrapolation", "sprog", "anvil", "steps"]

# How pysteps' own examples transform rain: dBR = 10 log10(R), R in mm/h.
WET_MM_H = 0.1  # least rate that counts as rain
WET_DBR = 10 * np.log10(WET_MM_H)
DRY_DBR = -15.0  # what less becomes

MOTION_FRAMES = 3  # the last frames Lucas-Kanade sees, as in those examples
MEMBERS = 24  # of STEPS; pysteps' default
SEED = 0

# Frames of rain the method's autoregression of order 2 needs: a series, or one of differences.
NEEDS = {"extrapolation": 1, "sprog": 3, "anvil": 4, "steps": 3}

MOST_GROWTH = 10  # times the largest rate of its input; above, ANVIL's differences have run away


@dataclass(frozen=True)
class _Pysteps:
    """The functions of pysteps that are used."""

    motion: Callable[..., NDArray[np.float64]]
    extrapolation: Callable[..., NDArray[np.float64]]
    nowcast: Callable[..., NDArray[np.float64]]


class ThroughPysteps(nn.Module):
    """A nowcast of pysteps along its Lucas-Kanade motion, from the same clips; no gradient.

    Pixels become rain rates, and those dBR (below 0.1 mm/h: -15), as pysteps recommends, for the
    motion, S-PROG and STEPS. ANVIL takes rain rates; extrapolation carries the pixels themselves,
    whose logarithm keeps the lightest rain. Other settings are pysteps' defaults: 6 cascade
    levels, autoregression of order 2, the forecast's distribution matched to that of the last
    frame (S-PROG, STEPS). STEPS is an `Ensemble`; its forecast is the mean of the members' rain
    rates. All clips have one seed, so that a forecast does not depend on its batch.

    No data are NaN. Where a method has no forecast, `inflow` says what stands there, as in
    `Extrapolation`. An input frame without any data is passed over at the end of a clip, and
    elsewhere taken to repeat its neighbour.

    - A last frame without rain (0.1 mm/h) gives a dry forecast.
    - The autoregression needs rain in 3 frames (S-PROG, STEPS) or 4 (ANVIL), and more than a few
      pixels of it. A clip where it is undefined is forecast by extrapolation: a frame is dry,
      pysteps raises an error, or what it returns is no forecast (no numbers, no rain where the
      last frame carried on has some, which STEPS does for rain at the frame's edge alone, or
      more than `MOST_GROWTH` times the largest rate of the input). Where Lucas-Kanade or the
      extrapolation itself fails, OpenCV's flow or our own advection takes its place. A
      `ResultWarning` names it with the reason, and `replaced` counts the clips. The members of
      such a clip are all the same.

    Args:
        method: ``extrapolation`` (Germann & Zawadzki 2002), ``sprog`` (Seed 2003), ``anvil``
            (Pulkkinen et al. 2020) or ``steps`` (Bowler et al. 2006).
        out_len: frames to forecast.
        calibration: the archive's Z-R relation.
        step_minutes: time between frames, minutes; STEPS alone uses it, and the next.
        km_per_pixel: side of a pixel, km.
        inflow: what to put where the source is unknown: ``persist`` or ``dry``.
        members: of the ensemble of STEPS.

    Raises:
        ConfigError: pysteps is not installed, the method or inflow is not one of those, a pixel
            is not of `projection.LEAST_KM` to `LARGEST_KM`, or a clip has fewer input frames than
            the method needs.
        ValueError: an unmasked pixel is not a number.
    """

    def __init__(
        self,
        method: PystepsMethod,
        out_len: int,
        calibration: Calibration,
        step_minutes: int,
        km_per_pixel: float = 1.0,
        inflow: Inflow = "persist",
        members: int = MEMBERS,
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("method", method, get_args(PystepsMethod)),
            ("inflow", inflow, get_args(Inflow)),
        ):
            if value not in known:
                raise ConfigError(f"{name}: expected one of {', '.join(known)}, found {value!r}")
        if not LEAST_KM <= km_per_pixel <= LARGEST_KM:
            raise ConfigError(
                f"{method}: expected pixels of {LEAST_KM:g} to {LARGEST_KM:g} km, found "
                f"{km_per_pixel:g}; correct the grid in archive.json"
            )
        self.method: PystepsMethod = method
        self.out_len = out_len
        self.calibration = calibration
        self.inflow: Inflow = inflow
        self.replaced = 0
        self.member_count = members if method == "steps" else 1
        self._pysteps = _imported(method)
        self._settings = _settings(method, step_minutes, km_per_pixel)

    @torch.no_grad()
    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """Forecast `out_len` frames, clip by clip on the CPU."""
        drawn = (clip[None] for clip in self._drawn(frames, mask, self.member_count, SEED))
        if self.member_count > 1:
            return torch.cat([mean_of_rates(members, self.calibration) for members in drawn]).to(
                frames
            )
        return torch.cat([members[:, 0] for members in drawn]).to(frames)

    @torch.no_grad()
    def members(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
        *,
        count: int | None = None,
        seed: int = SEED,
    ) -> Float[Tensor, "batch member out_len 1 height width"]:
        """See `Ensemble`; of a method without members the one forecast."""
        own = self.member_count if count is None or self.member_count == 1 else count
        return torch.stack([*self._drawn(frames, mask, own, seed)]).to(frames)

    def single(
        self,
        members: Float[Tensor, "batch member out_len 1 height width"],
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """The mean of the members' rain rates, as pixels."""
        return mean_of_rates(members, self.calibration)

    def _drawn(
        self, frames: Tensor, mask: Tensor | None, count: int, seed: int
    ) -> Iterator[Float[Tensor, "member out_len 1 height width"]]:
        if frames.shape[1] < max(2, NEEDS[self.method]):
            raise ConfigError(
                f"{self.method} needs {max(2, NEEDS[self.method])} input frames, found "
                f"{frames.shape[1]}; raise data.in_len"
            )
        pixels, data = with_data(frames, mask)
        drawing = {"n_ens_members": count, "seed": seed} if self.method == "steps" else {}
        for clip, seen in zip(pixels[:, :, 0].cpu(), data[:, :, 0].cpu(), strict=True):
            found = self._clip(clip.numpy(), seen.numpy(), drawing)
            members = np.broadcast_to(found, (count, *found.shape[1:])).astype(np.float32)
            yield torch.from_numpy(members)[:, :, None]

    def _clip(
        self, pixels: NDArray[np.float32], seen: NDArray[np.bool_], drawing: Mapping[str, int]
    ) -> Float[np.ndarray, "members out_len height width"]:
        newest = newest_with_data(seen)
        late = len(seen) - 1 - newest
        pixels, seen = _without_gaps(pixels[: newest + 1], seen[: newest + 1])
        last = np.where(seen[-1], pixels[-1], 0)
        unknown = last if self.inflow == "persist" else np.zeros_like(last)
        rate = np.where(seen, self.calibration.rate_from_pixel(pixels), np.nan)
        if not bool((rate[-1] >= WET_MM_H).any()):
            return np.zeros((1, self.out_len, *last.shape), np.float32)
        known = np.where(seen, pixels, np.nan)
        members = self._nowcast(known, rate, self.out_len + late, drawing)[:, late:]
        return np.where(np.isfinite(members), members, unknown)

    def _nowcast(
        self,
        pixels: NDArray[np.float32],
        rate: NDArray[np.float64],
        steps: int,
        drawing: Mapping[str, int],
    ) -> Float[np.ndarray, "members out_len height width"]:
        """Pixels, NaN where the method has none."""
        dbr = _dbr_from_rate(rate)
        replacements: list[str] = []
        motion = self._motion(pixels, dbr, replacements)
        found = None
        if self.method != "extrapolation":
            next_pixels = self._carried(pixels[-1], motion, 1, [])[0]
            settings = {**self._settings, **drawing}
            found = self._autoregressive(
                rate, dbr, motion, steps, settings, next_pixels, replacements
            )
        if found is None:
            found = self._carried(pixels[-1], motion, steps, replacements)[None]
        if replacements:
            self.replaced += 1
            for replacement in replacements:
                warnings.warn(
                    f"{self.method}: a clip was forecast by {replacement}",
                    ResultWarning,
                    stacklevel=2,
                )
        return found

    def _motion(
        self, pixels: NDArray[np.float32], dbr: NDArray[np.float64], replacements: list[str]
    ) -> Float[np.ndarray, "2 height width"]:
        """Lucas-Kanade's motion, or OpenCV's flow where it fails."""
        shape = (2, *dbr.shape[1:])
        try:
            with _quiet():
                motion = np.asarray(self._pysteps.motion(dbr[-MOTION_FRAMES:]))
            if motion.shape == shape and bool(np.isfinite(motion).all()):
                return motion
            reason = "it gave no motion in numbers"
        except Exception as error:  # whatever its feature tracking stumbles on
            reason = _named(error)
        replacements.append(f"OpenCV's flow, because pysteps' Lucas-Kanade failed: {reason}")
        seen = np.isfinite(pixels)
        return motion_field(np.where(seen, pixels, 0), seen).astype(np.float64)

    def _carried(
        self,
        last: NDArray[np.float32],
        motion: NDArray[np.float64],
        steps: int,
        replacements: list[str],
    ) -> Float[np.ndarray, "steps height width"]:
        """The last frame along the motion, NaN where nothing known arrives."""
        try:
            with _quiet():
                carried = np.asarray(self._pysteps.extrapolation(last, motion, steps))
            if carried.shape == (steps, *last.shape):
                return carried
            reason = f"it gave the shape {carried.shape}"
        except Exception as error:
            reason = _named(error)
        replacements.append(f"our own advection, because pysteps' extrapolation failed: {reason}")
        frame = torch.from_numpy(last)[None, None].float()
        rain, known = advect(
            frame.nan_to_num(),
            frame.isfinite(),
            torch.from_numpy(motion)[None].float(),
            range(1, steps + 1),
        )
        return np.where(known[0, :, 0].numpy(), rain[0, :, 0].numpy(), np.nan)

    def _autoregressive(
        self,
        rate: NDArray[np.float64],
        dbr: NDArray[np.float64],
        motion: NDArray[np.float64],
        steps: int,
        settings: Mapping[str, Any],
        next_pixels: NDArray[np.floating[Any]],
        replacements: list[str],
    ) -> Float[np.ndarray, "members out_len height width"] | None:
        """None where there is no such forecast; the reason is then among the replacements."""
        needed = NEEDS[self.method]
        reason = f"too little rain in its last {needed} frames leaves the autoregression undefined"
        found = None
        if bool((rate[-needed:] >= WET_MM_H).any(axis=(1, 2)).all()):
            frames = (rate if self.method == "anvil" else dbr)[-needed:]
            try:
                with _quiet():
                    found = np.asarray(self._pysteps.nowcast(frames, motion, steps, **settings))
            except Exception as error:  # too little rain for it, a fault of its, too little memory
                reason = f"pysteps failed: {_named(error)}"
        if found is not None:
            forecast = found if self.method == "anvil" else _rate_from_dbr(found)
            forecast = forecast if forecast.ndim == 4 else forecast[None]
            fault = self._fault(forecast, (steps, *rate.shape[1:]), rate[-needed:], next_pixels)
            if fault is None:
                # ANVIL's growth may undershoot zero. NaN must stay NaN, which a pixel cannot.
                pixel = self.calibration.pixel_from_rate(np.fmax(forecast, 0))
                return np.where(np.isfinite(forecast), pixel, np.nan)
            reason = f"pysteps' own forecast {fault}"
        replacements.append(f"extrapolation, because {reason}")
        return None

    def _fault(
        self,
        forecast: NDArray[np.float64],
        shape: tuple[int, ...],
        rate: NDArray[np.float64],
        next_pixels: NDArray[np.floating[Any]],
    ) -> str | None:
        """What makes rain rates no forecast, in words; None where nothing does."""
        if forecast.shape[1:] != shape:
            return f"has the shape {forecast.shape[1:]}, not {shape}"
        if bool(np.isinf(forecast).any()):
            return "holds infinity"
        if not bool(np.isfinite(forecast).any()):
            return "holds no number"
        arriving = self.calibration.rate_from_pixel(np.nan_to_num(next_pixels)) >= WET_MM_H
        if bool(arriving.any()):
            first = forecast[:, 0][:, arriving]
            if not bool(np.isfinite(first).any()):
                return "holds no number where rain arrives"
            if not bool((np.nan_to_num(forecast[:, 0]) >= WET_MM_H).any()):
                return "is dry though the last frame is not"
        if float(np.nanmax(forecast)) > MOST_GROWTH * float(np.nanmax(rate)):
            return f"is more than {MOST_GROWTH} times the largest rate of its input"
        return None


def _without_gaps(
    pixels: NDArray[np.float32], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A frame without data repeats the one before it, and at the start the one after."""
    present = np.flatnonzero(seen.any(axis=(1, 2)))
    if not len(present):
        return pixels, seen
    before = np.searchsorted(present, np.arange(len(seen)), side="right") - 1
    source = present[np.maximum(before, 0)]
    return pixels[source], seen[source]


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0].rstrip(": ")


def _dbr_from_rate(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    wet = 10 * np.log10(np.maximum(rate, WET_MM_H))  # NaN stays NaN
    return np.where(rate < WET_MM_H, DRY_DBR, wet)


def _rate_from_dbr(dbr: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(dbr < WET_DBR, 0.0, 10 ** (dbr / 10))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # It prints its settings on stdout, and warns of means over pixels that are all NaN.
    with (
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("ignore")
        yield


def _imported(method: str) -> _Pysteps:
    try:
        with _quiet():
            motion = importlib.import_module("pysteps.motion.lucaskanade")
            extrapolation = importlib.import_module("pysteps.nowcasts.extrapolation")
            nowcast = importlib.import_module(f"pysteps.nowcasts.{method}")
    except ImportError as error:
        raise ConfigError(
            f"{method}: expected the optional package pysteps, found none ({error}); install it "
            'with `pip install "memel-nowcast[pysteps]"`'
        ) from error
    return _Pysteps(motion.dense_lucaskanade, extrapolation.forecast, nowcast.forecast)


def _settings(method: PystepsMethod, step_minutes: int, km_per_pixel: float) -> dict[str, Any]:
    """What a method must be told beyond pysteps' defaults."""
    if method == "sprog":
        return {"precip_thr": WET_DBR}
    if method == "steps":
        return {
            "precip_thr": WET_DBR,
            "kmperpixel": km_per_pixel,
            "timestep": step_minutes,
        }
    return {}
