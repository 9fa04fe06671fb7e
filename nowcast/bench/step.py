"""The training step that benchmarks time: the paper's ConvGRU with its six MEmeL layers at work."""

from collections.abc import Callable, Sequence

import torch

from nowcast.core.distributed import Ranks, wrapped
from nowcast.core.plug import plug_in
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
) -> Callable[[], None]:
    """A step of Adam on random frames, after as many as MEmeL needs before it inhibits.

    Args:
        batch: clips of all ranks together, a multiple of their number.
        frames: of a clip in, and as many out.
        side: height and width, a multiple of the strides: 30.
        bf16: autocast.
        stages: the paper's, or smaller ones for a test.
        ranks: of this process, which has joined them; None is one of one.
    """
    ranks = ranks or Ranks()
    torch.manual_seed(0)
    model = EncoderForecaster(stages, frames)
    clips = torch.rand(batch, 2 * frames, 1, side, side)[ranks.rank :: ranks.size]
    inputs, truth = clips[:, :frames], clips[:, frames:]
    layers = plug_in(model, "*.candidate", dry_run=lambda host: host(inputs[:1]))
    shared = wrapped(model, torch.device("cpu"))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = (shared(inputs).float() - truth).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    while any(layer.num_batches_tracked < layer.late_start for layer in layers.values()):
        step()
    return step
