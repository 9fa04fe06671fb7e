"""MEmeL's training call in one pass over the activation: in C (``_memel.c``) on a CPU, in Triton
(``_memel_triton``) on a GPU.

As torch operations the same is thirty of them. Between a host's convolutions, with cold caches,
each costs more than what it computes, and on a GPU a launch. Under `torch.compile` and on other
devices those serve.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from nowcast.core.memel.memory_order import as_matrix, as_samples
from nowcast.core.memel.neurons import RunningStatistics
from nowcast.core.memel.scale import turned
from nowcast.core.system.distributed import SumUnderWay, is_shared
from nowcast.core.system.triton_kernels import kernels_for

try:
    from nowcast.core.memel import _memel
except ImportError:  # installed where there was no C compiler
    available = False
else:
    available = True

DTYPES = (torch.float32, torch.bfloat16)
ON_GPU = "nowcast.core.memel._memel_triton"
YOUNG_CALLS = 2  # of a layer's life: statistics of one sample have no variance to measure phi in


@dataclass(slots=True)
class Call:
    """What a call did.

    Args:
        chosen: neurons, ``batch top_k``, by their place in memory.
        inhibited: which of them were, None for all.
        changed: whether any value is another than before; a tensor where any element says so.
    """

    chosen: Tensor
    inhibited: Tensor | None = None
    changed: Tensor | bool = False


@dataclass(slots=True)
class Sifted:
    """What exceeds a threshold.

    Args:
        exceeding: how many values do.
        found: which, by their place in the memory of the samples, or on a GPU a bool matrix of
            them, ``batch neurons``; none before `late_start`.
        away: how far each is from its mean; empty if that is not asked.
        changed: as of a `Call`.
        mean: on a GPU, what has taken their place.
    """

    exceeding: Tensor | int
    found: Tensor
    away: Tensor
    changed: Tensor | bool
    mean: Tensor | None = None


class Inhibiting(RunningStatistics):
    """A layer that can be served here: what is read of it beside its statistics; see `MEmeL`."""

    method: str
    delta: float
    top_k: int
    share: float
    penalty_weight: float
    late_start: int
    eps: float
    convention: str
    inplace: bool


def serves(layer: Inhibiting, samples: Tensor) -> bool:
    """Whether a layer's training call on these samples can be done here."""
    buffers = layer._buffers  # `layer.running_mean` would go through `__getattr__`, which is slow
    device = samples.device
    return (
        type(samples) is Tensor  # a subclass may have no memory to point at
        and samples.dtype in DTYPES
        and layer.convention == "paper"
        and not is_compiling()
        and (available if device.type == "cpu" else _fits_gpu(layer, samples))
        and _holds(buffers["running_mean"], torch.float32, device)
        and _holds(buffers["running_var"], torch.float32, device)
        and _holds(buffers["num_batches_tracked"], torch.int64, device)
        and _holds(buffers["num_samples_tracked"], torch.int64, device)
    )


def _holds(buffer: Tensor | None, dtype: torch.dtype, device: torch.device) -> bool:
    return buffer is not None and buffer.dtype is dtype and buffer.device == device


def _fits_gpu(layer: Inhibiting, samples: Tensor) -> bool:
    kernels = on_gpu(samples.device)
    # A penalty's terms are of as many values as exceed its threshold, which the host would ask for.
    if kernels is None or layer.method in ("penalty", "opposite"):
        return False
    fits: bool = kernels.fits(len(samples), layer.running_mean.numel(), layer.top_k)
    return fits


def on_gpu(device: torch.device) -> Any:
    """The kernels for a GPU's tensors; None for a CPU's, which C serves, and where there are
    none."""
    return kernels_for(device, ON_GPU)


def see(
    layer: Inhibiting,
    samples: Tensor,
    channels_last: bool,
    scale: Tensor | None,
    given: Tensor | None = None,
) -> tuple[Tensor, Call]:
    """Move a layer's statistics by a batch, and inhibit in it what the past says.

    Args:
        layer: its statistics lie in the samples' memory order.
        samples: ``batch *neuron_shape``, dense, row-major or `channels_last`.
        scale: ``batch neurons`` float32 in memory order, filled with the Monosemantic Scale.
        given: what to inhibit, ``batch top_k``, in the place of the largest scales.

    Returns:
        the output, which is `samples` if the layer works in place; what was done.
    """
    chosen = given
    if chosen is None:
        size = samples.shape[0], layer.top_k
        chosen = torch.empty(size, dtype=torch.int64, device=samples.device)
    call = Call(chosen)
    seen = _See.apply(samples, layer, channels_last, scale, call, given is not None)  # type: ignore[no-untyped-call]
    return seen, call


def sift(
    layer: Inhibiting, samples: Tensor, channels_last: bool, scale: Tensor | None
) -> tuple[Tensor, Sifted]:
    """As `see`, of all values whose scale is at least the layer's `threshold`, which stays."""
    sifted = Sifted(0, torch.empty(0, dtype=torch.int64), torch.empty(0), False)
    return _Sift.apply(samples, layer, channels_last, scale, sifted), sifted  # type: ignore[no-untyped-call]


def look(layer: Inhibiting, samples: Tensor, scale: Tensor | None) -> Sifted:
    """As `sift`, with all values left as they are, and how far each is from its mean."""
    return _sifted(layer, samples.detach(), None, scale)


def _sifted_on_gpu(
    kernels: Any, layer: Inhibiting, samples: Tensor, output: Tensor, scale: Tensor | None
) -> Sifted:
    moments = _moments(layer)
    limit = layer.get_buffer("threshold")
    settings = layer.forget_steps, layer.late_start, layer.eps
    done = kernels.sift(samples, output, _statistics(layer), limit, scale, moments, *settings)
    _leave(layer, moments)
    return Sifted(done.exceeding, done.inhibited, torch.empty(0), done.changed, done.mean)


def _sifted(
    layer: Inhibiting, samples: Tensor, output: Tensor | None, scale: Tensor | None
) -> Sifted:
    # As long as they might have to be: what is not written takes no memory.
    found = torch.empty(samples.numel(), dtype=torch.int64)
    away = torch.empty(samples.numel() if output is None else 0)
    moments = _moments(layer)
    exceeding, started, changed = _memel.sift(
        samples,
        output,
        _statistics(layer),
        found,
        away if output is None else None,
        scale,
        moments,
        float(layer.get_buffer("threshold")),
        layer.forget_steps,
        layer.late_start,
        layer.eps,
    )
    _leave(layer, moments)
    kept = exceeding if started else 0
    return Sifted(exceeding, found[:kept].clone(), away[:kept].clone(), bool(changed))


def _moments(layer: Inhibiting) -> Tensor | None:
    """Room for a batch's moments, where ranks add them up."""
    if not (layer.sync and is_shared()):
        return None
    mean = layer.running_mean
    return torch.empty(1 + 2 * mean.numel(), dtype=torch.float64, device=mean.device)


def _leave(layer: Inhibiting, moments: Tensor | None) -> None:
    """Let ranks add up their moments until the layer settles."""
    if moments is not None:
        under_way = SumUnderWay(moments)
        layer.later(lambda: _count(layer, under_way.wait()))


def _count(layer: Inhibiting, moments: Tensor) -> None:
    """Take the sum of all ranks' moments for one batch."""
    if moments.is_cpu:
        _memel.count(moments, _statistics(layer), layer.forget_steps)
    else:
        layer.count_in_order(moments)


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
        given: bool,
    ) -> Tensor:
        output = _output(ctx, layer, samples)
        moments = _moments(layer)
        kernels = on_gpu(samples.device)
        done: Any = (_memel.see if kernels is None else kernels.choose)(
            samples,
            output,
            _statistics(layer),
            call.chosen,
            scale,
            moments,
            channels_last,
            layer.forget_steps,
            layer.late_start,
            layer.eps,
            given,
        )
        _leave(layer, moments)
        if kernels is not None:
            call.inhibited, call.changed = done
        else:
            left, changed = done
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
        plain, kernels = _plain(gradient, ctx.order), on_gpu(gradient.device)
        if plain and kernels is not None:
            back = torch.empty_like(gradient)
            kernels.turn(gradient, back, chosen, inhibited, ctx.delta)
        elif inhibited is not None or not plain:
            back = turned(gradient, chosen, inhibited, ctx.delta, ctx.channels_last)
        else:
            back = torch.empty_like(gradient)
            _memel.turn(gradient, back, chosen, ctx.delta)
        return back, None, None, None, None, None


class _Sift(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        samples: Tensor,
        layer: Inhibiting,
        channels_last: bool,
        scale: Tensor | None,
        into: Sifted,
    ) -> Tensor:
        output = _output(ctx, layer, samples)
        kernels = on_gpu(samples.device)
        if kernels is None:
            done = _sifted(layer, samples, output, scale)
        else:
            done = _sifted_on_gpu(kernels, layer, samples, output, scale)
        into.exceeding, into.found, into.changed = done.exceeding, done.found, done.changed
        into.mean = done.mean
        # Places in memory are those of all samples as one.
        ctx.save_for_backward(done.found[None] if done.mean is None else done.found)
        ctx.delta, ctx.channels_last, ctx.order = layer.delta, channels_last, output.stride()
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (found,) = ctx.saved_tensors
        plain, kernels = _plain(gradient, ctx.order), on_gpu(gradient.device)
        if plain and kernels is not None:
            back = torch.empty_like(gradient)
            kernels.turn(gradient, back, found, None, ctx.delta)
        elif found.dtype is torch.bool:
            matrix = as_matrix(gradient, ctx.channels_last)
            matrix = torch.where(found, matrix * -ctx.delta, matrix)
            back = as_samples(matrix, gradient.shape, ctx.channels_last)
        elif found.numel() and plain:
            back = torch.empty_like(gradient)
            _memel.turn(gradient, back, found, ctx.delta)
        else:
            matrix = as_matrix(gradient, ctx.channels_last)
            row = turned(matrix.reshape(1, -1), found, None, ctx.delta, False)
            back = as_samples(row.view_as(matrix), gradient.shape, ctx.channels_last)
        return back, None, None, None, None


def _output(ctx: Any, layer: Inhibiting, samples: Tensor) -> Tensor:
    """Where a call writes: its input, if the layer works in place."""
    if not layer.inplace:
        return torch.empty_like(samples)
    ctx.mark_dirty(samples)
    return samples


def _plain(gradient: Tensor, order: tuple[int, ...]) -> bool:
    """Whether a gradient can be turned in C or Triton: it lies as the output did, and has none
    itself."""
    plain = type(gradient) is Tensor and gradient.dtype in DTYPES
    return plain and gradient.stride() == order and not torch.is_grad_enabled()
