"""What an exported file holds of a forecaster: a module, its inputs and what they mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nowcast.precipitation.units import PIXEL_LEVELS

LEAST_RAIN = 0.17  # pixel of 0.1 mm/h; radars tell no less

Make = Callable[[int, int, int], Tensor]  # batch, height, width -> an input

Side = Any  # of a frame: int, or torch.SymInt while a graph is traced


@dataclass(frozen=True)
class Graph:
    """What is exported of a forecaster.

    Args:
        module: in evaluation mode, from the inputs to the forecast; while it is traced
            (`torch.compiler.is_exporting`) it uses operations for frames of any size alone.
        inputs: makes an input of each name for a batch, height and width; batch is the first axis
            of each, height and width are the last two of those with as many.
        meaning: what each of them is, in words.
        multiple: what the network's own frames are multiples of.
        zr: what the a and b of the pixels' Z-R relation are, in words.
        apart: share of pixels that may be further than the tolerance from the module's forecast.
    """

    module: nn.Module
    inputs: Mapping[str, Make]
    meaning: Mapping[str, str]
    multiple: int
    zr: str = "a and b of the archive it was trained on"
    apart: float = 0.0

    @property
    def least_side(self) -> int:
        """Height and width from which on the graph holds: more than one cell at the coarsest."""
        return self.multiple + 1

    def example(self, batch: int, height: int, width: int) -> tuple[Tensor, ...]:
        """An input of each name, of rain made up."""
        return tuple(make(batch, height, width) for make in self.inputs.values())


def lacking(side: Side, multiple: int) -> Side:
    """How many pixels a side lacks to the next multiple."""
    # torch.export takes no remainder of a negative number.
    return (side + multiple - 1) // multiple * multiple - side


def cut(frames: Tensor, height: Side, width: Side) -> Tensor:
    """The upper left of frames; a copy in a graph, where a view's strides would tell padded sizes
    from others."""
    if not torch.compiler.is_exporting():
        return frames[..., :height, :width]
    rows, columns = indices(height, frames), indices(width, frames)
    return frames.index_select(-2, rows).index_select(-1, columns)


def indices(side: Side, like: Tensor) -> Tensor:
    """0, 1 and so on along a side, whole numbers, where `like` is: on whatever device a graph runs,
    where `torch.arange` would keep the one that it was traced on."""
    if not torch.compiler.is_exporting():
        return torch.arange(side, device=like.device)
    return like.new_ones(side, dtype=torch.int64).cumsum(0) - 1


def example_frames(in_len: int) -> Make:
    """Blobs of rain that move, in a radar's levels, with dry areas between them."""
    return partial(_frames, in_len)


def _frames(in_len: int, batch: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * width)
    noise = torch.rand(batch, 1, height + in_len, width + in_len, generator=generator)
    smooth = functional.avg_pool2d(noise, 9, stride=1, padding=4, count_include_pad=False)
    rain = (8 * (smooth - 0.45)).clamp(0, 1).mul(PIXEL_LEVELS).round() / PIXEL_LEVELS
    rain = rain.where(rain >= LEAST_RAIN, 0.0)
    steps = range(in_len, 0, -1)
    return torch.stack([rain[..., n : n + height, n : n + width] for n in steps], dim=1)


def example_mask(in_len: int) -> Make:
    """Data everywhere but in the upper left corner."""
    return partial(_mask, in_len)


def _mask(in_len: int, batch: int, height: int, width: int) -> Tensor:
    mask = torch.ones(batch, in_len, 1, height, width, dtype=torch.bool)
    mask[..., : height // 8, : width // 4] = False
    return mask


def example_motion(batch: int, height: int, width: int) -> Tensor:
    """One to the right and down a step, as `example_frames` move, and a little that is not."""
    columns = torch.linspace(0.9, 1.2, width).expand(batch, 1, height, width)
    return torch.cat([columns, columns.flip(-1)], dim=1)


def example_scale(batch: int, height: int, width: int) -> Tensor:
    """Six minutes a step, as HKO-7, on pixels of a size that is not told."""
    return torch.tensor([6.0, 0.0]).expand(batch, 2).clone()
