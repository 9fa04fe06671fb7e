"""MEmeL's training call on CPU in one pass over the activation, in C (``_memel.c``).

As torch operations the same is thirty of them, and between a host's convolutions, with cold caches,
each costs more than what it computes. Under `torch.compile` and on other devices those serve.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from nowcast.core.memel.memory_order import as_matrix
from nowcast.core.memel.neurons import RunningStatistics
from nowcast.core.memel.scale import turned
from nowcast.core.system.distributed import SumUnderWay, is_shared

try:
    from nowcast.core.memel import _memel
except ImportError:  # installed where there was no C compiler
    available = False
else:
    available = True

DTYPES = (torch.float32, torch.bfloat16)


@dataclass(slots=True)
class Call:
    """What a call did.

    Args:
        chosen: neurons, ``batch top_k``, by their place in memory.
        inhibited: which of them were, None for all.
        changed: whether any value is another than before.
    """

    chosen: Tensor
    inhibited: Tensor | None = None
    changed: bool = False


class Inhibiting(RunningStatistics):
    """A layer that can be served here: what is read of it beside its statistics; see `MEmeL`."""

    delta: float
    top_k: int
    late_start: int
    eps: float
    convention: str
    inplace: bool


def serves(layer: Inhibiting, samples: Tensor) -> bool:
    """Whether a layer's training call on these samples can be done here."""
    buffers = layer._buffers  # `layer.running_mean` would go through `__getattr__`, which is slow
    return (
        available
        and type(samples) is Tensor  # a subclass may have no memory to point at
        and samples.dtype in DTYPES
        and layer.convention == "paper"
        and not is_compiling()
        and samples.is_cpu
        and _holds(buffers["running_mean"], torch.float32)
        and _holds(buffers["running_var"], torch.float32)
        and _holds(buffers["num_batches_tracked"], torch.int64)
        and _holds(buffers["num_samples_tracked"], torch.int64)
    )


def _holds(buffer: Tensor | None, dtype: torch.dtype) -> bool:
    return buffer is not None and buffer.dtype is dtype and buffer.is_cpu


def see(
    layer: Inhibiting, samples: Tensor, channels_last: bool, scale: Tensor | None
) -> tuple[Tensor, Call]:
    """Move a layer's statistics by a batch, and inhibit in it what the past says.

    Args:
        layer: its statistics lie in the samples' memory order.
        samples: ``batch *neuron_shape``, dense, row-major or `channels_last`.
        scale: ``batch neurons`` float32 in memory order, filled with the Monosemantic Scale.

    Returns:
        the output, which is `samples` if the layer works in place; what was done.
    """
    call = Call(torch.empty((samples.shape[0], layer.top_k), dtype=torch.int64))
    return _See.apply(samples, layer, channels_last, scale, call), call  # type: ignore[no-untyped-call]


def _count(layer: Inhibiting, moments: Tensor) -> None:
    """Take the sum of all ranks' moments for one batch."""
    _memel.count(moments, _statistics(layer), layer.forget_steps)


def _statistics(layer: Inhibiting) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    buffers: Any = layer._buffers
    return (
        buffers["running_mean"],
        buffers["running_var"],
        buffers["num_batches_tracked"],
        buffers["num_samples_tracked"],
    )


class _See(torch.autograd.Function):
    # Without `setup_context`, for which torch inspects the signature at every call.
    @staticmethod
    def forward(
        ctx: Any,
        samples: Tensor,
        layer: Inhibiting,
        channels_last: bool,
        scale: Tensor | None,
        call: Call,
    ) -> Tensor:
        output = samples
        if layer.inplace:
            ctx.mark_dirty(samples)
        else:
            output = torch.empty_like(samples)
        statistics = _statistics(layer)
        moments = None
        if layer.sync and is_shared():
            moments = torch.empty(1 + 2 * statistics[0].numel(), dtype=torch.float64)
        left, changed = _memel.see(
            samples,
            output,
            statistics,
            call.chosen,
            scale,
            moments,
            channels_last,
            layer.forget_steps,
            layer.late_start,
            layer.eps,
        )
        if moments is not None:
            under_way = SumUnderWay(moments)
            layer._unsettled = lambda: _count(layer, under_way.wait())
        call.changed = bool(changed)
        if left:
            finite = as_matrix(samples, channels_last).gather(1, call.chosen).abs() < math.inf
            call.inhibited = finite if left > 0 else torch.zeros_like(finite)
        ctx.save_for_backward(call.chosen, call.inhibited)
        ctx.delta, ctx.channels_last, ctx.order = layer.delta, channels_last, output.stride()
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        chosen, inhibited = ctx.saved_tensors
        plain = type(gradient) is Tensor and gradient.is_cpu and gradient.dtype in DTYPES
        plain = plain and inhibited is None
        if not plain or gradient.stride() != ctx.order or torch.is_grad_enabled():
            back = turned(gradient, chosen, inhibited, ctx.delta, ctx.channels_last)
            return back, None, None, None, None
        back = torch.empty_like(gradient)
        _memel.turn(gradient, back, chosen, ctx.delta)
        return back, None, None, None, None
