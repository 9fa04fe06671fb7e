"""A convolutional GRU over a sequence, with all that can wait done once for all steps.

As autograd has it, every time step adds its share to the gradient of the state-to-state weights,
which are larger than all else a step touches. Here a step only leaves the gradient of its
convolutions in a buffer, and one convolution over the whole buffer gives the weights theirs. The
gates are one pass over the activations each way (``_gates.c`` on a CPU, ``_gates_triton`` on a GPU)
that keeps what their derivatives need and nothing else, and hidden states are written where the
next layer reads them. Under autocast only the convolutions are bfloat16; states and gates stay
float32, as in torch's operations.

`GRUCell` with torch's operations is the same, to rounding, and serves everywhere else.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.compiler import is_compiling
from torch.utils.checkpoint import checkpoint

from nowcast.core.memel.layer import MEmeL
from nowcast.core.system.triton_kernels import kernels_for
from nowcast.precipitation.forecasters.cells.cell import LEAK, GRUCell

try:
    from nowcast.precipitation.forecasters.cells import _gates
except ImportError:  # installed where there was no C compiler
    available = False
else:
    available = True

DTYPES = (torch.float32, torch.bfloat16)
STATE = torch.float32  # of hidden states, gates and candidates: each rounding adds to the error
PARTS = 3  # of the convolutions' channels: update, reset, candidate
ON_GPU = "nowcast.precipitation.forecasters.cells._gates_triton"


def gates_on(device: torch.device) -> Any:
    """The four functions of the gates for tensors on a device; None: there are none."""
    if device.type == "cpu":
        return _gates if available else None
    return kernels_for(device, ON_GPU)


def serves(
    cell: GRUCell, input_conv: nn.Conv2d, state_conv: nn.Conv2d, *frames: Tensor | None
) -> bool:
    """Whether a cell's steps on these frames (inputs and state) can be done here, where C or Triton
    reads them. A layer in the socket `reset` is within the pass over the gates, and one hooked to a
    convolution between the two: those cannot."""
    weight = state_conv.weight
    device = weight.device
    parameters = [*input_conv.parameters(), *state_conv.parameters()]
    given = [frame for frame in frames if frame is not None]
    return (
        not is_compiling()
        and gates_on(device) is not None
        and all(type(frame) is Tensor and frame.device == device for frame in given)
        and all(found.device == device and found.dtype is torch.float32 for found in parameters)
        and _dtype(weight) in DTYPES
        and _passes_all(cell.reset)
        and not any(map(_is_hooked, (input_conv, state_conv, cell.reset)))
    )


def _dtype(weight: Tensor) -> torch.dtype:
    """What a convolution with this weight computes in here and now."""
    if torch.is_autocast_enabled(weight.device.type):
        return torch.get_autocast_dtype(weight.device.type)
    return weight.dtype


def _passes_all(socket: nn.Module) -> bool:
    if isinstance(socket, MEmeL):
        return not (socket.training or socket.in_eval)
    return isinstance(socket, nn.Identity)


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


class Recurrence:
    """One pass of a cell over a sequence: what its steps share on the way there and back.

    Args:
        cell: its sockets `update`, `candidate` and `hidden` are called at each step.
        input_conv: of the inputs; without inputs its bias alone counts.
        state_conv: of the hidden state.
        slope: of the leaky ReLU that both go through; 1 for none.
        recompute: keep the hidden states alone, and compute each step again on the way back.
    """

    def __init__(
        self,
        cell: GRUCell,
        input_conv: nn.Conv2d,
        state_conv: nn.Conv2d,
        slope: float,
        recompute: bool,
    ) -> None:
        self.cell, self.slope = cell, slope
        self.gates = gates_on(state_conv.weight.device)
        self.recompute = recompute and torch.is_grad_enabled()
        self.dtype = _dtype(state_conv.weight)
        self.input_conv = _Convolution(input_conv, self.dtype)
        self.state_conv = _Convolution(state_conv, self.dtype)
        self.shares: Tensor | None = None
        """The inputs convolved, of all steps at once."""
        self.written = False
        """Whether all states are; a step that is computed again then leaves them as they are."""
        self.gradients: tuple[Tensor, Tensor] | None = None
        """Of what both convolutions gave, ``time batch 3*hidden height width``."""
        self.left: set[int] = set()
        """The steps that have left theirs there on this way back."""
        self.way_back = -1

    def run(self, inputs: Tensor | None, state: Tensor | None, length: int) -> Tensor:
        """The hidden state after each step, ``time batch hidden height width``.

        Args:
            inputs: ``time batch channels height width``, or None.
            state: the hidden state before, ``batch hidden height width``; None for zeros.
            length: number of steps.
        """
        sized = inputs[0] if state is None and inputs is not None else state
        assert sized is not None
        batch, _, height, width = sized.shape
        hidden_shape = (batch, self.cell.hidden_channels, height, width)
        self.states = _innermost((length + 1, *hidden_shape), STATE, sized.device)
        self.from_zero = state is None
        self.inputs = None if inputs is None else inputs.to(self.dtype)
        hidden = self.states[0].zero_()
        if state is not None:
            hidden = _dense(state, STATE)
            self.states[0].copy_(hidden.detach())
        # Every step is given what this returns, so that its way back comes after theirs.
        layers = (self.input_conv.layer, self.state_conv.layer)
        parameters = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
        start = _Start.apply(self, self.inputs, *parameters)  # type: ignore[no-untyped-call]
        outputs = []
        for number in range(length):
            if self.recompute:
                hidden = checkpoint(self._step, number, start, hidden, use_reentrant=False)
            else:
                hidden = self._step(number, start, hidden)
            outputs.append(hidden)
        self.shares, self.written = None, True
        joined: Tensor = _Join.apply(self.states[1:], *outputs)  # type: ignore[no-untyped-call]
        return joined

    def _step(self, number: int, start: Tensor, hidden: Tensor) -> Tensor:
        opened = _Open.apply(self, number, start, hidden)  # type: ignore[no-untyped-call]
        update, candidate = opened
        update = _dense(self.cell.update(update), STATE)
        candidate = _dense(self.cell.candidate(candidate), STATE)
        place = self.states[number + 1]
        if self.written:  # and a layer in `hidden` may have changed what stands there
            place = torch.empty_like(place)
        mixed = _Mix.apply(self.gates, place, candidate, hidden, update)  # type: ignore[no-untyped-call]
        return _dense(self.cell.hidden(mixed), STATE)

    def x(self, number: int) -> Tensor:
        """The input's part of a step; one row of channels where it is the same for every place."""
        if self.inputs is None:
            return self.input_conv.bias
        if self.shares is not None:
            return self.shares[number]
        return self.input_conv(self.inputs[number])

    def h(self, number: int, hidden: Tensor) -> Tensor:
        """The hidden state's part; likewise."""
        if self.from_zero and number == 0:
            return self.state_conv.bias
        return self.state_conv(hidden)

    def gradients_of(self, number: int) -> tuple[Tensor, Tensor]:
        """Where the gradients of a step's `x` and `h` are to be left."""
        way_back = torch._C._current_graph_task_id()
        if self.gradients is None or way_back != self.way_back:
            time, batch, hidden, height, width = self.states.shape
            shape = (time - 1, batch, PARTS * hidden, height, width)
            both = (_innermost(shape, self.dtype, self.states.device) for _ in range(2))
            self.gradients = next(both), next(both)
            self.left, self.way_back = set(), way_back
        self.left.add(number)
        return self.gradients[0][number], self.gradients[1][number]

    def take_gradients(self) -> tuple[Tensor, Tensor]:
        """Those of all steps; of a step that the way back did not touch they are zero."""
        assert self.gradients is not None
        found, self.gradients = self.gradients, None
        for number in set(range(len(found[0]))) - self.left:
            found[0][number].zero_()
            found[1][number].zero_()
        return found


class _Convolution:
    """One of the two, with its weights in the dtype of the pass."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype) -> None:
        assert layer.bias is not None
        self.layer = layer
        self.weight = layer.weight.detach().to(dtype)
        self.bias = layer.bias.detach()
        """float32, which it stays where it is all that counts."""

    def __call__(self, frames: Tensor) -> Tensor:
        layer = self.layer
        with torch.autocast(frames.device.type, enabled=False):
            dtype = self.weight.dtype
            bias = self.bias.to(dtype)
            found = torch.conv2d(frames.to(dtype), self.weight, bias, layer.stride, layer.padding)
        return _dense(found, dtype)

    def back(self, gradient: Tensor, frames: Tensor, wanted: tuple[bool, bool]) -> list[Any]:
        """Gradients of frames and weight, those that are wanted."""
        found = torch.ops.aten.convolution_backward(
            gradient,
            frames.to(self.weight.dtype),
            self.weight,
            None,
            self.layer.stride,
            self.layer.padding,
            self.layer.dilation,
            False,
            [0, 0],
            1,
            [*wanted, False],
        )
        return list(found[:2])


class _Start(torch.autograd.Function):
    """Convolves all inputs; on the way back, gives inputs and weights their gradients."""

    @staticmethod
    def forward(ctx: Any, pass_: Recurrence, inputs: Tensor | None, *parameters: Tensor) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.pass_ = pass_
        ctx.dtypes = [parameter.dtype for parameter in parameters]
        ctx.save_for_backward(inputs)
        if inputs is not None and not pass_.recompute:
            shares = pass_.input_conv(inputs.flatten(0, 1))
            pass_.shares = shares.view(*inputs.shape[:2], *shares.shape[1:])
        # Nothing reads it. Where it is says in which of autograd's threads the way back ends.
        return pass_.input_conv.bias.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *_: None) -> tuple[Tensor | None, ...]:
        pass_: Recurrence = ctx.pass_
        (inputs,) = ctx.saved_tensors
        into_x, into_h = pass_.take_gradients()
        wanted = ctx.needs_input_grad[1:]
        into_inputs = input_weight = None
        if inputs is not None:
            into_inputs, input_weight = pass_.input_conv.back(
                into_x.flatten(0, 1), inputs.flatten(0, 1), wanted[:2]
            )
            if into_inputs is not None:
                into_inputs = into_inputs.view(inputs.shape)
        input_bias = _sum(into_x) if wanted[2] else None
        del into_x
        state_weight = None
        if wanted[3]:
            first = int(pass_.from_zero)  # of the steps in which the weights took part
            _, state_weight = pass_.state_conv.back(
                into_h[first:].flatten(0, 1), pass_.states[first:-1].flatten(0, 1), (False, True)
            )
        found = (input_weight, input_bias, state_weight, _sum(into_h) if wanted[4] else None)
        return None, into_inputs, *map(_as, found, ctx.dtypes)


class _Open(torch.autograd.Function):
    """From a hidden state to the update gate and the candidate."""

    @staticmethod
    def forward(
        ctx: Any, pass_: Recurrence, number: int, start: Tensor, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, h = pass_.x(number), pass_.h(number, hidden)
        update, candidate = torch.empty_like(hidden), torch.empty_like(hidden)
        reset = carried = signs = None
        if any(ctx.needs_input_grad):
            reset, carried = torch.empty_like(hidden), torch.empty_like(hidden, dtype=h.dtype)
            signs = torch.empty_like(hidden, dtype=torch.uint8)
        kept = reset, carried, signs
        pass_.gates.open(x, h, update, candidate, *kept, pass_.slope, LEAK)
        ctx.pass_, ctx.number = pass_, number
        ctx.save_for_backward(update, reset, carried, signs)
        return update, candidate

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, into_update: Tensor, into_candidate: Tensor
    ) -> tuple[None, None, None, Tensor | None]:
        pass_: Recurrence = ctx.pass_
        update, reset, carried, signs = ctx.saved_tensors
        into_update, into_candidate = _dense(into_update, STATE), _dense(into_candidate, STATE)
        into_x, into_h = pass_.gradients_of(ctx.number)
        kept = update, reset, carried, signs
        pass_.gates.close(into_update, into_candidate, *kept, into_x, into_h, pass_.slope, LEAK)
        into_hidden = None
        if ctx.needs_input_grad[3]:
            shaped = torch.empty_like(update, dtype=pass_.dtype)  # its values do not matter here
            into_hidden, _ = pass_.state_conv.back(into_h, shaped, (True, False))
            into_hidden = into_hidden.to(STATE)
        return None, None, None, into_hidden


class _Mix(torch.autograd.Function):
    """``(1 - update) * candidate + update * hidden``, written where it is told."""

    @staticmethod
    def forward(
        ctx: Any, gates: Any, place: Tensor, candidate: Tensor, hidden: Tensor, update: Tensor
    ) -> Tensor:
        gates.mix(candidate, hidden, update, place)
        ctx.gates = gates
        ctx.save_for_backward(candidate, hidden, update)
        return _alias(place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor, Tensor, Tensor]:
        candidate, hidden, update = ctx.saved_tensors
        gradient = _dense(gradient, STATE)
        candidate_gradient, hidden_gradient, update_gradient = into = [
            torch.empty_like(update) for _ in range(3)
        ]
        ctx.gates.unmix(gradient, candidate, hidden, update, *into)
        return None, None, candidate_gradient, hidden_gradient, update_gradient


class _Join(torch.autograd.Function):
    """The steps' hidden states as one tensor; those that lie in their places are not copied."""

    @staticmethod
    def forward(ctx: Any, places: Tensor, *states: Tensor) -> Tensor:
        for place, state in zip(places, states, strict=True):
            if state.data_ptr() != place.data_ptr():
                place.copy_(state)
        return _alias(places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *gradient.unbind(0)


def _innermost(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """An empty ``time batch channels height width`` with the channels innermost."""
    time, batch, channels, height, width = shape
    lying = torch.empty(time, batch, height, width, channels, dtype=dtype, device=device)
    return lying.permute(0, 1, 4, 2, 3)


def _dense(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """Frames with the channels innermost and in a dtype; themselves if they are."""
    return frames.to(dtype).contiguous(memory_format=torch.channels_last)


def _alias(place: Tensor) -> Tensor:
    """The same memory as a tensor that autograd takes for a new one, and not for a view."""
    storage = place.untyped_storage()
    return place.new_empty(0).set_(storage, place.storage_offset(), place.shape, place.stride())


def _sum(gradient: Tensor) -> Tensor:
    return gradient.sum((0, 1, 3, 4), dtype=torch.float32)


def _as(gradient: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if gradient is None else gradient.to(dtype)
