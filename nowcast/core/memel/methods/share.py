"""Method ``share``: all values whose scale exceeds a moving threshold, Reversed Deactivation.

Wang et al. 2025 (arXiv 2503.23298), section 4.2, find a share of a layer's values (1 to 3 %; 2 %
minimised their False Killing Rate) where the method of 2024 finds the `top_k` of each sample. What
that does with its choice is done here with this one.
"""

from typing import Any

import torch
from torch import Tensor

from nowcast.core.memel import fused
from nowcast.core.memel.fused import Inhibiting
from nowcast.core.memel.memory_order import as_matrix, as_samples
from nowcast.core.memel.methods import threshold
from nowcast.core.memel.methods.method import Decision, Done, Method, Scored
from nowcast.core.memel.scale import apply_edit


class Share(Method):
    """A share of all values, over batches; see `threshold` for how it is found."""

    def equip(self, layer: Inhibiting) -> None:
        """Keep the threshold."""
        threshold.equip(layer)

    def decide(self, layer: Inhibiting, scored: Scored) -> Decision:
        """As of any method."""
        exceeds = threshold.above(layer, scored)
        mean = scored.mean.to(scored.values.dtype, copy=True)
        changed = ((scored.values != mean) & exceeds).any() if scored.proving else False
        return Decision((exceeds, mean), exceeds, changed)

    def apply(
        self, layer: Inhibiting, samples: Tensor, kept: tuple[Any, ...], channels_last: bool
    ) -> Tensor:
        """As of any method; what was kept of a call in C says where the values are."""
        where, replacement = kept
        if where.dtype is torch.bool:
            output: Tensor = _Deactivate.apply(  # type: ignore[no-untyped-call]
                samples, where, replacement, layer.delta, channels_last
            )
            return output
        row = as_matrix(samples, channels_last).reshape(1, -1)
        edited = apply_edit(row, (where[None], replacement[None], None), layer.delta, False)
        return as_samples(edited.view(len(samples), -1), samples.shape, channels_last)

    def at_once(
        self,
        layer: Inhibiting,
        samples: Tensor,
        channels_last: bool,
        per_example: int,
        scale: Tensor | None,
    ) -> Done:
        """As of any method."""
        seen = layer.num_batches_tracked
        calls = int(seen) if fused.on_gpu(samples.device) is None else seen.clone()
        output, sifted = fused.sift(layer, samples, channels_last, scale)
        threshold.move(layer, sifted.exceeding, threshold.counted(samples.numel(), calls), calls)
        made, found = output.detach, sifted.found
        if sifted.mean is not None:
            replaced = found, sifted.mean
            return Done(output, lambda: replaced, lambda: found, sifted.changed)

        def kept() -> tuple[Any, ...]:
            return found, as_matrix(made(), channels_last).reshape(-1)[found]

        neurons = layer.running_mean.numel()
        return Done(output, kept, lambda: found % neurons, sifted.changed)


class _Deactivate(torch.autograd.Function):
    """The mean where a mask says so, and -delta times the gradient; see `apply_edit`."""

    # Without `setup_context`, for which torch inspects the signature at every call.
    @staticmethod
    def forward(
        ctx: Any,
        samples: Tensor,
        exceeds: Tensor,
        mean: Tensor,
        delta: float,
        channels_last: bool,
    ) -> Tensor:
        ctx.save_for_backward(exceeds)
        ctx.delta, ctx.channels_last = delta, channels_last
        edited = torch.where(exceeds, mean, as_matrix(samples, channels_last))
        return as_samples(edited, samples.shape, channels_last)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (exceeds,) = gradients, ctx.saved_tensors
        matrix = as_matrix(gradient, ctx.channels_last)
        turned = torch.where(exceeds, matrix * -ctx.delta, matrix)
        return as_samples(turned, gradient.shape, ctx.channels_last), None, None, None, None
