"""Method ``memel``: in each sample the `top_k` values of largest scale, Reversed Deactivation.

Wang et al. 2024 (arXiv 2312.11560), Algorithm 2: ``z' = -delta z + (mean + delta z).detach()``.
"""

from typing import Any

import torch
from torch import Tensor

from nowcast.core.memel import fused
from nowcast.core.memel.fused import Inhibiting
from nowcast.core.memel.memory_order import as_matrix
from nowcast.core.memel.methods.method import NOTHING, Decision, Done, Method, Scored
from nowcast.core.memel.scale import INELIGIBLE, apply_edit, largest, proposed_edit


class TopK(Method):
    """The method of Wang et al. 2024."""

    def decide(self, layer: Inhibiting, scored: Scored) -> Decision:
        """As of any method."""
        scale, active = scored.scale, scored.started
        if scored.masked:
            scale = scale.masked_fill(~active, INELIGIBLE)
        top_k = min(layer.top_k, scale.shape[1])
        chosen = largest(scale, scored.shape[1:], top_k, scored.channels_last)
        if scored.masked:
            active = scale.gather(1, chosen) >= 0
        return deactivated(scored, chosen, active)

    def apply(
        self, layer: Inhibiting, samples: Tensor, kept: tuple[Any, ...], channels_last: bool
    ) -> Tensor:
        """As of any method."""
        chosen, replacement, inhibited = kept
        return apply_edit(samples, (chosen, replacement, inhibited), layer.delta, channels_last)

    def at_once(
        self,
        layer: Inhibiting,
        samples: Tensor,
        channels_last: bool,
        per_example: int,
        scale: Tensor | None,
    ) -> Done:
        """As of any method."""
        return done_in_c(layer, samples, channels_last, scale)


def deactivated(scored: Scored, chosen: Tensor, active: Tensor) -> Decision:
    """Reversed Deactivation of the chosen values of each sample, where `active`."""
    edit = proposed_edit(scored.values, scored.mean, chosen, active)
    picks = torch.where(active, chosen, NOTHING) if scored.masked else chosen
    changed: Tensor | bool = False
    if scored.proving:
        _, replacement, inhibited = edit
        changed = ((replacement != scored.values.gather(1, chosen)) & inhibited).any()
    return Decision(edit, picks, changed)


def done_in_c(
    layer: Inhibiting,
    samples: Tensor,
    channels_last: bool,
    scale: Tensor | None,
    given: Tensor | None = None,
) -> Done:
    """The same in C, of the `top_k` of each sample or of the `given` values."""
    output, call = fused.see(layer, samples, channels_last, scale, given)
    chosen, made = call.chosen, output.detach

    def kept() -> tuple[Any, ...]:
        return chosen, as_matrix(made(), channels_last).gather(1, chosen), call.inhibited

    return Done(output, kept, lambda: chosen, call.changed)
