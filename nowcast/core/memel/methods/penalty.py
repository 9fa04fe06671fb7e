"""Methods ``penalty`` and ``opposite``: the values stay, and their scale joins the loss.

Wang et al. 2025 (arXiv 2503.23298), section 4.2, eq. 5: instead of Reversed Deactivation, which
takes the neuron for well trained, each selected value adds ``L_MS = log (z - mean)^2`` to the loss.
That is the logarithm of its scale but for ``log S^2``, which the paper takes for a constant, as the
mean is here. The values are those of ``share``. `opposite` subtracts the same term, so that the
scale of the same values rises by a gradient of the same size: the control for the direction. (Yan
et al., EMNLP 2024, arXiv 2406.17969, raise monosemanticity by decorrelation instead; the code that
they released penalises the products of *samples* of a batch, ``A A^T - I``, and selects no neuron,
so it would differ from the penalty in more than its sign.)

What the paper leaves open, at least in the parts that could be read (its Appendix A could not): the
weight, and sum or mean. Here the term is

    penalty_weight * mean over a batch's examples (mean over an example's values (selected ? log
    (z - mean)^2 : 0) / share),

about the mean over the selected values, and a sum over calls and sites. It is a mean over examples
as the tasks' losses are, so the gradient of N ranks, which DDP averages, is that of one process on
the union batch, and that of a part of an accumulated batch is right within `loss_weight`. The layer
adds the gradient of the term where the gradient of the loss passes it, so no training loop needs to
know of the term, and no reported loss contains it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_compiling

from nowcast.core.memel import fused
from nowcast.core.memel.fused import Inhibiting
from nowcast.core.memel.memory_order import as_matrix, as_samples
from nowcast.core.memel.methods import threshold
from nowcast.core.memel.methods.method import Decision, Done, Method, Scored

_loss_weight = 1.0


@contextmanager
def loss_weight(weight: float) -> Iterator[None]:
    """Around a forward pass whose loss will be multiplied by `weight`, e.g. that of a part of a
    batch whose gradient is accumulated: penalties are multiplied by it too."""
    global _loss_weight
    before, _loss_weight = _loss_weight, weight
    try:
        yield
    finally:
        _loss_weight = before


class Penalty(Method):
    """The logarithm of the scale of a share of the values, in the loss.

    Args:
        sign: 1 to lower the scale, -1 to raise it.
    """

    changes_values = False

    def __init__(self, sign: int) -> None:
        self._sign = sign

    def equip(self, layer: Inhibiting) -> None:
        """Keep the threshold."""
        threshold.equip(layer)

    def decide(self, layer: Inhibiting, scored: Scored) -> Decision:
        """As of any method."""
        exceeds = threshold.above(layer, scored)
        batch, neurons = scored.scale.shape
        examples = batch // scored.per_example
        values: Tensor | int = scored.per_example * neurons
        if scored.present is not None:  # of each example, what is there
            present = scored.present.sum(1).view(examples, -1).sum(1, keepdim=True)
            values = present.expand(-1, scored.per_example).reshape(-1, 1).clamp(min=1)
        slope = self._slope(layer) / (examples * values)
        term = (slope / (scored.values.float() - scored.mean)).to(scored.values.dtype)
        changed = exceeds.any() if scored.proving else False
        return Decision((torch.where(exceeds, term, 0), None), exceeds, changed)

    def apply(
        self, layer: Inhibiting, samples: Tensor, kept: tuple[Any, ...], channels_last: bool
    ) -> Tensor:
        """As of any method; with `found`, the terms are those of these values."""
        term, found = kept
        output: Tensor = _AddToGradient.apply(  # type: ignore[no-untyped-call]
            samples, term, found, layer.inplace, channels_last
        )
        return output

    def at_once(
        self,
        layer: Inhibiting,
        samples: Tensor,
        channels_last: bool,
        per_example: int,
        scale: Tensor | None,
    ) -> Done:
        """As of any method."""
        calls = int(layer.num_batches_tracked)
        sifted = fused.look(layer, samples, scale)
        threshold.move(layer, sifted.exceeding, threshold.counted(samples.numel(), calls), calls)
        term = self._slope(layer) / samples.numel() / sifted.away
        kept = term.to(samples.dtype), sifted.found
        output = self.apply(layer, samples, kept, channels_last)
        found, neurons = sifted.found, layer.running_mean.numel()
        return Done(output, lambda: kept, lambda: found % neurons, bool(len(found)))

    def _slope(self, layer: Inhibiting) -> float:
        """The derivative of a value's term times its deviation and the values of the batch."""
        return self._sign * _loss_weight * layer.penalty_weight * 2 / layer.share


class _AddToGradient(torch.autograd.Function):
    """The samples, with a term added to their gradient."""

    # Without `setup_context`, for which torch inspects the signature at every call.
    @staticmethod
    def forward(
        ctx: Any,
        samples: Tensor,
        term: Tensor,
        found: Tensor | None,
        inplace: bool,
        channels_last: bool,
    ) -> Tensor:
        ctx.save_for_backward(term, found)
        ctx.channels_last = channels_last
        if is_compiling():
            # Else the compiler leaves the term, which nothing here needs, to the way back, and
            # makes it from statistics that have moved by then.
            return samples + as_samples(term * 0, samples.shape, channels_last)
        if inplace and samples.is_cpu:
            ctx.mark_dirty(samples)
            return samples
        return samples.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (term, found) = gradients, ctx.saved_tensors
        matrix = as_matrix(gradient, ctx.channels_last)
        term = term.to(gradient.dtype)
        if found is None:
            summed = matrix + term
        else:
            summed = matrix.reshape(-1).index_add(0, found, term).view_as(matrix)
        return as_samples(summed, gradient.shape, ctx.channels_last), None, None, None, None
