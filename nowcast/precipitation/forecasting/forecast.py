"""Forecasts by a trained run or a baseline, from inputs alone."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor, nn

from nowcast import __version__
from nowcast.core.errors import ConfigError, RunError
from nowcast.core.storage.runs import Run
from nowcast.core.system.devices import arithmetic, pick_device
from nowcast.core.system.distributed import current
from nowcast.core.terminal.result_warnings import collected
from nowcast.precipitation.archive.description import Description
from nowcast.precipitation.clips.trained_on import TrainedOn, trained_on
from nowcast.precipitation.forecasters.baselines import KM_PER_PIXEL, Setting, baseline
from nowcast.precipitation.forecasters.comoving.forecaster import Comoving
from nowcast.precipitation.forecasters.scale import Scale
from nowcast.precipitation.forecasters.settings import Ensemble
from nowcast.precipitation.forecasting.frames_needed import least_of_baseline, least_of_run
from nowcast.precipitation.forecasting.inputs import Frame, Inputs, MaskKind
from nowcast.precipitation.forecasting.probabilities.members import (
    Draw,
    Members,
    check_room,
    drawn,
    ensemble_of,
    members_bytes,
)
from nowcast.precipitation.forecasting.products.result import Forecast, Observed
from nowcast.precipitation.forecasting.trained import trained_forecaster
from nowcast.precipitation.settings import PrecipitationSettings
from nowcast.precipitation.units import PIXEL_LEVELS

BASE_BYTES = 400 * 2**20  # Python, torch and what they load
FRAME_BYTES = 5  # of a pixel of an input frame, read in single precision with its mask
SAID_BYTES = 2**30
# Less is no rain: the least rate of most radar products, and what pysteps cuts off at.
DRY_MM_H = 0.1


@dataclass(frozen=True)
class Choice:
    """Which forecaster.

    Args:
        name: what it is called: of a run the name of its folder.
        settings: of the run; of a baseline the defaults, whose `in_len` it is given.
        run: where the weights are; None is the baseline of that name.
    """

    name: str
    settings: PrecipitationSettings
    run: Run | None = None

    @property
    def in_len(self) -> int:
        """Frames it takes."""
        return self.settings.data.in_len

    @cached_property
    def least_in_len(self) -> int:
        """The fewest frames that it can forecast from; raises RunError as `least_of_run`."""
        if self.run is None:
            return min(least_of_baseline(self.name), self.in_len)
        return least_of_run(self.run, self.settings.data)

    @property
    def masks(self) -> MaskKind:
        """The masks that it knows."""
        return self.settings.data.masks


class Forecaster:
    """Makes forecasts of one archive, by weights that are loaded when it first rains.

    A network forecasts as many leads as are asked for, on frames of any size, whatever it was
    trained on; `notes` says where that differs.

    Args:
        choice: which weights or baseline.
        description: of the archive, see `inputs.FrameSource`.
        lead_minutes: how far ahead, rounded up to a whole step; None is as many steps as the run
            was trained for.
        members: how many members of an ensemble; None: one forecast.
        seed: of what is random in the members.

    Raises:
        ConfigError: no such baseline, the lead is not positive, there is no GPU as
            ``train.device`` says, or so many members do not fit into memory.
    """

    def __init__(
        self,
        choice: Choice,
        description: Description,
        lead_minutes: float | None = None,
        *,
        members: int | None = None,
        seed: int = 0,
    ) -> None:
        if lead_minutes is not None and not 0 < lead_minutes < np.inf:
            raise ConfigError(f"--lead: expected more than 0 minutes, found {lead_minutes:g}")
        self.choice = choice
        self.description = description
        step, trained = description.step_minutes, choice.settings.data.out_len
        self.out_len = trained if lead_minutes is None else ceil(lead_minutes / step)
        self.device = pick_device(choice.settings.train.device, current())
        self._draw = None if members is None else Draw(members, seed)
        if self._draw is not None:
            rest = memory_bytes(choice, description, self.out_len) or BASE_BYTES
            check_room(self._draw, self.out_len, description.height, description.width, rest)
        self._baseline = None
        if choice.run is None:
            self._baseline = baseline(choice.name, Setting(self.out_len, description))
        self._calibration = description.calibration
        self._rate_of_level = self._calibration.rate_by_level()

    @cached_property
    def model(self) -> nn.Module:
        """The model with its weights, in evaluation mode; raises RunError as `load_weights`."""
        model = self._baseline
        if model is None:
            assert self.choice.run is not None
            model = trained_forecaster(
                self.choice.run,
                self.choice.settings,
                self.out_len,
                self._calibration,
                Scale.of(self.description),
            )
        return model.eval().to(self.device)

    @cached_property
    def _ensemble(self) -> Ensemble | None:
        """The model with the members asked for, None where none are; raises ConfigError as
        `ensemble_of`."""
        if self._draw is None:
            return None
        return ensemble_of(self.model, self.choice.name, self._draw, self.choice.in_len)

    def load(self) -> None:
        """Read the weights now, so that a mistake in them is told before it rains."""
        _ = self.model, self.facts, self._ensemble

    def forecast(self, inputs: Inputs, read_seconds: float = 0.0) -> Forecast:
        """The forecast from these inputs; dry, without the model, where all of them are.

        Args:
            inputs: as many as `choice.in_len`, or fewer, from `choice.least_in_len` on.
            read_seconds: how long it took to read them, for the facts.

        Raises:
            ConfigError: it has no members, or not so many as are asked for.
            RunError: the weights cannot be loaded, or give no numbers, or these inputs are too few
                for so many members.
        """
        seconds = {"read": read_seconds}
        ensemble, members = self._ensemble, None
        dry = not any(
            bool((mask & self._wet(levels)).any())
            for mask, levels in zip(inputs.mask, inputs.levels, strict=True)
        )
        replaced: list[str] = []
        if dry:
            size = (self.out_len, *inputs.levels.shape[1:])
            pixels = np.zeros(size, dtype=np.float32)
            if self._draw is not None:
                dry_members = np.broadcast_to(pixels, (self._draw.count, *size))
                members = Members(dry_members, self._draw.seed)
        else:
            began = time.perf_counter()
            model = self.model
            seconds["load"] = time.perf_counter() - began
            began = time.perf_counter()
            with collected() as replaced:
                if ensemble is None or self._draw is None:
                    pixels = self._pixels(model, inputs)
                else:
                    levels, mask = self._clips(inputs)
                    name = self.choice.name
                    pixels, members = drawn(ensemble, name, _floats(levels), mask, self._draw)
            seconds["forecast"] = time.perf_counter() - began
        facts = {
            **self.facts,
            "inputs": [str(moment) for moment in inputs.times],
            "carried": dict(inputs.carried),
            "passed_over": dict(inputs.passed_over),
            "suspect": dict(inputs.suspect),
            "masks": inputs.masks,
            "dry_input": dry,
            "replaced": replaced,
            "notes": [*self.notes, *inputs.notes, *([_DRY] if dry else []), *replaced],
            "seconds": {part: round(taken, 3) for part, taken in seconds.items()},
        }
        return Forecast(
            inputs.init,
            pixels,
            inputs.mask[-1],
            self.description,
            self.choice.name,
            facts,
            members,
            Observed.of(inputs),
        )

    def _wet(self, frame: Frame) -> Bool[np.ndarray, "height width"]:
        """Where it rains."""
        if frame.dtype == np.uint8:
            return np.asarray((self._rate_of_level >= DRY_MM_H)[frame])
        return np.asarray((frame > 0) & (frame >= self._calibration.pixel_from_rate(DRY_MM_H)))

    def _clips(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Levels and mask of the inputs, on the model's device."""
        return _clip(inputs.levels).to(self.device), _clip(inputs.mask).to(self.device)

    def _pixels(self, model: nn.Module, inputs: Inputs) -> Float32[np.ndarray, "lead height width"]:
        levels, mask = self._clips(inputs)
        with torch.inference_mode(), arithmetic():
            if not isinstance(model, Comoving):  # which has no room for floats of large frames
                levels = _floats(levels)
            found: Tensor = model(levels, mask)[0, :, 0].cpu()
        if not bool(found.isfinite().all()):
            raise RunError(
                f"{self.choice.name}: expected a forecast in numbers, found NaN or infinity; "
                "choose other weights"
            )
        # A new tensor would not fit beside a large forecast.
        return np.clip(found.numpy(), 0, 1, out=found.numpy())

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """What holds for every forecast that it makes."""
        choice, data = self.choice, self.choice.settings.data
        about: dict[str, Any] = {"weights": None}
        if choice.run is not None:
            weights, seen = choice.run.best_weights, self._seen
            about = {
                "weights": str(weights),
                "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
                "trained_in_len": data.in_len,
                "trained_out_len": data.out_len,
                "trained_step_minutes": seen.step_minutes if seen else None,
                "trained_steps_minutes": list(seen.steps_minutes) if seen else None,
                "trained_pixel_km": list(seen.pixel_km) if seen and seen.pixel_km else None,
                "trained_crop": data.crop_bounds,
                "padded_to": self._padded_to,
            }
        if self._draw is not None:
            about |= {"members": self._draw.count, "seed": self._draw.seed}
        return {
            **about,
            "lead_minutes": self.out_len * self.description.step_minutes,
            "beyond_training": self._beyond is not None,
            "memory_bytes": self.memory_bytes,
            "device": self.device.type,
            "nowcast": __version__,
            "credit": self.description.credit,
        }

    @cached_property
    def memory_bytes(self) -> int | None:
        """About how much memory a forecast takes, reading and writing included; None where it is
        not known: of pysteps' methods and of networks other than the comoving one."""
        found = memory_bytes(self.choice, self.description, self.out_len)
        if found is None or self._draw is None:
            return found
        pixels = self.description.height * self.description.width
        return found + members_bytes(self._draw.count, self.out_len, pixels)

    @property
    def memory_note(self) -> str | None:
        """What a user must know of it before a forecast begins."""
        needed = self.memory_bytes
        if needed is None or needed < SAID_BYTES:
            return None
        size = f"{self.description.height}x{self.description.width}"
        members = "" if self._draw is None else f" of {self._draw.count} members"
        return (
            f"{self.choice.in_len} frames of {size} in and {self.out_len} out{members} take about "
            f"{needed / 2**30:.1f} GiB of memory"
        )

    @property
    def notes(self) -> list[str]:
        """What a user must know of every forecast that it makes, a sentence each."""
        memory = [] if self.memory_note is None else [self.memory_note]
        if self.choice.run is None:
            return [*memory, *self._baseline_notes]
        data = self.choice.settings.data
        height, width = self.description.height, self.description.width
        found = memory
        if self._beyond is not None:
            found.append(self._beyond)
        found += self._unlike_training
        if data.crop_bounds is not None:
            found.append(
                f"{self.choice.name} was trained on a crop, {list(data.crop_bounds)}; the forecast "
                f"is of the whole {height}x{width} frame"
            )
        if self._padded_to is not None:
            found.append(
                f"{height}x{width} frames are padded with dry pixels to {self._padded_to[0]}x"
                f"{self._padded_to[1]} for the network, and its forecast is cut back"
            )
        memel = self.choice.settings.memel
        if memel is not None and memel.in_eval:
            found.append("MEmeL takes no part: its statistics are of frames of the training size")
        return found

    @property
    def _baseline_notes(self) -> list[str]:
        if self.choice.name.partition(":")[0] != "steps" or self.description.grid is not None:
            return []
        return [
            f"{self.choice.name}: the archive states no grid, so that a pixel is taken for "
            f"{KM_PER_PIXEL:g} km; state it in archive.json"
        ]

    @cached_property
    def _seen(self) -> TrainedOn | None:
        """What radar it was trained on; None where nothing says so."""
        assert self.choice.run is not None
        return trained_on(self.choice.run, self.choice.settings.data)

    @property
    def _beyond(self) -> str | None:
        """Where it forecasts further than it was trained to."""
        if self.choice.run is None:
            return None
        return beyond(self.choice, self._seen, self.out_len)

    @property
    def _unlike_training(self) -> list[str]:
        """Where this archive differs from what it was trained on."""
        name, root = self.choice.name, self.choice.settings.data.root
        if self._seen is None:
            if root is None:
                return []
            return [
                f"whether {name} was trained on frames as far apart as these is not known: its "
                f"archive {root} is not there"
            ]
        return self._seen.notes(name, self.description)

    @property
    def _padded_to(self) -> tuple[int, int] | None:
        multiple = self.choice.settings.model.multiple
        height, width = self.description.height, self.description.width
        padded = (height + -height % multiple, width + -width % multiple)
        return None if padded == (height, width) else padded


def beyond(choice: Choice, seen: TrainedOn | None, steps: int) -> str | None:
    """A sentence where so many steps are more than a run was trained for; None otherwise."""
    longest = choice.settings.data.out_len if seen is None else max(seen.out_lens)
    if steps <= longest:
        return None
    return f"{steps} steps ahead is beyond the {longest} that {choice.name} was trained for"


def memory_bytes(choice: Choice, description: Description, out_len: int) -> int | None:
    """See `Forecaster.memory_bytes`."""
    in_len, pixels = choice.in_len, description.height * description.width
    shape = (1, in_len, 1, description.height, description.width)
    read = BASE_BYTES + FRAME_BYTES * in_len * pixels
    if choice.run is None:
        if choice.name.partition(":")[0] not in ("flow", "persistence", "lagged-flow"):
            return None
        return read + (8 * in_len + 12 * out_len + 60) * pixels
    needed = choice.settings.model.memory_bytes(shape, out_len)
    return None if needed is None else read + needed


_DRY = f"no rain of {DRY_MM_H:g} mm/h in any input frame: the forecast is dry, without the model"


def _floats(levels: Tensor) -> Tensor:
    """Frames as pixels in [0, 1], see `Inputs.levels`."""
    return levels.float() / PIXEL_LEVELS if levels.dtype == torch.uint8 else levels


def _clip(frames: np.ndarray) -> Tensor:
    """One clip as a model takes it: ``1 in_len 1 height width``."""
    return torch.from_numpy(frames)[None, :, None]
