"""The encoder-forecaster: stages of convolution and recurrence down, and the same way up again."""

from collections.abc import Sequence
from math import prod
from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.compiler import is_compiling
from torch.nn import functional

from nowcast.core.settings import Count, Section
from nowcast.precipitation.forecasters.cells.cell import LEAK, Cell, State, each
from nowcast.precipitation.forecasters.cells.convgru import ConvGRU
from nowcast.precipitation.forecasters.cells.convlstm import ConvLSTM
from nowcast.precipitation.forecasters.cells.trajgru import TrajGRU
from nowcast.precipitation.forecasters.graph import Graph, cut, example_frames, lacking
from nowcast.precipitation.forecasters.settings import ForecasterSettings
from nowcast.precipitation.units import Calibration

CellName = Literal["convgru", "trajgru", "convlstm"]
CELLS = get_args(CellName)

Conv = tuple[Count, Count, Annotated[int, Field(ge=0)]]
"""Kernel, stride and padding."""


class Stage(Section):
    """One resolution of the encoder-forecaster."""

    channels: Count
    """Out of the encoder's downsampling convolution."""
    hidden: Count
    """Channels of the recurrent state, in encoder and forecaster."""
    kernel: Count
    """Side of the state-to-state kernel, odd; a TrajGRU has links instead."""
    down: Conv
    """The encoder's convolution into this stage."""
    up: Conv
    """The forecaster's deconvolution out of it."""
    links: Count = 13
    """Flow fields of a TrajGRU; the other cells have none."""

    @property
    def stride(self) -> int:
        """By how much this stage shrinks its input."""
        return self.down[1]

    @model_validator(mode="after")
    def _invertible(self) -> "Stage":
        kernel, stride, padding = self.down
        # Sides that are multiples of the stride must shrink by exactly it, and grow back.
        side = 12 * stride
        if (side + 2 * padding - kernel) // stride + 1 != side // stride:
            raise ValueError(
                f"down {list(self.down)}: a side of {side} must become {side // stride}; "
                "kernel - 2 * padding must be 1 to stride"
            )
        kernel, up_stride, padding = self.up
        if up_stride != stride or kernel - 2 * padding != stride:
            raise ValueError(
                f"up {list(self.up)}: must undo down {list(self.down)}: the same stride, and "
                "kernel - 2 * padding equal to it"
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: expected an odd side, found {self.kernel}")
        return self


# Wang et al. 2024 on a 120x120 crop, as released: 13,775,137 parameters with ConvGRUs. The links
# are those of HKO-7's TrajGRU (Shi et al. 2017).
PAPER_STAGES = (
    Stage(channels=8, hidden=64, kernel=5, down=(7, 5, 1), up=(7, 5, 1)),
    Stage(channels=64, hidden=192, kernel=5, down=(5, 3, 1), up=(5, 3, 1)),
    Stage(channels=192, hidden=192, kernel=3, down=(3, 2, 1), up=(4, 2, 1), links=9),
)


class EncoderForecaster(nn.Module):
    """Recurrent encoder-forecaster (Shi et al. 2017, figure 1b).

    The encoder reads the input frames; its last states start the forecaster, whose coarsest stage
    has no input and each finer one the upsampled output of the coarser. Guided, the coarsest stage
    has one: a guide, i.e. a frame for each lead time, through convolutions like the encoder's.

    Args:
        stages: from the finest to the coarsest.
        out_len: frames to forecast.
        activate_convolutions: see `ConvGRU`; the other cells have no such thing.
        cell: which recurrent cell.
        guided: whether forecasts need a guide.
        channels_out: maps per lead time; one is a frame.

    Shape:
        ``batch in_len 1 height width`` -> ``batch out_len channels_out height width``, pixels in
        [0, 1] (outputs are not clipped). In training, height and width must be multiples of
        `multiple`; in evaluation other sizes are padded with dry pixels below and to the right and
        cut back.

    Raises:
        ValueError: in training, a frame size that is no multiple of `multiple`.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        out_len: int,
        activate_convolutions: bool = True,
        cell: CellName = "convgru",
        guided: bool = False,
        channels_out: int = 1,
    ) -> None:
        super().__init__()
        self.guided = guided
        self.out_len = out_len
        self.multiple = prod(stage.stride for stage in stages)
        self.down = nn.ModuleList()
        self.encoder = nn.ModuleList()
        self.forecaster = nn.ModuleList()
        self.up = nn.ModuleList()

        def recurrent(channels: int | None, stage: Stage) -> Cell:
            if cell == "trajgru":
                return TrajGRU(channels, stage.hidden, stage.links)
            if cell == "convlstm":
                return ConvLSTM(channels, stage.hidden, stage.kernel)
            if channels is not None:
                return ConvGRU(channels, stage.hidden, stage.kernel, activate_convolutions)
            # Its input's weights take part in nothing. They stand here because the published model
            # has them; without a gradient they cost nothing.
            idle = ConvGRU(stage.hidden, stage.hidden, stage.kernel, activate_convolutions)
            idle.input_conv.weight.requires_grad_(False)
            return idle

        guide_channels = stages[-1].channels if guided else None
        below = 1
        for position, stage in enumerate(stages):
            above = stages[position + 1].hidden if position + 1 < len(stages) else guide_channels
            upsampled = stage.hidden if position else stage.channels
            self.down.append(_conv(below, stage.channels, stage.down))
            self.encoder.append(recurrent(stage.channels, stage))
            self.forecaster.append(recurrent(above, stage))
            self.up.append(_deconv(stage.hidden, upsampled, stage.up))
            below = stage.hidden
        self.head = nn.Conv2d(stages[0].channels, channels_out, 1)
        if guided:
            channels = (1, *(stage.channels for stage in stages))
            self.guide = nn.Sequential(
                *(
                    _conv(before, stage.channels, stage.down)
                    for before, stage in zip(channels, stages, strict=False)
                )
            )
        # Convolutions of few channels run faster with the channels innermost, on CPU and GPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        frames: Float[Tensor, "batch in_len 1 height width"],
        mask: Bool[Tensor, "batch in_len 1 height width"] | None = None,
        guide: Float[Tensor, "batch out_len 1 height width"] | None = None,
    ) -> Float[Tensor, "batch out_len channels_out height width"]:
        """Forecast `out_len` frames; the network sees masked pixels as they stand."""
        assert self.guided == (guide is not None)
        height, width = frames.shape[-2:]
        states = self._encode(self._padded(frames).transpose(0, 1))
        sequence = None
        if guide is not None:
            sequence = each(self.guide, self._padded(guide).transpose(0, 1))
        return cut(self._forecast(states, sequence).transpose(0, 1), height, width)

    def _padded(self, frames: Tensor) -> Tensor:
        height, width = frames.shape[-2:]
        down, right = lacking(height, self.multiple), lacking(width, self.multiple)
        # A graph is of all sizes, so that there zero rows are padding too.
        if not (torch.compiler.is_exporting() or down or right):
            return frames
        if self.training:
            raise ValueError(
                f"frames of {height}x{width} are no multiple of the model's strides, "
                f"{self.multiple}; train on a crop that is"
            )
        return functional.pad(frames, (0, right, 0, down))

    def gradient_checkpointing_enable(self, _: object = None) -> None:
        """In training keep of each time step the state alone; see `Cell.recompute`. The name and
        the argument are those of transformers."""
        for cell in (*self.encoder, *self.forecaster):
            assert isinstance(cell, Cell)
            cell.recompute = True

    def _encode(self, sequence: Tensor) -> list[State]:
        states: list[State] = []
        for down, cell in zip(self.down, self.encoder, strict=True):
            sequence = each(down, sequence)
            sequence, state = cell(sequence, None, len(sequence))
            states.append(state)
        return states

    def _forecast(self, states: list[State], sequence: Tensor | None) -> Tensor:
        for state, cell, up in zip(
            reversed(states), reversed(self.forecaster), reversed(self.up), strict=True
        ):
            hidden, _ = cell(sequence, state, self.out_len)
            sequence = each(up, hidden)
        assert sequence is not None
        return each(self.head, sequence)


class _Deconv(nn.ConvTranspose2d):
    """With its bias's gradient taken apart: oneDNN takes as long for it as for the weights'."""

    def forward(self, frames: Tensor, output_size: list[int] | None = None) -> Tensor:
        """As its base, for the output size that its settings give."""
        if not torch.is_grad_enabled() or is_compiling():
            return super().forward(frames, output_size)
        assert output_size is None and self.bias is not None
        device = frames.device.type
        tensors = [frames, self.weight, self.bias]
        if torch.is_autocast_enabled(device):
            tensors = [tensor.to(torch.get_autocast_dtype(device)) for tensor in tensors]
        found: Tensor = _Deconvolve.apply(*tensors, self.stride, self.padding)  # type: ignore[no-untyped-call]
        return found


class _Deconvolve(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        frames: Tensor,
        weight: Tensor,
        bias: Tensor,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
    ) -> Tensor:
        ctx.save_for_backward(frames, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv_transpose2d(frames, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        frames, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        into_frames, into_weight, _ = torch.ops.aten.convolution_backward(
            gradient,
            frames,
            weight,
            None,
            ctx.stride,
            ctx.padding,
            (1, 1),
            True,
            (0, 0),
            1,
            (wanted[0], wanted[1], False),
        )
        return into_frames, into_weight, gradient.sum((0, 2, 3)), None, None


def _conv(channels_in: int, channels_out: int, shape: tuple[int, int, int]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, *shape), _leaky_relu())


def _deconv(channels_in: int, channels_out: int, shape: tuple[int, int, int]) -> nn.Module:
    return nn.Sequential(_Deconv(channels_in, channels_out, *shape), _leaky_relu())


def _leaky_relu() -> nn.Module:
    return nn.LeakyReLU(LEAK, inplace=True)  # a convolution keeps its input, not its output


class StagedSettings(ForecasterSettings):
    """What encoder-forecasters have in common; the default is the paper's, of 13,775,137
    parameters with ConvGRUs."""

    stages: Annotated[tuple[Stage, ...], Field(min_length=1)] = PAPER_STAGES
    """From the finest to the coarsest."""
    activate_convolutions: bool = True
    """Of the ConvGRU alone, see there."""

    @property
    def multiple(self) -> int:
        """The strides' product."""
        return prod(stage.stride for stage in self.stages)


class EncoderForecasterSettings(StagedSettings):
    """The encoder-forecaster; its kind is its cell."""

    replayable: ClassVar[bool] = True
    kind: CellName = "convgru"
    """An encoder-forecaster of these recurrent cells."""

    def build(
        self, in_len: int, out_len: int, calibration: Calibration | None = None
    ) -> EncoderForecaster:
        """See `ForecasterSettings.build`."""
        return EncoderForecaster(self.stages, out_len, self.activate_convolutions, self.kind)

    def graph(self, model: nn.Module, in_len: int) -> Graph:
        """See `ForecasterSettings.graph`."""
        return Graph(
            module=model,
            inputs={"frames": example_frames(in_len)},
            meaning={
                "frames": "the last frames, oldest first, as they stand where there is no data"
            },
            multiple=self.multiple,
        )
