"""The members of a forecast: who has them, whether they fit into memory, how they are drawn."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from nowcast.core.errors import ConfigError, RunError
from nowcast.core.system.devices import arithmetic
from nowcast.core.system.machine import available_bytes
from nowcast.core.terminal.result_warnings import collected
from nowcast.precipitation.forecasters.settings import Ensemble, as_ensemble

TRIED_PX = 32  # side of the dry frames that show whether a count can be had
# Of each pixel of each member and lead time: the members, their copy in a batch, the copies that
# become a file; and of each pixel of each member the rates and orders of one lead time.
BYTES_A_LEAD, BYTES_A_MEMBER = 4 * 4, 40
GIB = 2**30


@dataclass(frozen=True)
class Members:
    """Forecasts of equal probability.

    Args:
        pixels: in [0, 1].
        seed: that they were drawn with.
    """

    pixels: Float32[np.ndarray, "member lead height width"]
    seed: int


@dataclass(frozen=True)
class Draw:
    """How many members, and from which seed.

    Raises:
        ConfigError: fewer than 2 members, or a seed below 0.
    """

    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ConfigError(
                f"members: expected 2 or more, found {self.count}; leave it out for one forecast"
            )
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"seed: expected 0 to 2147483647, found {self.seed}")


def members_bytes(count: int, out_len: int, pixels: int) -> int:
    """About what members and what is made of them take beside a forecast without, bytes."""
    return count * pixels * (BYTES_A_LEAD * out_len + BYTES_A_MEMBER)


def check_room(draw: Draw, out_len: int, height: int, width: int, rest: int) -> None:
    """Raise ConfigError where so many members of so large a frame do not fit into memory.

    Args:
        draw: how many.
        out_len: lead times.
        height: of a frame.
        width: of a frame.
        rest: what the forecast takes without members, bytes.
    """
    free = available_bytes()
    needed = rest + members_bytes(draw.count, out_len, height * width)
    if free is None or needed <= free:
        return
    fitting = max(0, free - rest) // members_bytes(1, out_len, height * width)
    fewer = f"--members {fitting}, " if fitting >= 2 else ""
    raise ConfigError(
        f"members: {draw.count} members of {out_len} lead times of {height}x{width} pixels take "
        f"about {needed / GIB:.1f} GiB of memory, found {free / GIB:.1f} GiB free; ask for "
        f"{fewer}a shorter --lead, or forecast a part of the frame (`nowcast data convert --crop`)"
    )


def ensemble_of(model: nn.Module, name: str, draw: Draw, in_len: int) -> Ensemble:
    """The model as an ensemble that can have so many members.

    Args:
        model: the forecaster.
        name: what it was asked for as.
        draw: how many members.
        in_len: input frames that it takes.

    Raises:
        ConfigError: it has no members, or not so many.
    """
    ensemble = as_ensemble(model)
    if ensemble is None:
        raise ConfigError(
            f"members: expected a forecaster with members, found {name}, which has one forecast; "
            "choose comoving-ensemble, lagged-flow (at most 6 members), steps (with pysteps), or "
            "leave members out"
        )
    dry = torch.zeros(1, in_len, 1, TRIED_PX, TRIED_PX)
    with collected(), torch.inference_mode():  # a count that cannot be is told before it rains
        ensemble.members(dry.to(_device(model)), None, count=draw.count, seed=draw.seed)
    return ensemble


def drawn(
    ensemble: Ensemble, name: str, frames: Tensor, mask: Tensor, draw: Draw
) -> tuple[Float32[np.ndarray, "lead height width"], Members]:
    """The forecast of one clip that stands for its members, and these; pixels in [0, 1].

    Args:
        ensemble: draws them.
        name: what it was asked for as.
        frames: pixels in [0, 1], ``1 in_len 1 height width``.
        mask: True where there is data.
        draw: how many, from which seed.

    Raises:
        RunError: these frames are too few for so many, or the forecast is no number.
    """
    with torch.inference_mode(), arithmetic():
        try:
            found = ensemble.members(frames, mask, count=draw.count, seed=draw.seed)
        except ConfigError as error:  # of these frames: others may be enough
            raise RunError(str(error)) from error
        single = ensemble.single(found, frames, mask)[0, :, 0].cpu()
        members = found[0, :, :, 0].cpu()
    if not bool(members.isfinite().all()):
        raise RunError(
            f"{name}: expected members in numbers, found NaN or infinity; choose other weights"
        )
    held = members.numpy()
    np.clip(held, 0, 1, out=held)
    return single.numpy().clip(0, 1), Members(held, draw.seed)


def _device(model: nn.Module) -> torch.device:
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device
