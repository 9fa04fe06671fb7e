"""The yardstick of the training step: the paper's network as one writes it down from the paper.

One convolution for each time step, MEmeL with a dense mask, float32, the memory order torch starts
with. Nothing here is clever, and nothing of the program's own model is used: the two have to agree.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from nowcast.precipitation.forecasters.encoder_forecaster import Stage

LEAK = 0.2  # Shi et al. 2017, appendix


class DenseMEmeL(nn.Module):
    """MEmeL (Wang et al. 2024, algorithms 1 and 2) with a mask over all neurons, in training."""

    def __init__(
        self, delta: float = 1.0, forget_steps: int = 10, late_start: int = 10, eps: float = 0.01
    ) -> None:
        super().__init__()
        self.delta, self.eps = delta, eps
        self.forget_steps, self.late_start = forget_steps, late_start
        self.batches = self.samples = 0
        self.mean: Tensor | None = None
        self.variance: Tensor | None = None

    def forward(self, values: Tensor) -> Tensor:
        """The values, in each sample the most monosemantic one deactivated in reverse."""
        mean = torch.zeros_like(values[0]) if self.mean is None else self.mean
        variance = torch.zeros_like(values[0]) if self.variance is None else self.variance
        output = values
        if self.batches >= self.late_start:
            with torch.no_grad():
                scale = (values - mean) ** 2 / (variance + self.eps * variance.mean())
                mask = (scale == scale.amax(dim=(1, 2, 3), keepdim=True)).to(values.dtype)
            reversed_ = -self.delta * values + (mean + self.delta * values).detach()
            output = mask * reversed_ + (1 - mask) * values
        with torch.no_grad():
            self._see(values, mean, variance)
        return output

    def _see(self, values: Tensor, mean: Tensor, variance: Tensor) -> None:
        count = len(values)
        past = self.samples if self.batches < self.forget_steps else self.forget_steps * count
        shift = values.mean(0) - mean
        squares = ((values - values.mean(0)) ** 2).sum(0)
        between = shift**2 * past * count / (past + count)
        self.variance = ((past - 1) * variance + squares + between) / max(past + count - 1, 1)
        self.mean = mean + shift * count / (past + count)
        self.batches += 1
        self.samples += count


class PlainConvGRU(nn.Module):
    """One time step of a convolutional GRU (Shi et al. 2017, eq. 1), activated as released."""

    def __init__(self, input_channels: int, hidden_channels: int, kernel: int) -> None:
        super().__init__()
        hidden = hidden_channels
        self.input_conv = nn.Conv2d(input_channels, 3 * hidden, 3, padding=1)
        self.state_conv = nn.Conv2d(hidden, 3 * hidden, kernel, padding=kernel // 2)
        self.memel = DenseMEmeL()

    def forward(self, frame: Tensor | None, hidden: Tensor) -> Tensor:
        """The next hidden state."""
        if frame is None:
            assert self.input_conv.bias is not None
            x = self.input_conv.bias.view(1, -1, 1, 1)
        else:
            x = self.input_conv(frame)
        x_z, x_r, x_h = functional.leaky_relu(x, LEAK).chunk(3, dim=1)
        h_z, h_r, h_h = functional.leaky_relu(self.state_conv(hidden), LEAK).chunk(3, dim=1)
        update = torch.sigmoid(x_z + h_z)
        reset = torch.sigmoid(x_r + h_r)
        candidate = self.memel(functional.leaky_relu(x_h + reset * h_h, LEAK))
        following: Tensor = (1 - update) * candidate + update * hidden
        return following


class PlainEncoderForecaster(nn.Module):
    """The encoder-forecaster (Shi et al. 2017, figure 1b), a time step at a time.

    Its parameters have the names of `EncoderForecaster`'s, so that weights can be handed over.

    Shape:
        ``batch in_len 1 height width`` -> ``batch out_len 1 height width``.
    """

    def __init__(self, stages: Sequence[Stage], out_len: int) -> None:
        super().__init__()
        self.out_len = out_len
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.encoder, self.forecaster = nn.ModuleList(), nn.ModuleList()
        below = 1
        for place, stage in enumerate(stages):
            above = stages[min(place + 1, len(stages) - 1)].hidden
            down = nn.Conv2d(below, stage.channels, *stage.down)
            up = nn.ConvTranspose2d(
                stage.hidden, stage.hidden if place else stage.channels, *stage.up
            )
            self.down.append(nn.Sequential(down, nn.LeakyReLU(LEAK)))
            self.up.append(nn.Sequential(up, nn.LeakyReLU(LEAK)))
            self.encoder.append(PlainConvGRU(stage.channels, stage.hidden, stage.kernel))
            self.forecaster.append(PlainConvGRU(above, stage.hidden, stage.kernel))
            below = stage.hidden
        self.head = nn.Conv2d(stages[0].channels, 1, 1)

    def forward(
        self, frames: Float[Tensor, "batch in_len 1 height width"]
    ) -> Float[Tensor, "batch out_len 1 height width"]:
        """Forecast `out_len` frames."""
        states: list[Tensor] = []
        for time in range(frames.shape[1]):
            x = frames[:, time]
            for stage, (down, cell) in enumerate(zip(self.down, self.encoder, strict=True)):
                assert isinstance(cell, PlainConvGRU)
                x = down(x)
                if not time:
                    states.append(x.new_zeros(len(x), cell.state_conv.in_channels, *x.shape[2:]))
                x = states[stage] = cell(x, states[stage])
        forecast = []
        for _ in range(self.out_len):
            above: Tensor | None = None
            for stage in reversed(range(len(states))):
                states[stage] = self.forecaster[stage](above, states[stage])
                above = self.up[stage](states[stage])
            forecast.append(self.head(above))
        return torch.stack(forecast, dim=1)
