"""MEmeL: in training, find a layer's most monosemantic values and deactivate them in reverse.

Wang et al., Learning from Emergence, KDD 2024 (arXiv 2312.11560). A neuron that rarely leaves its
mean but then leaves it far is monosemantic; its Monosemantic Scale is the squared deviation from
the running mean in units of the running variance (eq. 7). Reversed Deactivation puts the mean in
its place and turns its gradient round, so the network learns to depend on it less.
"""

import math
import warnings
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

from nowcast.core.memel import fused
from nowcast.core.memel.memory_order import as_matrix, as_samples, as_vector, is_channels_last
from nowcast.core.memel.recompute import keep, replay
from nowcast.core.memel.scale import (
    INELIGIBLE,
    Edit,
    apply_edit,
    inhibit,
    largest,
    monosemantic_scale,
    most_monosemantic,
    proposed_edit,
)
from nowcast.core.system.distributed import is_shared

__all__ = ["MEmeL", "inhibit", "monosemantic_scale", "most_monosemantic"]

Convention = Literal["paper", "released"]

# An edit, the scale if an observer wants it, and the choice for an observer.
Decision = tuple[tuple[Tensor, Tensor, Tensor], Tensor | None, Tensor]

NOTHING = -1  # stands for the number of a neuron where too few could be chosen
PATIENCE = 10  # calls after `late_start` in which a site must have inhibited something


class MEmeL(fused.Inhibiting):
    """Monosemanticity-based Emergence Learning as a layer without parameters.

    In training mode each call is one batch: it moves the running statistics and, once `late_start`
    batches have been seen, inhibits in each sample the `top_k` neurons with the largest
    Monosemantic Scale. In evaluation mode it is the identity, unless `in_eval`. A recurrent cell
    that calls it at every time step counts every time step as a batch; so does gradient
    accumulation with every part of a batch, so that `late_start` and `forget_steps` are reached in
    fewer steps and on fewer samples. Activation checkpointing (``use_reentrant=False``) does
    not: a call that is computed again repeats what it did and counts nothing.

    Args:
        neuron_shape: shape of the neurons of one sample. None takes it from the first batch, or
            from the state that is loaded.
        delta: 1 is Reversed Deactivation, 0 Naive (a), -1 Naive (b); the paper tunes 1 to 100.
        top_k: neurons inhibited per sample.
        forget_steps: below this many batches the statistics are the exact mean and unbiased
            variance of everything seen (Lemma 3.2); from there on the past counts as this many
            batches (Algorithm 1).
        late_start: batches seen before the first one in which anything is inhibited.
        eps: weight of the layer's mean variance in the scale.
        convention: ``paper`` scores against the statistics of the past and then updates them;
            ``released`` updates with the current batch first, and takes padding for samples,
            whatever the mask, as the authors' code does.
        in_eval: inhibit in evaluation mode too, with frozen statistics (the paper's "-T" rows).
        sync: over several ranks, take the moments of the union of all ranks' batches.
        neuron_dims: the input's dimensions that make up `neuron_shape`; every position in the
            others is then a sample of its own, e.g. ``(1,)`` takes the channels of an image for
            its neurons, and any height and width. None takes all dimensions after the batch.
        inplace: the layer may write into its input, as ``nn.ReLU(inplace=True)`` does: only where
            neither the input's own backward pass nor anything else needs it. Done on CPU.

    Shape:
        input and output ``(batch, *neuron_shape)`` unless `neuron_dims`, with the same dtype and
        order in memory; statistics are float32.

    A mask makes it a layer for padded sequences: every place along the mask's dimensions then has
    its own count of samples and batches, so its own `forget_steps` and `late_start`, and is chosen
    only where it is present. Over several ranks all must give a mask, or none.

    A value that is not finite is left as it is, and a batch whose moments are not finite moves no
    statistics and is not counted. That nothing was inhibited is told once, as a RuntimeWarning
    with the layer's `site`.

    Raises:
        ValueError: an argument out of range; an input of another shape, or a mask of another input,
            while it is active.
        RuntimeError: called inside a backward pass by anything but such a checkpoint.
    """

    def __init__(
        self,
        neuron_shape: tuple[int, ...] | None,
        *,
        delta: float = 1.0,
        top_k: int = 1,
        forget_steps: int = 10,
        late_start: int = 10,
        eps: float = 0.01,
        convention: Convention = "paper",
        in_eval: bool = False,
        sync: bool = True,
        neuron_dims: tuple[int, ...] | None = None,
        inplace: bool = False,
    ) -> None:
        super().__init__(forget_steps, sync, neuron_dims, counts_padding=convention == "released")
        if top_k < 1 or forget_steps < 1 or late_start < 1 or eps < 0:
            raise ValueError(
                "top_k, forget_steps and late_start must be at least 1 and eps at least 0; found "
                f"{top_k}, {forget_steps}, {late_start}, {eps}"
            )
        if convention not in get_args(Convention):
            raise ValueError(
                f"convention must be one of {get_args(Convention)}; found {convention}"
            )
        self.delta = delta
        self.top_k = top_k
        self.late_start = late_start
        self.eps = eps
        self.convention = convention
        self.in_eval = in_eval
        self.inplace = inplace
        self.socket: tuple[nn.Module, ...] = ()
        """What was in its place; a tuple, so that it is no child."""
        self.observer: Callable[[Tensor | None, Tensor], None] | None = None
        """Called in training with the scale, in the shape of the samples and `INELIGIBLE` where
        masked out, and the chosen neurons, `NOTHING` for those that a mask has left too few of."""
        self.wants_scale = False
        """Whether the observer is given the scale; else it is given None."""
        self._unproven = late_start + PATIENCE
        self._changed: Tensor | bool = False
        if neuron_shape is not None:
            self._shape(neuron_shape)

    def _shape(self, neuron_shape: tuple[int, ...]) -> None:
        neurons = math.prod(neuron_shape)
        if not neuron_shape or self.top_k > neurons:
            raise ValueError(
                f"top_k must be 1 to {neurons}, the number of neurons; found {self.top_k}"
            )
        super()._shape(neuron_shape)

    def extra_repr(self) -> str:
        """The settings, as `print(model)` shows them."""
        return (
            f"{self.neuron_shape}, delta={self.delta:g}, top_k={self.top_k}, "
            f"forget_steps={self.forget_steps}, late_start={self.late_start}, "
            f"convention={self.convention!r}"
        )

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """The values, some of them inhibited; see the class.

        Args:
            values: with `neuron_shape`, or shorter in dimensions that `mask` has: what is missing
                at their ends is absent.
            mask: bool, or 0 and 1: True where `values`, whose leading dimensions it has, are
                present. What is absent is no sample of its neurons, and passes untouched.
        """
        if not (self.training or self.in_eval):
            return values
        if self._unsettled is not None:
            self.settle()
        empty = not values.numel()
        if empty and not (self.training and self.sync and is_shared()):
            return values
        samples = self._by_sample(values)
        edit = replay(self)  # which has no need of the mask, that is not given again
        present = self._present(values, mask) if edit is None else None
        if edit is None and (present is not None or samples.shape[1:] != self.neuron_shape):
            self._fit(values, samples, present)
        # Channels innermost stay innermost: a copy into another order costs more than all the rest.
        # A rank without samples takes part in the others' sums, in the order that they have too.
        channels_last = is_channels_last(self.running_mean[None] if empty else samples)
        if not channels_last:
            samples = samples.contiguous()
        unmasked = edit is None and present is None
        if unmasked and self.training and fused.serves(self, samples):
            return self._unsampled(self._fused(samples, channels_last), values)
        if edit is None:
            with torch.no_grad():
                edit = self._seen(samples.detach(), present, channels_last)
        return self._unsampled(apply_edit(samples, edit, self.delta, channels_last), values)

    def _fused(self, samples: Tensor, channels_last: bool) -> Tensor:
        """A call in training, done at once."""
        self._lay_out(samples, channels_last)
        scale = None
        if self.wants_scale:
            scale = samples.new_empty(samples.shape, dtype=torch.float32).flatten(1)
        output, call = fused.see(self, samples, channels_last, scale)
        chosen = call.chosen
        made = output.detach
        keep(
            self,
            lambda: (chosen, as_matrix(made(), channels_last).gather(1, chosen), call.inhibited),
        )
        if self._unproven or self.observer is not None:
            given = None if scale is None else as_samples(scale, samples.shape, channels_last)
            self._report(given, chosen, call.changed)
        return output

    def _seen(self, samples: Tensor, present: Tensor | None, channels_last: bool) -> Edit:
        """What to replace in a new batch, decided on its device; training moves the statistics."""
        self._lay_out(samples, channels_last)
        if present is None:
            edit, scale, picks = self._decided(samples, channels_last)
        else:
            edit, scale, picks = self._decided_present(samples, present, channels_last)
        keep(self, lambda: edit)
        if self.training:
            chosen, replacement, inhibited = edit
            changed: Tensor | bool = False
            if self._unproven:
                before = as_matrix(samples, channels_last).gather(1, chosen)
                changed = ((replacement != before) & inhibited).any()
            self._report(scale, picks, changed)
        return edit

    def _decided(self, samples: Tensor, channels_last: bool) -> Decision:
        """The edit, and the scale (where it is wanted) and the choice for the observer."""
        mean = as_vector(self.running_mean, channels_last)
        variance = as_vector(self.running_var, channels_last)
        matrix = as_matrix(samples, channels_last)
        exact = matrix.float()
        started = self.num_batches_tracked >= self.late_start
        if self.training and self.convention == "released":
            self._merge(exact, mean, variance)
            self.settle()
        scale = monosemantic_scale(exact, mean, variance, self.eps)
        chosen = largest(scale, samples.shape[1:], self.top_k, channels_last)
        edit = proposed_edit(matrix, mean, chosen, started)
        if self.training and self.convention == "paper":
            self._merge(exact, mean, variance)
        wanted = as_samples(scale, samples.shape, channels_last) if self.wants_scale else None
        return edit, wanted, chosen

    def _decided_present(self, samples: Tensor, present: Tensor, channels_last: bool) -> Decision:
        """`_decided` among what is present, of places that may differ in what has been seen."""
        within = tuple(map(slice, samples.shape[1:]))
        exact = samples.float()
        started = self.num_batches_tracked >= self.late_start
        if started.dim():
            started = started[within]
        if self.training and self.convention == "released":
            self._merge_present(exact, present)
        mean, variance = self.running_mean[within], self.running_var[within]
        scale = monosemantic_scale(exact, mean, variance, self.eps, self.mean_variance())
        wanted = scale.masked_fill(~present, INELIGIBLE) if self.wants_scale else None
        scale.masked_fill_(~(present & started), INELIGIBLE)
        top_k = min(self.top_k, math.prod(samples.shape[1:]))
        chosen = most_monosemantic(scale, top_k, channels_last)
        eligible = as_matrix(scale, channels_last).gather(1, chosen) >= 0
        matrix = as_matrix(samples, channels_last)
        edit = proposed_edit(matrix, as_vector(mean, channels_last), chosen, eligible)
        if self.training and self.convention == "paper":
            self._merge_present(exact, present)
        # The observer counts neurons of the whole shape, of which a shorter batch has fewer.
        numbers = torch.arange(self.running_mean.numel(), device=samples.device)[None]
        numbers = as_samples(numbers, self.running_mean[None].shape, channels_last)[0][within]
        picks = as_vector(numbers, channels_last)[chosen]
        return edit, wanted, torch.where(eligible, picks, NOTHING)

    def _report(self, scale: Tensor | None, chosen: Tensor, changed: Tensor | bool) -> None:
        """Tell the observer, and warn once if no value was changed when some should have been."""
        if self.observer is not None:
            self.settle()  # it may read the counts
            self.observer(scale, chosen)
        if not self._unproven or is_compiling():
            return
        self._changed = self._changed | changed
        self._unproven -= 1
        if not self._unproven and not self._changed:
            self.settle()
            warnings.warn(
                f"MEmeL{self._where()} has inhibited nothing in {self.late_start + PATIENCE} "
                f"training calls, of which {int(self.num_batches_tracked.max())} were finite: its "
                "input never leaves its mean, is no number, or is masked out",
                RuntimeWarning,
                stacklevel=2,
            )
