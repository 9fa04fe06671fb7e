"""The training step that benchmarks time: the paper's ConvGRU with its six MEmeL layers at work."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from nowcast.core.memel.plug import plug_in
from nowcast.core.settings import OptimSettings
from nowcast.core.system.allocator import keep_freed_memory
from nowcast.core.system.devices import arithmetic
from nowcast.core.system.distributed import Ranks, wrapped
from nowcast.core.training import optim
from nowcast.precipitation.forecasters.encoder_forecaster import (
    PAPER_STAGES,
    EncoderForecaster,
    Stage,
)


def training_step(
    batch: int,
    frames: int,
    side: int,
    bf16: bool,
    stages: Sequence[Stage] = PAPER_STAGES,
    ranks: Ranks | None = None,
    recompute: bool = False,
    device: str = "cpu",
) -> Callable[[], float]:
    """A step as `nowcast train` does it, on random frames, from where MEmeL inhibits.

    Args:
        batch: clips of all ranks together, a multiple of their number.
        frames: of a clip in, and as many out.
        side: height and width, a multiple of the strides: 30.
        bf16: autocast.
        stages: the paper's, or smaller ones for a test.
        ranks: of this process, which has joined them; None is one of one.
        recompute: keep of each time step the state alone.
        device: of model and frames.

    Returns:
        the step, which returns the loss before it: the mean squared error.
    """
    ranks = ranks or Ranks()
    keep_freed_memory()
    model = network(stages, frames).to(device)
    both = clips(batch, frames, side)
    inputs, truth = (part[ranks.rank :: ranks.size].to(device) for part in both)
    layers = plug_in(model, "*.candidate", dry_run=lambda host: host(inputs[:1]))
    if recompute:
        model.gradient_checkpointing_enable()
    optimiser = optim.optimiser(model, OptimSettings(lr=LR))
    step = steps_of(wrapped(model, inputs.device), optimiser, inputs, truth, bf16)
    while any(layer.num_batches_tracked < layer.late_start for layer in layers.values()):
        step()
    return step


LR = 1e-4  # Wang et al. 2024


def network(stages: Sequence[Stage], frames: int) -> EncoderForecaster:
    """The network, with the same weights at each call."""
    torch.manual_seed(0)
    return EncoderForecaster(stages, frames)


def clips(batch: int, frames: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random input and truth, the same at each call."""
    both = torch.rand(batch, 2 * frames, 1, side, side, generator=torch.Generator().manual_seed(1))
    return both[:, :frames].contiguous(), both[:, frames:].contiguous()


def steps_of(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    inputs: torch.Tensor,
    truth: torch.Tensor,
    bf16: bool,
) -> Callable[[], float]:
    """A function that trains a model for a step, and returns its loss before, which a GPU is waited
    for."""

    def step() -> float:
        with arithmetic():
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
                loss = (model(inputs).float() - truth).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return float(loss.detach())

    return step
