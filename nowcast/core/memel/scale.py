"""How monosemantic a value is, which values are the most so, and what is put in their place.

Pure functions; `nowcast.core.memel.layer` is the layer that keeps the statistics they need.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nowcast.core.memel.memory_order import as_matrix, as_samples

TINY = torch.finfo(torch.float32).tiny  # the least variance a deviation is measured in
INELIGIBLE = -1.0  # stands for the scale of a neuron that may not be chosen, or is not there
# The chosen neurons, what takes their places, and where it does (None: everywhere).
Edit = tuple[Tensor, Tensor, Tensor | None]


def monosemantic_scale(
    values: Float[Tensor, "batch *neurons"],
    mean: Float[Tensor, "*neurons"],
    variance: Float[Tensor, "*neurons"],
    eps: float = 0.01,
    mean_variance: Float[Tensor, ""] | None = None,
) -> Float[Tensor, "batch *neurons"]:
    """Monosemantic Scale phi of every value, in float32; range [0, inf], larger: more monosemantic.

    ``phi = (z - mean)^2 / (variance + eps * mean over neurons of variance)``: eq. 7 with the
    variance compensation of Algorithm 2. Where all variances are 0, phi is 0 for values at their
    mean and huge for others, so a constant input scores 0 and not NaN. `mean_variance` is given
    where these are not all the neurons that count for it.
    """
    return (values.float() - mean).square_().div_(compensated(variance, eps, mean_variance))


def compensated(variance: Tensor, eps: float, mean_variance: Tensor | None = None) -> Tensor:
    """The denominator of the scale; at least the least positive float32."""
    if mean_variance is None:
        mean_variance = variance.mean()
    return torch.add(variance, mean_variance, alpha=eps).clamp_min_(TINY)


def most_monosemantic(
    scale: Float[Tensor, "batch *neurons"], top_k: int, channels_last: bool = False
) -> Int[Tensor, "batch {top_k}"]:
    """The `top_k` neurons of largest scale in each sample, the largest first.

    A neuron's number is its place in memory: row-major, or with the first dimension innermost if
    `channels_last`. Of equal scales the neuron that is first in row-major order comes first,
    whatever the memory order. NaN counts as the largest.
    """
    matrix = as_matrix(scale, channels_last)
    return largest(matrix, scale.shape[1:], top_k, channels_last)


def largest(scale: Tensor, shape: Sequence[int], top_k: int, channels_last: bool) -> Tensor:
    """`most_monosemantic` of a matrix in memory order; a scale of `INELIGIBLE` is below all."""
    batch, neurons = scale.shape
    if top_k != 1:
        # Scales are not negative, so their bits order as they do, and those of INELIGIBLE are a
        # negative number; the lower half breaks the ties.
        bits = scale.nan_to_num(nan=math.inf, posinf=math.inf).view(torch.int32).long()
        place = torch.arange(neurons, device=scale.device).view(1, *shape)
        return ((bits << 32) - as_matrix(place, channels_last)).topk(top_k, dim=1).indices
    if len(shape) == 1:
        return scale.argmax(1, keepdim=True)
    # A maximum is vectorised and the search for its place is not, so only one channel is searched.
    if channels_last:
        grid = scale.view(batch, neurons // shape[0], shape[0])
        channel = grid.amax(1).argmax(1, keepdim=True)
        among = grid.gather(2, channel[:, None].expand(-1, grid.shape[1], 1)).argmax(1)
        return torch.add(channel, among, alpha=shape[0])
    grid = scale.view(batch, shape[0], neurons // shape[0])
    channel = grid.amax(2).argmax(1, keepdim=True)
    among = grid.gather(1, channel[:, :, None].expand(-1, 1, grid.shape[2])).argmax(2)
    return torch.add(among, channel, alpha=grid.shape[2])


def inhibit(
    values: Float[Tensor, "batch neurons"],
    mean: Float[Tensor, " neurons"],
    chosen: Int[Tensor, "batch top_k"],
    delta: float = 1.0,
    active: Bool[Tensor, "*which"] | None = None,
) -> Float[Tensor, "batch neurons"]:
    """Put the mean in the place of the chosen values, with -delta times their gradient.

    ``z' = -delta * z + (mean + delta * z).detach()`` (Reversed Deactivation at delta 1, Naive (a)
    at 0, Naive (b) at -1), with the value equal to the mean to the bit. The result is a new tensor
    of the values' dtype; values that were not chosen pass with value and gradient, and so do
    values that are not finite, which must not be hidden. Where `active`, of all or of each choice,
    is given and False, so do all or those.
    """
    edit = proposed_edit(values.detach(), mean, chosen, active)
    return apply_edit(values, edit, delta, channels_last=False)


def apply_edit(samples: Tensor, edit: Edit, delta: float, channels_last: bool) -> Tensor:
    """Samples ``batch *neurons`` in a memory order with an edit carried out; keeps that order."""
    output: Tensor = _Inhibit.apply(samples, *edit, delta, channels_last)  # type: ignore[no-untyped-call]
    return output


def proposed_edit(
    values: Tensor, mean: Tensor, chosen: Tensor, active: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """What `inhibit` puts where, of a matrix in memory order."""
    picked = values.gather(1, chosen)
    inhibited = picked.abs() < math.inf
    if active is not None:
        inhibited &= active
    return chosen, torch.where(inhibited, mean[chosen].to(values.dtype), picked), inhibited


class _Inhibit(torch.autograd.Function):
    """Samples with an `Edit` carried out: one pass forwards and one backwards."""

    # Without `setup_context`, for which torch inspects the signature at every call.
    @staticmethod
    def forward(
        ctx: Any,
        samples: Tensor,
        chosen: Tensor,
        replacement: Tensor,
        inhibited: Tensor | None,
        delta: float,
        channels_last: bool,
    ) -> Tensor:
        ctx.save_for_backward(chosen, inhibited)
        ctx.delta, ctx.channels_last = delta, channels_last
        matrix = as_matrix(samples, channels_last).scatter(1, chosen, replacement)
        return as_samples(matrix, samples.shape, channels_last)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (chosen, inhibited) = gradients, ctx.saved_tensors
        back = turned(gradient, chosen, inhibited, ctx.delta, ctx.channels_last)
        return back, None, None, None, None, None


def turned(
    gradient: Tensor, chosen: Tensor, inhibited: Tensor | None, delta: float, channels_last: bool
) -> Tensor:
    """A gradient ``batch *neurons`` with -delta times that of the inhibited neurons."""
    matrix = as_matrix(gradient, channels_last)
    picked = matrix.gather(1, chosen)
    negative = picked * -delta
    if inhibited is not None:
        negative = torch.where(inhibited, negative, picked)
    return as_samples(matrix.scatter(1, chosen, negative), gradient.shape, channels_last)
