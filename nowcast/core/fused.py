"""MEmeL's training call on CPU in one pass over the activation, in C (``_memel.c``).

As torch operations the same is thirty of them, and between a host's convolutions, with cold caches,
each costs more than what it computes. Under `torch.compile` and on other devices those serve.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from nowcast.core.distributed import is_shared
from nowcast.core.memory_order import as_matrix
from nowcast.core.scale import turned

if TYPE_CHECKING:
    from nowcast.core.memel import MEmeL

try:
    from nowcast.core import _memel
except ImportError:  # installed where there was no C compiler
    available = False
else:
    available = True

DTYPES = (torch.float32, torch.bfloat16)
STATE = {
    "running_mean": torch.float32,
    "running_var": torch.float32,
    "num_batches_tracked": torch.int64,
    "num_samples_tracked": torch.int64,
}


def serves(layer: "MEmeL", samples: Tensor) -> bool:
    """Whether a layer's training call on these samples can be done here."""
    return (
        available
        and type(samples) is Tensor  # a subclass may have no memory to point at
        and samples.dtype in DTYPES
        and layer.convention == "paper"
        and not is_compiling()
        and not (layer.sync and is_shared())
        and samples.is_cpu
        and all(
            buffer is not None and buffer.is_cpu and buffer.dtype == STATE[name]
            for name, buffer in layer._buffers.items()
        )
    )


def see(
    layer: "MEmeL", samples: Tensor, channels_last: bool, scale: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None, bool]:
    """Move a layer's statistics by a batch, and inhibit in it what the past says.

    Args:
        layer: its statistics lie in the samples' memory order.
        samples: ``batch *neuron_shape``, dense, row-major or `channels_last`.
        scale: ``batch neurons`` float32 in memory order, filled with the Monosemantic Scale.

    Returns:
        the output, which is `samples` if the layer works in place; the chosen neurons; which of them were inhibited (None: all); whether any value
        is another than before.
    """
    return _See.apply(samples, layer, channels_last, scale)  # type: ignore[no-any-return, no-untyped-call]


class _See(torch.autograd.Function):
    # Without `setup_context`, for which torch inspects the signature at every call.
    @staticmethod
    def forward(
        ctx: Any, samples: Tensor, layer: "MEmeL", channels_last: bool, scale: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None, bool]:
        output = samples
        if layer.inplace:
            ctx.mark_dirty(samples)
        else:
            output = torch.empty_like(samples)
        batch = samples.shape[0]
        chosen = torch.empty((batch, layer.top_k), dtype=torch.int64)
        mean, variance, batches, counted = (layer._buffers[name] for name in STATE)
        assert mean is not None and variance is not None
        assert batches is not None and counted is not None
        left, changed = _memel.see(
            samples.data_ptr(),
            output.data_ptr(),
            mean.data_ptr(),
            variance.data_ptr(),
            batches.data_ptr(),
            counted.data_ptr(),
            chosen.data_ptr(),
            0 if scale is None else scale.data_ptr(),
            batch,
            mean.numel(),
            mean.shape[0] if channels_last else 0,
            layer.top_k,
            layer.forget_steps,
            layer.late_start,
            layer.eps,
            samples.dtype == torch.bfloat16,
        )
        inhibited = None
        ctx.mark_non_differentiable(chosen)
        if left:
            finite = as_matrix(samples, channels_last).gather(1, chosen).abs() < math.inf
            inhibited = finite if left > 0 else torch.zeros_like(finite)
            ctx.mark_non_differentiable(chosen, inhibited)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(chosen, inhibited)
        ctx.delta, ctx.channels_last, ctx.order = layer.delta, channels_last, output.stride()
        return output, chosen, inhibited, bool(changed)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        if gradient is None:
            return None, None, None, None
        chosen, inhibited = ctx.saved_tensors
        plain = type(gradient) is Tensor and gradient.dtype in DTYPES and inhibited is None
        if not plain or gradient.stride() != ctx.order or torch.is_grad_enabled():
            back = turned(gradient, chosen, inhibited, ctx.delta, ctx.channels_last)
            return back, None, None, None
        back = torch.empty_like(gradient)
        batch, top_k = chosen.shape
        _memel.turn(
            gradient.data_ptr(),
            back.data_ptr(),
            chosen.data_ptr(),
            batch,
            gradient.numel() // batch,
            top_k,
            ctx.delta,
            gradient.dtype == torch.bfloat16,
        )
        return back, None, None, None
