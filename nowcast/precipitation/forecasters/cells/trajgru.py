"""The trajectory GRU cell: each place chooses where its past came from, by learned flow fields."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from nowcast.precipitation.forecasters.cells.cell import LEAK, GRUCell, State, each
from nowcast.precipitation.forecasters.graph import indices

FLOW_CHANNELS = 32  # between the two layers that make the flows; Shi et al. 2017, HKO-7's code
FLOW_KERNEL = 5  # side of both layers' kernels; the same


class TrajGRU(GRUCell):
    """A trajectory GRU over a sequence (Shi et al. 2017, eq. 2-3); see `GRUCell`.

    At each time step two layers of convolution make `links` flow fields from the input and the
    hidden state. The hidden state is carried along each of them (`carry`), and h is a 1x1
    convolution of all the carried states. The flows are zero when training begins, as in HKO-7's
    code. Without an input x is 0 and the flows come from the hidden state alone.

    Args:
        input_channels: channels of the input, None where there never is one.
        hidden_channels: channels of the hidden state.
        links: how many flow fields.
    """

    def __init__(self, input_channels: int | None, hidden_channels: int, links: int) -> None:
        super().__init__(hidden_channels)
        self.links = links
        if input_channels is not None:
            self.input_conv = nn.Conv2d(input_channels, 3 * hidden_channels, 3, padding=1)
            self.input_flow = _flow_conv(input_channels, FLOW_CHANNELS)
        self.state_flow = _flow_conv(hidden_channels, FLOW_CHANNELS)
        self.flow = _flow_conv(FLOW_CHANNELS, 2 * links)
        nn.init.zeros_(self.flow.weight)
        assert self.flow.bias is not None
        nn.init.zeros_(self.flow.bias)
        self.state_conv = _Pointwise(links * hidden_channels, 3 * hidden_channels, 1)

    def forward(
        self, inputs: Tensor | None, state: State | None, length: int
    ) -> tuple[Tensor, State]:
        """See `Cell.forward`."""
        (hidden,) = self._begun(inputs, state)
        outputs: list[Tensor] = []
        gates = None if inputs is None else each(self.input_conv, inputs)
        towards_flow = None if inputs is None else each(self.input_flow, inputs)
        for step in range(length):
            share = None if gates is None else gates[step]
            towards = None if towards_flow is None else towards_flow[step]
            hidden = self._once(self._step, share, towards, hidden)
            outputs.append(hidden)
        return torch.stack(outputs), (hidden,)

    def _step(self, share: Tensor | None, towards_flow: Tensor | None, hidden: Tensor) -> Tensor:
        x = (0.0, 0.0, 0.0) if share is None else share.chunk(3, dim=1)
        flow = self.state_flow(hidden)
        if towards_flow is not None:
            flow = flow + towards_flow
        flows = self.flow(functional.leaky_relu(flow, LEAK))
        flows = flows.reshape(flows.shape[0], self.links, 2, *flows.shape[2:])
        carried = carry(hidden, flows).flatten(1, 2)
        return self._gated(x, self.state_conv(carried).chunk(3, dim=1), hidden)


def carry(
    state: Float[Tensor, "batch channels height width"],
    flows: Float[Tensor, "batch links 2 height width"],
) -> Float[Tensor, "batch channels links height width"]:
    """A state carried along flows: what is at a place comes from ``place - flow``, bilinearly.

    So a constant flow of (1, 0) moves the state one pixel to the right; HKO-7's code has this sign
    too. Beyond the edge the state is zero. Computed in float32 whatever the precision around it,
    since 8 bits do not tell neighbouring pixels apart beyond the 256th.

    Args:
        state: what is carried.
        flows: in pixels of the state; 0 to the right (columns), 1 downwards (rows).

    Returns:
        In the state's dtype.
    """
    batch, channels, height, width = state.shape
    with torch.autocast(state.device.type, enabled=False):
        rows, columns = indices(height, state).float(), indices(width, state).float()
        across = columns - flows[:, :, 0].float()
        down = rows[:, None] - flows[:, :, 1].float()
        # With corners not aligned the centre of pixel p lies at (2 p + 1) / side - 1.
        grid = torch.stack([(2 * across + 1) / width - 1, (2 * down + 1) / height - 1], dim=-1)
        # One tall grid instead of a copy of the state for each link.
        carried = functional.grid_sample(
            state.float(),
            grid.flatten(1, 2),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
    return carried.reshape(batch, channels, -1, height, width).to(state.dtype)


class _Pointwise(nn.Conv2d):
    """A 1x1 convolution as a matrix product. `carry` gives many maps in row-major order; to put
    them into that of the other convolutions takes longer than the product."""

    def forward(self, maps: Tensor) -> Tensor:
        """As its base."""
        assert self.bias is not None
        batch, _, height, width = maps.shape
        weight = self.weight.flatten(1).expand(batch, -1, -1)
        found = torch.baddbmm(self.bias.view(1, -1, 1), weight, maps.flatten(2))
        found = found.view(batch, -1, height, width)
        return found.contiguous(memory_format=torch.channels_last)


def _flow_conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, FLOW_KERNEL, padding=FLOW_KERNEL // 2)
